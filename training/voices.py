"""Which sources a ranker listens to: those that bring candidates which nobody else brings, on the earlier window.

A source costs every request its time and every candidate two columns, so it has to find something: of what the
customers of the window bought, a share that is considered (`serving.recipe.Breadth`) and that no other source proposes.
Sources leave one by one, the least needed first, so of two that find the same one stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.ranker import Ranker
from training.contest import Arena, questions, remembering, sampled
from training.evaluate import TASKS, Task
from training.examples import LIST_LENGTH
from training.meter import Tell, counted
from training.parallel import in_parts
from training.recipes import BASELINES

Mask = npt.NDArray[np.bool_]
ASKED = 600
"""Customers that the choice is made on, at most; always the same ones."""
LEAST_SHARE = 0.002
"""Of what was bought, what a source must find alone, in one of the tasks at least."""
LEAST_HITS = 3
"""And so many purchases at least: one or two are chance."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Who finds what the customers of a window bought.

    Args:
        names: of the sources.
        found: bool[h, S], for each purchase that any of them proposes, which ones do.
        purchases: how many there are in all.
    """

    names: tuple[str, ...]
    found: Mask
    purchases: int

    def alone(self, names: Sequence[str]) -> dict[str, int]:
        """For each of some sources, how many purchases it finds and none of the others does."""
        among = self.found[:, [self.names.index(name) for name in names]]
        single = among[among.sum(axis=1) == 1]
        return dict(zip(names, single.sum(axis=0).tolist(), strict=True))


def voices_for(
    arena: Arena, names: Sequence[str], tell: Tell = lambda what, done, total: None
) -> tuple[list[str], list[str]]:  # fmt: skip
    """The sources that a ranker listens to, in the given order, and why, as sentences.

    Args:
        arena: of the earlier window, with all these sources.
        names: of the sources.
        tell: hears the progress.
    """
    hits = hits_of(arena, names, tell)
    voices, left = needed(hits, names)
    notes = [
        f"No ranker listens to {name}: of what was bought it finds {_shares(own, hits)} that the others do not find "
        f"(at least {LEAST_SHARE:.1%} and {LEAST_HITS} purchases)."
        for name, own in left.items()
    ]
    last = {task: each.alone(voices) for task, each in hits.items()}
    found = (f"{name} {_shares({task: last[task][name] for task in hits}, hits)}" for name in voices)
    return voices, [*notes, f"Rankers listen to those that find what no other does: {'; '.join(found)}."]


def hits_of(arena: Arena, names: Sequence[str], tell: Tell) -> dict[Task, Hits]:
    """Ask all sources about some customers, and look for what was bought among all that they propose."""
    known, truth = arena.histories.as_of(arena.window.start), sampled(arena.truth, ASKED)
    ranker = remembering(Ranker(arena.bundle))
    advance = counted(tell, "choose voices (earlier window)", len(truth))
    truths = {"all": truth, "new": truth.new()}

    def heard(places: range) -> dict[Task, list[Mask]]:
        found: dict[Task, list[Mask]] = {task: [] for task in TASKS}
        for place, task, query in questions(arena, known, truth.subjects, places, LIST_LENGTH):
            # What all sources together propose: how far a round over them goes depends on who is heard in the end.
            candidates = ranker.remaining(query, names)
            bought = np.isin(candidates.items, truths[task].of(place))
            found[task].append(np.isfinite(candidates.scores[bought]))
        return found

    parts = in_parts(heard, len(truth), advance)
    nothing = np.empty((0, len(names)), bool)
    found = {task: np.concatenate([nothing, *(mask for part in parts for mask in part[task])]) for task in TASKS}
    return {task: Hits(tuple(names), found[task], len(truths[task].items)) for task in TASKS}


def needed(hits: Mapping[Task, Hits], names: Sequence[str]) -> tuple[list[str], dict[str, dict[Task, int]]]:
    """Leave out the least needed source, and again, until each finds enough alone; plain baselines always stay.

    Returns:
        Those that stay, and for each that left what it alone had found when it did.
    """
    voices = list(names)
    left: dict[str, dict[Task, int]] = {}

    def share(name: str, own: Mapping[Task, Mapping[str, int]]) -> float:
        return max(own[task][name] / max(hits[task].purchases, 1) for task in hits)

    while True:
        own = {task: each.alone(voices) for task, each in hits.items()}
        spare = [name for name in voices if name not in BASELINES and not _enough(name, own, hits)]
        if not spare:
            return voices, left
        # Ties go to the one that comes last: the menu lists what is plainer first.
        least = min(reversed(spare), key=lambda name: share(name, own))
        left[least] = {task: own[task][least] for task in hits}
        voices.remove(least)


def _enough(name: str, own: Mapping[Task, Mapping[str, int]], hits: Mapping[Task, Hits]) -> bool:
    return any(
        own[task][name] >= max(LEAST_HITS, LEAST_SHARE * each.purchases) for task, each in hits.items()
    )  # fmt: skip


def _shares(own: Mapping[Task, int], hits: Mapping[Task, Hits]) -> str:
    """E.g. `1.2 % (all), 0.0 % (new)`."""
    return ", ".join(f"{100 * found / max(hits[task].purchases, 1):.1f} % ({task})" for task, found in own.items())
