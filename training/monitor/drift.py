"""Drift of what models read: PSI of each feature between a window and its reference, and what is new in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from features import columns as c
from training.monitor.measure import Limits, Measure
from training.monitor.psi import Histogram, Stability, histogram, stability
from training.monitor.reading import Look, Watched, placeholders
from training.monitor.shares import share_of, two_sided

BINS: Final = 10
"""Of numbers, by quantiles of the reference."""
LEVELS: Final = 15
"""Values that are told apart, the most frequent of the reference; the others of it are one bin, new ones another."""
LIMITS: Final = Limits(0.1, 0.25)
NEW: Final = Limits(0.02, 0.1)
"""Shares of rows with values that the reference never had, beyond what it foretells."""
NONE, OTHER, UNSEEN = "(not told)", "(others)", "(new)"
MOVED: Final = 3
"""Bins that are named as having moved most."""


@dataclass(frozen=True, slots=True)
class Feature(Watched):
    """What drifts, or does not; `expression` gives its value.

    Args:
        number: whether it is binned by quantiles, else by value.
    """

    number: bool = False


RETRAIN = "Train again (kokyaku train), so that models learn from people and items as they are now."
TRACKING = "Ask who changed the tracking: a renamed or lost value looks just like this. If it is true, train again."
FEATURES: Final = (
    Feature("type", "Types of events", c.TYPE, remedy=TRACKING),
    Feature("channel", "Channels", c.CHANNEL, remedy=TRACKING),
    Feature("traffic-source", "Traffic sources", c.TRAFFIC_SOURCE, remedy=TRACKING),
    Feature("device", "Devices", c.DEVICE, remedy=TRACKING),
    Feature("region", "Regions", c.REGION, remedy=TRACKING),
    Feature("hour", "Hours of the day", "printf('%02d to %02d h', hour // 3 * 3, hour // 3 * 3 + 3)",
            remedy="Check the time zone of the feed and of shop.toml."),
    Feature("category", "Categories of items", "department", where=f"{c.ITEM_ID} IS NOT NULL", remedy=RETRAIN),
    Feature("brand", "Brands of items", c.BRAND, where=f"{c.ITEM_ID} IS NOT NULL", remedy=RETRAIN),
    Feature("price", "Prices of what is bought", c.UNIT_PRICE, where=f"{c.TYPE} = 'purchase'", number=True,
            remedy="Compare prices with the shop's books: tax, currency or unit may have changed. Else train again."),
    Feature("activity", "Events of customers in the four weeks before", "lately", "person", number=True,
            remedy=RETRAIN),
    Feature("recency", "Days since customers were last active", "recency", "person", "recency IS NOT NULL",
            number=True, remedy=RETRAIN),
)  # fmt: skip
NEW_VALUES: Final = (
    ("items", "Items that were not there before", c.ITEM_ID, RETRAIN),
    ("categories", "Categories that were not there before", "department", RETRAIN),
    ("traffic-sources", "Traffic sources that were not there before", c.TRAFFIC_SOURCE, TRACKING),
    ("devices", "Devices that were not there before", c.DEVICE, TRACKING),
    ("regions", "Regions that were not there before", c.REGION, TRACKING),
)


def drifts(look: Look, features: Sequence[Feature] = FEATURES, group: str = "data") -> Iterator[Measure]:
    """PSI of features, of the window that `look` is narrowed to."""
    for feature in features:
        yield drift(look, feature, group)


def drift(look: Look, feature: Feature, group: str = "data") -> Measure:
    """PSI of one feature, and which of its bins moved most."""
    where = f"({feature.where})"
    if feature.number:
        edges = _edges(look, feature, where)
        names = between(edges)
        code = " + ".join(f"(v >= {edge!r})::INT" for edge in edges) or "0"
        coded = f"CASE WHEN v IS NULL OR isnan(v) THEN {len(names)} ELSE {code} END"
        value = f"({feature.expression})::DOUBLE"
    else:
        names = _levels(look, feature, where)
        listed = f"[{placeholders(names)}]::VARCHAR[]"
        known = "(SELECT DISTINCT v FROM rows WHERE side = 0)"
        coded = f"""CASE WHEN v IS NULL THEN {len(names)}
                         WHEN list_contains({listed}, v) THEN list_position({listed}, v) - 1
                         WHEN v IN {known} THEN {len(names) + 1} ELSE {len(names) + 2} END"""
        value = f"({feature.expression})::VARCHAR"
    table = look.table(f"""
        WITH rows AS (SELECT side, who, {value} AS v FROM {feature.view} {_joined(feature)} WHERE {where})
        SELECT side, who, ({coded})::BIGINT AS code, count(*)::DOUBLE AS n FROM rows GROUP BY ALL""")
    side, who, code, n = (table[name].to_numpy() for name in ("side", "who", "code", "n"))
    labels = [*names, NONE, *(() if feature.number else (OTHER, UNSEEN))]
    one, other = (histogram(who[side == at], code[side == at], n[side == at], len(labels)) for at in (0, 1))
    return measured(feature, group, labels, one, other)


def measured(feature: Feature, group: str, labels: Sequence[str], one: Histogram, other: Histogram) -> Measure:
    """A feature's two histograms as a measure."""
    found = stability(one, other)
    told_by = np.array([label != NONE for label in labels])
    silent = not (one.counts + other.counts)[told_by].any()
    reason = "nobody tells it" if silent else _reason(one, other, found)
    size = np.nan if reason else found.excess
    return Measure(
        group, f"psi/{feature.name}", feature.title, np.nan if silent else found.value, found.low, found.high,
        n=int(other.n), p=found.p if not reason else np.nan, size=size, limits=LIMITS, band=found.band,
        found="" if reason else _moved(labels, one, other), remedy=feature.remedy, reason=reason,
    )  # fmt: skip


