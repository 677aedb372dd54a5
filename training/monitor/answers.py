"""Health of what was answered: fallbacks and their reasons, exploration, what is not logged, how much is ever shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from features import columns as c
from training.monitor.drift import Feature, drift
from training.monitor.measure import NAN, Limits, Measure
from training.monitor.rates import Rate, rates
from training.monitor.reading import Look, quoted
from training.monitor.shares import CLUSTERS

GROUP: Final = "answers"
REASONS: Final = 5
"""Reasons of fallbacks that are watched one by one, the most frequent of both sides."""
SHUFFLES: Final = 200
"""Of people between the two sides, for the spread of a difference in coverage."""
COMPARED: Final = 2000
"""People of each side whose coverage is compared, at most."""
CHANCES: Final = "CAST(json_extract(eligible, '$[*][1]') AS DOUBLE[])"
"""SQL: the probabilities of a decision's eligible actions; null where nobody recorded one."""
_ASKS: Final = "Look at the decisions that give it (table decisions, column fallback) and at the service's log."
RATES: Final = (
    Rate("fallback", "Decisions that fell back", "fallback IS NOT NULL", "decision", "asked", limits=Limits(0.02, 0.1),
         remedy="See the reasons below, and the service's log of the same days."),
    Rate("unlogged", "Answers that could not be logged", "NOT logged", "decision", "asked", limits=Limits(0.001, 0.01),
         remedy="Free the disk of the decision logs: what is not logged is not explored, and teaches nothing."),
    Rate("explored", "Draws that took another action than the likeliest",
         f"action_propensity < list_max({CHANCES}) - 1e-9", "decision",
         where=f"asked AND drawn AND len({CHANCES}) > 1 AND NOT isnan(action_propensity)", rising=False,
         limits=Limits(0.05, 0.15),
         remedy="Compare the floors of the policies before and now: more is paid for by customers, less teaches less."),
    Rate("holdout", "Decisions for the permanent holdout", "holdout", "decision", "asked", rising=False,
         limits=Limits(0.01, 0.03),
         remedy="The share in shop.toml was changed, or subjects lost their ids: a holdout only proves if it stays."),
    Rate("empty", "Decisions that showed nothing", f"{c.ACTION_ID} IS NULL AND len(coalesce(items, [])) = 0",
         "decision", "asked", rising=False, limits=Limits(0.1, 0.25),
         remedy="Look at what was vetoed and why (table decisions, column vetoed)."),
)  # fmt: skip
SHOWN: Final = (
    Feature("surface", "Where decisions are made", "surface || ' ' || slot", "decision", "asked",
            remedy="A page or channel came, went, or asks more or less often than before."),
    Feature("action", "What decisions show", f"coalesce({c.ACTION_ID}, '(nothing)')", "decision", "asked",
            remedy="Compare shop.toml and the policies before and now; see what was vetoed."),
)  # fmt: skip
COVERED: Final = Limits(0.2, 0.5)
"""Shares of the coverage that are lost."""


def answers(look: Look) -> Iterator[Measure]:
    """Of the decisions that requests brought, in the window that `look` is narrowed to."""
    yield from rates(look, (RATES[0], *fallbacks(look), *RATES[1:]), GROUP)
    yield from (drift(look, feature, GROUP) for feature in SHOWN)
    yield coverage(look)


def fallbacks(look: Look) -> list[Rate]:
    """A rate for each of the most frequent reasons; numbers in them are left out, as they would make each its own."""
    said = "regexp_replace(fallback, '[0-9]+', 'N', 'g')"
    found = look.rows(f"""
        SELECT {said} AS said, count(*) FROM decision WHERE asked AND fallback IS NOT NULL
        GROUP BY said ORDER BY count(*) DESC, said LIMIT {REASONS}""")
    return [
        Rate(f"fallback/{slug(reason)}", f"… because: {reason}", f"{said} = {quoted(reason)}", "decision",
             "asked", limits=Limits(0.02, 0.1), remedy=_ASKS)
        for reason, _ in found
    ]  # fmt: skip


