"""Examples for a ranker: what would have been considered for each customer of a past window, and what was bought.

The candidates and their rows come from the serving pipeline itself, as of the window's start; only the labels come from
the window. So a ranker learns on exactly what it will be asked to order. Some customers are shown as newcomers, by
their last few events alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.history import History
from serving.candidates import Floats
from serving.ranker import Ranker
from serving.scoring import ranking_block
from training.contest import Arena, question, remembering
from training.evaluate import TASKS, Task
from training.parallel import in_parts

Counts = npt.NDArray[np.int64]
Group = tuple[Floats, npt.NDArray[np.bool_]]
"""Rows and labels of the candidates of one customer at one moment."""
KEPT_NEGATIVES = 0.3
"""Share of the candidates that were not bought and are learned from: the others say the same again."""
LIST_LENGTH = 20
"""Length of the lists that candidates are gathered for."""
SHORTENED = 0.15
"""Share of the customers of whom only the last few events are shown, so that trees know newcomers and strangers too: a
past window has few of them, because its customers are those who went on buying."""
KNOWN_EVENTS = (0, 1, 2, 5)
"""How many events are shown of those, each as often."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Candidates of some customers at some moments.

    Args:
        block: float32[n, f], columns of `serving.scoring.ranking_names`.
        label: bool[n], whether it was bought in the window.
        groups: int64[q], candidates of each customer and moment, side by side; each group holds something bought.
    """

    block: Floats
    label: npt.NDArray[np.bool_]
    groups: Counts

    def __len__(self) -> int:
        return len(self.label)

    @staticmethod
    def together(several: Sequence[Examples]) -> Examples:
        """All of them, one after the other; those of a window in which nothing was bought have no columns."""
        several = [each for each in several if len(each)]
        if not several:
            return Examples(np.empty((0, 0), np.float32), np.empty(0, bool), np.empty(0, np.int64))
        return Examples(
            np.concatenate([each.block for each in several]),
            np.concatenate([each.label for each in several]),
            np.concatenate([each.groups for each in several]),
        )


def examples_of(
    arena: Arena, voices: Sequence[str], *, seed: int = 0, progress: Callable[[int], None] = lambda done: None
) -> dict[Task, Examples]:
    """The examples of one window, by task.

    Args:
        arena: a bundle fitted up to the window's start with shared statistics of that moment, and the truth.
        voices: sources whose candidates are considered.
        seed: of the choice of negatives, together with the customer's row: it does not depend on who else is there.
        progress: told how many customers were done.
    """
    known = arena.histories.as_of(arena.window.start)
    ranker = remembering(Ranker(arena.bundle))
    subjects = arena.truth.subjects

    def learned_from(places: range) -> dict[Task, list[Group]]:
        found: dict[Task, list[Group]] = {task: [] for task in TASKS}
        for place in places:
            row = int(subjects[place])
            random = np.random.default_rng((seed, row))
            history = shortened(known.at(row), random)
            for task in TASKS:
                query = question(arena, row, history, task, LIST_LENGTH)
                candidates = ranker.considered(query, voices)
                label = np.isin(candidates.items, arena.truth.of(place))
                if label.any():
                    kept = label | (random.random(len(label)) < KEPT_NEGATIVES)
                    found[task].append((ranking_block(arena.bundle, query, candidates)[kept], label[kept]))
        return found

    parts = in_parts(learned_from, len(subjects), progress)
    return {task: _stacked([group for part in parts for group in part[task]]) for task in TASKS}


def shortened(history: History, random: np.random.Generator) -> History:
    """Most often the history as it is, else its last few events."""
    if random.random() >= SHORTENED:
        return history
    shown = int(random.choice(KNOWN_EVENTS))
    return history.take(slice(max(len(history) - shown, 0), None))


def _stacked(groups: list[Group]) -> Examples:
    if not groups:
        return Examples.together([])
    blocks, labels = zip(*groups, strict=True)
    return Examples(np.vstack(blocks), np.concatenate(labels), np.array([len(each) for each in labels], np.int64))
