"""Recipes asked in the middle of visits, and what the running session counts there beside the rest.

A weight of the session cannot be chosen at the start of a window: nobody is in one. It is chosen at the moments just
after the first view of the earlier window's visits, and only where the lower end of the interval of what it brings,
clustered by customer, is above zero. Outside of sessions the recipe stays the one that the gate judges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from features.history import History
from serving.bundle import Bundle
from serving.query import Context, Filter, Query
from serving.ranker import Ranker, Voice
from serving.recipe import Recipe
from serving.scoring import InSession, Order
from training.contest import Arena, remembering
from training.evaluate import KS
from training.intervals import Interval, compare
from training.material import Material
from training.metrics import scores
from training.recipes import SESSION
from training.selection import Choice
from training.session import Session, rankers_of
from training.visits import Moment, Visits, visits_of

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Part = Literal["all", "not viewed"]
PARTS: tuple[Part, ...] = ("all", "not viewed")
"""What is bought in the rest of a visit; and of that what was not viewed yet, of lists without what was viewed."""
WIDTH = max(KS)
WEIGHTS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the running session beside the rest (1); tried on the earlier window."""
CHOSEN_ON = 600
"""Visits of the earlier window that the weight is chosen on, at most."""
LEAST = 20
"""With fewer visits nothing can be told from chance."""
_FILTERS: Mapping[Part, Filter] = {
    "all": Filter(in_stock=False), "not viewed": Filter(exclude=("viewed",), in_stock=False),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """Who orders at a moment, and whether it is told where the visit comes from."""

    voice: Voice
    told: bool = True


@dataclass(frozen=True)
class Answers:
    """What several recipes would have shown at the same moments.

    Args:
        moments: n of them.
        histories: what was known of whoever was there.
        scores: part -> name -> `ndcg@20`, `hr@20` ... -> float64[n]; NaN where nothing of that part was bought.
    """

    moments: Sequence[Moment]
    histories: Sequence[History]
    scores: Mapping[Part, Mapping[str, Mapping[str, Floats]]]

    @property
    def persons(self) -> Rows:
        """int32[n]: whose visit it was."""
        return np.array([moment.person for moment in self.moments], np.int32)


def ask(
    bundle: Bundle, visits: Visits, views: int, entries: Mapping[str, Asked], *, regions: Mapping[int, str],
    parts: Sequence[Part] = PARTS, progress: Callable[[int], None] = lambda done: None,
) -> Answers:  # fmt: skip
    """Ask the very ranker that serves just after so many views of each visit.

    Args:
        bundle: fitted up to the window's start, with all that the voices need.
        visits: of the window.
        views: how many views of the visit are known.
        entries: name -> who orders.
        regions: subject row -> region of a known customer, where the visit does not tell one.
        parts: of what is bought.
        progress: told how many visits were done.
    """
    moments = visits.moments(views)
    histories = [visits.shown(moment) for moment in moments]
    ranker = remembering(Ranker(bundle))
    truths = {part: visits.truth(moments, histories, viewed=part == "all") for part in parts}
    lists = {part: {name: np.full((len(moments), WIDTH), -1, np.int32) for name in entries} for part in parts}
    asked = {told: {name: each.voice for name, each in entries.items() if each.told == told} for told in (True, False)}
    with threadpool_limits(1, "blas"):  # as in a worker
        for place, (moment, history) in enumerate(zip(moments, histories, strict=True)):
            for told, voices in asked.items():
                for part in (each for each in parts if voices and truths[each].counts[place]):
                    query = Query(
                        now=moment.now, history=history, num_results=WIDTH, filter=_FILTERS[part],
                        context=_context(moment, regions) if told else Context(),
                    )  # fmt: skip
                    slates = ranker.rank_each(query, list(voices.values()))
                    for name, slate in zip(voices, slates, strict=True):
                        lists[part][name][place, : len(slate.items)] = slate.items
            progress(1)
    found = {
        part: {name: scores(each, truths[part], KS) for name, each in of_part.items()}
        for part, of_part in lists.items()
    }
    return Answers(moments, histories, found)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the session was given, and on what.

    Args:
        recipe: the name of the recipe.
        metric: e.g. `ndcg@20`.
        weight: taken; 0: none.
        tried: weight -> (with - without) at the moments just after the first view, of all that is bought in the rest of
            the visit, paired and clustered by customer; empty where nothing was tried.
        visits: how many were looked at.
    """

    recipe: str
    metric: str
    weight: float
    tried: Mapping[float, Interval]
    visits: int


def weigh(
    bundle: Bundle, visits: Visits, recipe: str, voice: Order, session: str, metric: str = f"ndcg@{WIDTH}", *,
    regions: Mapping[int, str], resamples: int = 2000, progress: Callable[[int], None] = lambda done: None,
) -> Weighed:  # fmt: skip
    """Choose what the session counts beside a voice: the best weight, where it surely brings something.

    Args:
        bundle: of the earlier window.
        visits: of that window.
        recipe: the name of the recipe.
        voice: what orders outside of sessions.
        session: the name of the session's source.
        metric: one of `training.metrics.METRICS` at one of `KS`.
        regions: as `ask`.
        resamples: of the bootstrap.
        progress: told how many visits were done.
    """
    entries = {"without": Asked(voice)} | {f"{w:g}": Asked(InSession(voice, session, w)) for w in WEIGHTS}
    found = ask(bundle, visits, 1, entries, regions=regions, parts=("all",), progress=progress)
    if len(found.moments) < LEAST:
        return Weighed(recipe, metric, 0.0, {}, len(found.moments))
    value = {name: each[metric] for name, each in found.scores["all"].items()}
    tried = {
        w: compare(value[f"{w:g}"], value["without"], clusters=found.persons, resamples=resamples) for w in WEIGHTS
    }
    best = max(WEIGHTS, key=lambda w: tried[w].value)
    return Weighed(recipe, metric, best if tried[best].low > 0 else 0.0, tried, len(found.moments))


def weighed_in(session: Session, material: Material, choice: Choice, arena: Arena) -> Choice:
    """The choice with the running session beside the best recipe where that surely helps; notes say what was tried.

    Args:
        session: the run.
        material: what it learns from.
        choice: with its ranking.
        arena: of the earlier window.
    """
    if not any(spec.name == SESSION for spec in choice.sources):
        return choice
    best = next(recipe for recipe in choice.recipes if recipe.name == choice.ranking[0])
    visits = visits_of(
        material.dataset, material.histories, arena.window, listed=arena.bundle.catalogue, at_most=CHOSEN_ON
    )
    trees, _ = rankers_of(session, material).fit_all([best], arena.window.start)
    settings, made = session.config.gate, arena.bundle
    weighed = weigh(
        Bundle(made.manifest, {**made.arrays, **trees}), visits, best.name, order_of(best), SESSION, settings.metric,
        regions=arena.regions, resamples=settings.resamples,
        progress=session.counted("weigh the session (earlier window)", len(visits.events)),
    )  # fmt: skip
    session.note(*told(weighed))
    session.run.log_metrics({"session/weight": weighed.weight, "session/visits": float(weighed.visits)})
    return with_session(choice, weighed)


def with_session(choice: Choice, weighed: Weighed) -> Choice:
    """The choice with what the session counts beside the recipe that was weighed; its source feeds pages anyway."""
    recipes = tuple(
        msgspec.structs.replace(each, session_weight=weighed.weight) if each.name == weighed.recipe else each
        for each in choice.recipes
    )
    return replace(choice, recipes=recipes)


def told(weighed: Weighed) -> list[str]:
    """What was chosen, for the report."""
    if not weighed.tried:
        few = f"of {weighed.visits} visits of the earlier window too few (at least {LEAST}) held a view and a purchase"
        return [f"The running session orders no list: {few}."]
    best = max(weighed.tried, key=lambda weight: weighed.tried[weight].value)
    gain = weighed.tried[best]
    change = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    where = f"just after the first view of {weighed.visits} visits (earlier window)"
    if weighed.weight:
        return [
            f"While a session runs it counts {weighed.weight:g} beside the rest of {weighed.recipe}: "
            f"{weighed.metric} of what the rest of the visit buys changes by {change} {where}."
        ]
    return [
        f"The running session does not order lists of {weighed.recipe}: its best weight changed {weighed.metric} by "
        f"{change} {where}."
    ]


def order_of(recipe: Recipe) -> Order:
    """What a recipe orders all purchases by outside of sessions."""
    return recipe.ranker or recipe.weights


def _context(moment: Moment, regions: Mapping[int, str]) -> Context:
    """Where the visit comes from; a known customer's home where it does not tell a region."""
    if moment.visitor >= 0 or moment.context.region:
        return moment.context
    return msgspec.structs.replace(moment.context, region=regions.get(moment.person))
