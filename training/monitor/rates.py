"""Shares that should stay as they were: what is missing, unknown, late, doubled; what falls back, explores, is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features import columns as c
from features.moments import DAY, HOUR
from training.monitor.measure import Limits, Measure
from training.monitor.reading import Look, Watched
from training.monitor.shares import Share, share_of, two_sided

EITHER: Final = Limits(0.05, 0.2)
"""Points that a share may move, either way."""


@dataclass(frozen=True, slots=True)
class Rate(Watched):
    """A share that is watched; `expression` says which rows have it.

    Args:
        limits: of how far it moved.
        rising: whether only more of it is bad.
    """

    limits: Limits = EITHER
    rising: bool = True


_FEED = "Ask whoever sends this feed: a column was lost, renamed or filled otherwise than before."
_SHORT = Limits(0.01, 0.05)
MISSING: Final = tuple(
    Rate(
        f"missing/{name}",
        f"{title} not told",
        f"{column} IS NULL",
        where=where,
        remedy=_FEED,
        limits=Limits(0.1, 0.25) if name == "customer" else EITHER,
    )
    for name, title, column, where in (
        ("customer", "Customer", "nullif(named, false)", "true"),
        ("session", "Session", c.SESSION_ID, "true"),
        ("channel", "Channel", c.CHANNEL, "true"),
        ("traffic-source", "Traffic source", c.TRAFFIC_SOURCE, "true"),
        ("device", "Device", c.DEVICE, "true"),
        ("region", "Region", c.REGION, "true"),
        ("price", "Price of a purchase", c.UNIT_PRICE, f"{c.TYPE} = 'purchase'"),
    )
)
EVENT_RATES: Final = (
    *MISSING,
    Rate("unknown-items", "Events about items that the catalogue lacks",
         f"{c.ITEM_ID} NOT IN (SELECT {c.ITEM_ID} FROM kinds)", where=f"{c.ITEM_ID} IS NOT NULL", limits=_SHORT,
         remedy="Import the catalogue again, and check that both write item ids the same way."),
    Rate("fresh-items", "Events about items listed in the last four weeks", f"listed > moment - {28 * DAY}",
         where="listed IS NOT NULL", limits=Limits(0.05, 0.2), rising=False,
         remedy="New goods have come, or stay away: models know little of new items. Train again where they stay."),
    Rate("late", "Events recorded more than an hour after they happened", f"known - moment > {HOUR}", limits=EITHER,
         remedy="Look at the queue or the nightly file that brings them: models and pages see them late."),
    Rate("doubled", "Events that repeat another", "again", limits=_SHORT,
         remedy="Same person, item, type and moment under two ids: check retries and overlapping exports."),
    Rate("free", "Purchases at no price or less", f"{c.UNIT_PRICE} <= 0", limits=_SHORT,
         where=f"{c.TYPE} = 'purchase' AND {c.UNIT_PRICE} IS NOT NULL", remedy="Compare with the shop's books."),
)  # fmt: skip
PERSON_RATES: Final = (
    Rate("newcomers", "Active customers who never were active before", "recency IS NULL", "person", rising=False,
         limits=Limits(0.1, 0.3),
         remedy="Many: a campaign, or customer ids that changed. Few: sign-ups may be broken. Newcomers get lists "
                "without a history; train again if they stay."),
)  # fmt: skip


def rates(look: Look, asked: Sequence[Rate], group: str) -> Iterator[Measure]:
    """Each share with what it was in the reference, of the window that `look` is narrowed to."""
    for view in dict.fromkeys(rate.view for rate in asked):
        mine = [rate for rate in asked if rate.view == view]
        for rate, (before, now) in zip(mine, _shares(look, view, mine), strict=True):
            yield compared(rate, group, before, now)


def compared(rate: Rate, group: str, before: Share, now: Share) -> Measure:
    """A share beside its reference as a measure."""
    low, high = now.ends
    reason = "nothing in the window" if not now.n else "nothing in the reference" if not before.n else ""
    p = np.nan if reason else two_sided(now, before)
    reason = reason or ("too few people to compare" if np.isnan(p) else "")
    gap = now.value - before.value if not reason else np.nan
    size = gap if rate.rising else abs(gap)
    found = f"{now.hits:,.0f} of {now.n:,.0f}" if now.n else ""
    return Measure(
        group, f"share/{rate.name}", rate.title, now.value, low, high, before.value, int(now.n), "share", p,
        size, rate.limits, found=found, remedy=rate.remedy, reason=reason,
    )  # fmt: skip


def _shares(look: Look, view: str, asked: Sequence[Rate]) -> list[tuple[Share, Share]]:
    """Of each rate its share in the reference and in the window, all in one pass."""
    per = ", ".join(
        f"coalesce(sum(h{at}), 0)::DOUBLE AS x{at}, count(h{at})::DOUBLE AS n{at}" for at in range(len(asked))
    )
    hits = ", ".join(
        f"CASE WHEN {rate.where} THEN coalesce(({rate.expression}), false)::INT END AS h{at}"
        for at, rate in enumerate(asked)
    )
    sums = ", ".join(
        f"coalesce(sum(x{at}), 0), coalesce(sum(n{at}), 0), coalesce(sum(x{at} * x{at}), 0), "
        f"coalesce(sum(x{at} * n{at}), 0), coalesce(sum(n{at} * n{at}), 0), count(*) FILTER (n{at} > 0)"
        for at in range(len(asked))
    )
    source = _EVENTS if view == "event" else view
    found = {side: figures for side, *figures in look.rows(f"""
        WITH rows AS (SELECT side, who, {hits} FROM {source}),
        per AS (SELECT side, who, {per} FROM rows GROUP BY side, who)
        SELECT side, {sums} FROM per GROUP BY side""")}  # fmt: skip
    return [(_share(found.get(0), at), _share(found.get(1), at)) for at in range(len(asked))]


_EVENTS = f"""(SELECT *, {c.ITEM_ID} IS NOT NULL AND row_number() OVER (
                   PARTITION BY who, {c.TYPE}, {c.ITEM_ID}, moment ORDER BY {c.EVENT_ID}) > 1 AS again
               FROM event LEFT JOIN kinds USING ({c.ITEM_ID}))"""


def _share(figures: Sequence[float] | None, at: int) -> Share:
    if figures is None:
        return Share(0.0, 0.0, np.nan, 0)
    hits, n, xx, xn, nn, people = figures[6 * at : 6 * at + 6]
    return share_of(hits, n, (xx, xn, nn), int(people))