def slug(text: str) -> str:
    """A text as part of a metric's name.

    >>> slug("The first choice could not be filled!")
    'the-first-choice-could-not-be-filled'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "other"


def coverage(look: Look) -> Measure:
    """The share of the listed items that were shown to anybody, beside what as many people saw before.

    More people see more items, so the reference is rarefied (Hurlbert 1971) to as many people as the window has. The
    spread of the difference is that of `SHUFFLES` random exchanges of people between the two sides.
    """
    catalogue = int(look.row("SELECT count(*) FROM kinds")[0])
    (people_before, seen_before), (people, seen) = (_seen(look, side) for side in (0, 1))
    lists = int(look.row("SELECT count(*) FROM decision WHERE asked AND side = 1 AND len(coalesce(items, [])) > 0")[0])
    title, remedy = "Listed items that were shown", (
        "Fewer items are shown to anybody: look for a filter, a stop or a stock feed that takes too many away."
    )  # fmt: skip
    if not catalogue or not people:
        reason = "no item was shown in the window" if catalogue else "no items are listed"
        return Measure(GROUP, "coverage", title, n=lists, unit="share", p=NAN, limits=COVERED, reason=reason)
    value, before = len(seen) / catalogue, rarefied(seen_before, people_before, people) / catalogue
    p = NAN if min(people, people_before) < CLUSTERS else _exchanged(look)
    reason = "" if np.isfinite(p) else "too few people to compare"
    return Measure(
        GROUP, "coverage", title, value, NAN, NAN, before, lists, "share", p,
        (before - value) / before if before > 0 and not reason else NAN, COVERED,
        found=f"{len(seen):,} of {catalogue:,} items, to {people:,} people", remedy=remedy, reason=reason,
    )  # fmt: skip


def rarefied(seen: np.typing.NDArray[np.float64], people: int, few: int) -> float:
    """How many distinct items some of the people would have seen, on average over all choices of so many.

    Args:
        seen: float64[items], people who saw each.
        people: all.
        few: how many are chosen, without replacement; more than there are count as all.

    >>> rarefied(np.array([2.0, 1.0]), 2, 1)
    1.5
    """
    few = min(few, people)
    # The chance that none of `few` saw an item: the product over them of what is left of the others.
    at = np.arange(few)
    with np.errstate(divide="ignore"):
        missed = np.log(np.maximum(people - seen[:, None] - at, 0) / (people - at)).sum(axis=1) if few else 0 * seen
    return float((1 - np.exp(missed)).sum())


def _seen(look: Look, side: int) -> tuple[int, np.typing.NDArray[np.float64]]:
    """People who were shown anything, and how many of them saw each item."""
    shown = f"FROM decision WHERE asked AND side = {side}"
    table = look.table(f"""
        SELECT count(DISTINCT who)::DOUBLE AS n FROM (SELECT who, unnest(items) AS item {shown}) GROUP BY item""")
    (people,) = look.row(f"SELECT count(DISTINCT who) {shown} AND len(coalesce(items, [])) > 0")
    return int(people), table["n"].to_numpy()


def _exchanged(look: Look) -> float:
    """The chance of so different a number of items seen by equally many people, if who is on which side meant nothing.

    Both sides give the same number of people, drawn anew each time; the law of the difference is taken to be normal.
    """
    table = look.table("""
        SELECT DISTINCT side, who, item FROM (SELECT side, who, unnest(items) AS item FROM decision WHERE asked)""")
    people, who = np.unique(np.stack([table["side"].to_numpy(), table["who"].to_numpy()]), axis=1, return_inverse=True)
    items, item = np.unique(np.asarray(table["item"].to_pylist(), np.str_), return_inverse=True)
    shown = sparse.csr_array((np.ones(len(who)), (who.ravel(), item)), shape=(people.shape[1], len(items)))
    side, random = people[0], np.random.default_rng(0)
    few = int(min((side == 0).sum(), (side == 1).sum(), COMPARED))

    def gap(order: np.typing.NDArray[np.intp], sides: np.typing.NDArray[np.int64]) -> float:
        first, second = (order[sides[order] == at][:few] for at in (0, 1))
        return float((shown[second].sum(axis=0) > 0).sum() - (shown[first].sum(axis=0) > 0).sum())

    orders = [random.permutation(len(side)) for _ in range(SHUFFLES)]
    found = float(np.mean([gap(order, side) for order in orders]))
    spread = float(np.std([gap(order, random.permutation(side)) for order in orders]))
    if spread == 0:
        return 1.0 if found == 0 else 0.0
    return float(2 * ndtr(-abs(found) / spread))
