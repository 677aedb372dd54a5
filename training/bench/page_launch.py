"""One shop's way to a learned landing page: learn from the past, value it on the weeks after, launch it, look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

from features.errors import DataError
from features.moments import DAY
from serving.policies import NULL
from training.bench.page_served import picked, served, without_exploring
from training.bench.page_static import Static, best_order, best_static
from training.bench.page_truth import Choose, Tables, Truth, by_tables, logging
from training.bench.page_world import CLICK, PURCHASE, REWARDS, Contexts, Visits, log_of
from training.bench.slot_world import SLOTS
from training.meter import Tell
from training.offpolicy.estimators import Score, dr, sample_of, snips
from training.offpolicy.inference import difference, estimate
from training.offpolicy.models import Linear, cross_fitted
from training.offpolicy.slots import cascade_dr, pages_of, snrips, to_go
from training.session import silent
from training.simulation.effects import PAGE_ACTIONS, Segment
from training.slots.judging import SlotOptions
from training.slots.study import slot_study
from training.uplift.log import DecisionLog, Doubles, Mask, Whole
from training.uplift.options import StudyOptions

FLOOR: Final = 0.01
"""As `kokyaku train slots` has it."""
FOLDS: Final = 3
"""Half the time of five."""
WINDOW: Final = 28 * DAY
"""Of the launch, and of the weeks before it in which the page is valued."""
ESTIMATORS: Final = ("dr", "snips", "cascade-dr", "snrips")
"""Of a page's value before launch: doubly robust and self-normalised, slot by slot and by whole pages."""
Said = tuple[float, float, float]
"""An estimate and the ends of its 95 % interval."""
POLICY, GREEDY, STATIC, BEST, ORDER = "policy", "without exploring", "static of the log", "best static", "best order"
BEST_FOR_PURCHASES, LOGGING, KNOWN, ORACLE = "best static for purchases", "logging", "known oracle", "oracle"


class Launched(msgspec.Struct, frozen=True):
    """What came of one shop.

    Args:
        seed: of the shop.
        decisions: that the policy was learned from.
        pages: of the launch, outside of the holdout.
        ships: slot -> what the gate let through.
        static, best, order: the static page that the log says is best, the truly best one, the best fixed order.
        values: who -> what a page brings in expectation, of each of OUTCOMES.
        quiet: the same of people who want to be left alone.
        said: outcome -> estimator -> policy - static page of the log, before launch, with its 95 % interval.
        true: outcome -> the same at launch, in expectation.
        realised: outcome -> the same, as it was drawn.
        holdout: pages of the holdout during the launch, and how many of them were not the static page.
    """

    seed: int
    decisions: int
    pages: int
    ships: Mapping[str, str]
    static: str
    best: str
    order: str
    values: Mapping[str, list[float]]
    quiet: Mapping[str, list[float]]
    said: Mapping[str, Mapping[str, Said]]
    true: Mapping[str, float]
    realised: Mapping[str, float]
    holdout: tuple[int, int]