def _reason(one: Histogram, other: Histogram, found: Stability) -> str:
    if not one.n or not other.n:
        return "nothing in the reference" if not one.n else "nothing in the window"
    if np.isnan(found.value):
        return "too few rows to tell two bins apart"
    return "too few people for a band" if np.isnan(found.p) else ""


def _moved(labels: Sequence[str], one: Histogram, other: Histogram) -> str:
    """The bins that moved most, with their shares before and now."""
    gap = np.abs(other.shares - one.shares)
    order = [int(at) for at in np.argsort(-gap, kind="stable")[:MOVED] if gap[at] > 0.0005]
    told = ", ".join(f"{labels[at]} {one.shares[at]:.1%} → {other.shares[at]:.1%}" for at in order)
    return told or "no bin moved"


def _joined(feature: Feature) -> str:
    return f"LEFT JOIN kinds USING ({c.ITEM_ID})" if feature.view == "event" else ""


def _edges(look: Look, feature: Feature, where: str) -> list[float]:
    """Inner edges of the bins: quantiles of the reference, each once; a value belongs to the bin that it begins."""
    steps = ", ".join(str(at / BINS) for at in range(1, BINS))
    (found,) = look.row(f"""
        SELECT quantile_cont(({feature.expression})::DOUBLE, [{steps}]) FROM {feature.view} {_joined(feature)}
        WHERE side = 0 AND {where} AND NOT isnan(({feature.expression})::DOUBLE)""")
    return sorted({float(edge) for edge in found or ()})


def between(edges: Sequence[float]) -> list[str]:
    """What bins are called that begin and end at some edges; one more than there are edges."""
    if not edges:
        return ["all"]
    said = [f"{edge:,.4g}" for edge in edges]
    inner = [f"{low} to {high}" for low, high in pairwise(said)]
    return [f"below {said[0]}", *inner, f"from {said[-1]}"]


def _levels(look: Look, feature: Feature, where: str) -> list[str]:
    return [str(name) for name, _ in look.rows(f"""
        SELECT v, count(*) FROM (SELECT ({feature.expression})::VARCHAR AS v FROM {feature.view} {_joined(feature)}
                                 WHERE side = 0 AND {where}) WHERE v IS NOT NULL
        GROUP BY v ORDER BY count(*) DESC, v LIMIT {LEVELS}""")]  # fmt: skip


def novelties(look: Look) -> Iterator[Measure]:
    """Rows of the window with a value that the reference never had.

    Some are always new. How many the next rows bring is the share of the reference's rows whose value came once (Good
    1953, after Turing); what counts is the share beyond that.
    """
    for name, title, column, remedy in NEW_VALUES:
        yield _novelty(look, name, title, column, remedy)


def _novelty(look: Look, name: str, title: str, column: str, remedy: str) -> Measure:
    once, n_before, hits, n, xx, xn, nn, people = look.row(f"""
        WITH rows AS (SELECT side, who, {column} AS v FROM event LEFT JOIN kinds USING ({c.ITEM_ID})
                      WHERE {column} IS NOT NULL),
        seen AS (SELECT v, count(*) AS n, count(DISTINCT who) AS whose FROM rows WHERE side = 0 GROUP BY v),
        per AS (SELECT who, sum((s.v IS NULL)::INT) AS x, count(*) AS n
                FROM rows r LEFT JOIN seen s ON r.v = s.v WHERE side = 1 GROUP BY who)
        SELECT (SELECT coalesce(sum(n), 0)::DOUBLE FROM seen WHERE whose = 1),
               (SELECT coalesce(sum(n), 0)::DOUBLE FROM seen),
               coalesce(sum(x), 0)::DOUBLE, coalesce(sum(n), 0)::DOUBLE, coalesce(sum(x * x), 0)::DOUBLE,
               coalesce(sum(x * n), 0)::DOUBLE, coalesce(sum(n * n), 0)::DOUBLE, count(*) FROM per""")
    found = share_of(hits, n, (xx, xn, nn), people)
    low, high = found.ends
    foretold = once / n_before if n_before else np.nan
    reason = "nothing in the reference" if not n_before else "nothing in the window" if not n else ""
    before = share_of(once, n_before, (once, once, n_before), int(n_before))
    p = np.nan if reason else two_sided(found, before)
    reason = reason or ("too few people to compare" if np.isnan(p) else "")
    values: list[str] = [] if not hits else [str(v) for v, _ in look.rows(f"""
        SELECT {column} AS v, count(*) FROM event LEFT JOIN kinds USING ({c.ITEM_ID})
        WHERE side = 1 AND {column} IS NOT NULL AND {column} NOT IN (
            SELECT {column} FROM event LEFT JOIN kinds USING ({c.ITEM_ID}) WHERE side = 0 AND {column} IS NOT NULL)
        GROUP BY ALL ORDER BY count(*) DESC, v LIMIT {MOVED}""")]  # fmt: skip
    return Measure(
        "data", f"new/{name}", title, found.value, low, high, foretold, int(n), "share", p,
        np.nan if reason else max(0.0, found.value - foretold), NEW,
        found=f"most often {', '.join(values)}" if values else "none is new" if n else "", remedy=remedy,
        reason=reason,
    )  # fmt: skip