def launched(
    visits: Visits, truth: Truth, random: np.random.Generator, outcome: str = CLICK, *, seed: int = 0,
    decisions: int = 0, tell: Tell = silent,
) -> Launched:  # fmt: skip
    """The whole way.

    Args:
        visits: all pages of a shop.
        truth: what actions do.
        random: draws the pages that are learned from where there are more, and the launch.
        outcome: what the policy is learned for.
        seed: of the shop, for the record.
        decisions: learned from; 0: all.
        tell: hears `(what, done, total)`.

    Raises:
        DataError: too little to learn from.
    """
    past, before, launch = windows(visits)
    if 0 < decisions < 2 * len(past):
        past = past.take(np.sort(random.choice(len(past), decisions // 2, replace=False)))
    found = slot_study(log_of(past), options_of(outcome), tell)
    static, (known, contexts) = picked(found), Contexts.shared(before, launch)
    page, fixed = served(found, contexts, static), static.tables(contexts)
    said = valued_before(before, known, page, fixed)
    realised, strange = happened(truth, launch, contexts, page, fixed, random)
    drawn, contexts = launch.take(~launch.holdout), contexts.take(~launch.holdout)
    pages = static_pages(truth, drawn, contexts, static, outcome)
    ways = ways_of(truth, drawn, contexts, outcome)
    ways |= {name: by_tables(each.tables(contexts)) for name, each in pages.items()}
    ways |= {POLICY: by_tables(page), GREEDY: by_tables(served(without_exploring(found), contexts, static))}
    each = truth.compared(drawn, contexts.of, ways)
    values = _means(each, np.ones(len(drawn), np.bool_))
    return Launched(
        seed=seed, decisions=len(found.log), pages=len(drawn),
        ships={slot.place.slot: slot.ruling.ships for slot in found.slots},
        static=str(static), best=str(pages[BEST]), order=str(pages[ORDER]), values=values,
        quiet=_means(each, (drawn.situation & int(Segment.QUIET)) > 0), said=said,
        true={name: values[POLICY][at] - values[STATIC][at] for at, name in enumerate(REWARDS)}, realised=realised,
        holdout=(int(launch.holdout.sum()), strange),
    )  # fmt: skip


def windows(visits: Visits) -> tuple[Visits, Visits, Visits]:
    """What is learned from, the weeks for valuing after it, and those of the launch.

    Raises:
        DataError: there is no past beside them.
    """
    end = int(visits.at.max(initial=0)) + 1
    parts = np.digitize(visits.at, [end - 2 * WINDOW, end - WINDOW])
    past, before, launch = (visits.take(parts == part) for part in range(3))
    if not len(past):
        raise DataError("no pages from before the weeks of valuing and of the launch", got=len(visits))
    return past, before, launch


def options_of(outcome: str) -> SlotOptions:
    """What `kokyaku train slots` would be asked for."""
    kinds = {action.id: action.kind for action in PAGE_ACTIONS}
    return SlotOptions(StudyOptions({outcome: 1.0}, floor=FLOOR, folds=FOLDS, threads=1), kinds=kinds)


def valued_before(before: Visits, contexts: Contexts, page: Tables, fixed: Tables) -> dict[str, dict[str, Said]]:
    """What a page would add to the static one, estimated from pages that were drawn after what it was learned from.

    Args:
        before: the pages, and their contexts.
        contexts: theirs.
        page, fixed: the policy and the static page.

    Returns:
        outcome -> estimator -> the difference a page and its 95 % interval, clustered by person.
    """
    log = log_of(before)
    return {
        outcome: {
            **_by_slots(log, [_alone(each, contexts) for each in (page, fixed)], outcome),
            **_by_pages(log, [_after(each, before, contexts) for each in (page, fixed)], outcome),
        }
        for outcome in REWARDS
    }


def _by_slots(log: DecisionLog, ways: Sequence[Doubles], outcome: str) -> dict[str, Said]:
    """Each slot by itself, and both added up: right where what slots do adds up. Weights are far smaller than a page's.

    The band's action b was drawn among what the hero left: it came up with p(hero is not b) p(b | hero). By that it is
    weighed, against the probability that the policy shows it there whatever its own hero does.
    """
    hero, band = np.split(log.propensity, len(SLOTS))
    left = 1 - hero
    left[:, NULL] = 1.0  # both slots may be empty
    log = replace(log, propensity=np.concatenate([hero, band * left]))
    model = cross_fitted(log, outcome, Linear())
    mine, other = (sample_of(log, way, outcome, model) for way in ways)
    return {
        name: _said(difference(way(mine), way(other)), mine.cluster, len(SLOTS))
        for name, way in (("dr", dr), ("snips", snips))
    }


def _by_pages(log: DecisionLog, ways: Sequence[Doubles], outcome: str) -> dict[str, Said]:
    """Whole pages, read from the top: right as well where the hero changes what the band does.

    A purchase counts in the last slot.
    """
    if outcome == PURCHASE:
        log = replace(log, rewards={outcome: np.where(log.slot == len(SLOTS) - 1, log.reward(outcome), 0.0)})
    mine, other = (pages_of(log, way, outcome, to_go(log, way, outcome, Linear())) for way in ways)
    return {
        name: _said(difference(way(mine), way(other)), mine.cluster, 1)
        for name, way in (("cascade-dr", cascade_dr), ("snrips", snrips))
    }


def _alone(tables: Tables, contexts: Contexts) -> Doubles:
    """float64[2n, WIDTH]: what a policy shows in each slot, whatever it shows in the other."""
    band = np.einsum("ch,hcb->cb", tables.hero, tables.band)
    return np.concatenate([tables.hero[contexts.of], band[contexts.of]])


def _after(tables: Tables, visits: Visits, contexts: Contexts) -> Doubles:
    """float64[2n, WIDTH]: the same, of the band after the hero that was logged."""
    return np.concatenate([tables.hero[contexts.of], tables.band[visits.action[:, 0], contexts.of]])


def _said(score: Score, cluster: Whole, slots: int) -> Said:
    found = estimate(score, cluster)
    return slots * found.value, slots * found.low, slots * found.high


def happened(
    truth: Truth, launch: Visits, contexts: Contexts, page: Tables, fixed: Tables, random: np.random.Generator
) -> tuple[dict[str, float], int]:
    """The launch as it is drawn, and beside it the same weeks with the static page; the holdout gets that in both.

    Returns:
        outcome -> policy - static page, a page outside of the holdout; and how many pages of the holdout showed
        anything else than the static page.
    """

    def outside(visits: Visits, context: Whole) -> Doubles:
        return np.where(visits.holdout[:, None, None], fixed.pairs(context), page.pairs(context))

    shown, *came = truth.happens(launch, contexts.of, outside, random)
    usual, *other = truth.happens(launch, contexts.of, by_tables(fixed), random)
    strange = int((shown != usual)[launch.holdout].any(axis=1).sum())
    told = {}
    for name, own, theirs in zip(REWARDS, came, other, strict=True):
        more = (own.astype(np.float64) - theirs)[~launch.holdout]
        told[name] = float(more.sum() / len(more))
    return told, strange


def static_pages(truth: Truth, drawn: Visits, contexts: Contexts, static: Static, outcome: str) -> dict[str, Static]:
    """The page that the log says is best, and those that truly are."""
    return {
        STATIC: static, BEST: best_static(truth, drawn, contexts, outcome),
        BEST_FOR_PURCHASES: best_static(truth, drawn, contexts, PURCHASE),
        ORDER: best_order(truth, drawn, contexts, outcome),
    }  # fmt: skip


def ways_of(truth: Truth, drawn: Visits, contexts: Contexts, outcome: str) -> dict[str, Choose]:
    """The shop's own drawing, and the oracles."""
    hidden = float(((drawn.situation & int(Segment.HIDDEN)) > 0).mean())
    return {
        LOGGING: by_tables(logging(contexts)), KNOWN: truth.oracle({outcome: 1.0}, hidden),
        ORACLE: truth.oracle({outcome: 1.0}),
    }  # fmt: skip


def _means(each: Mapping[str, Doubles], who: Mask) -> dict[str, list[float]]:
    """Of each way what a page of some brings; NaN where there are none."""
    return {name: [float(of[who].mean()) if who.any() else np.nan for of in value.T] for name, value in each.items()}
