"""What launches of landing pages say together: shares of the oracle's gain, lifts, harm, coverage, the holdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from training.bench.page_launch import (
    BEST,
    BEST_FOR_PURCHASES,
    ESTIMATORS,
    GREEDY,
    KNOWN,
    LOGGING,
    ORACLE,
    ORDER,
    POLICY,
    Launched,
)
from training.bench.page_truth import HARMS, OUTCOMES
from training.bench.page_world import REWARDS
from training.bench.rows import Row
from training.bench.slot_world import SLOTS
from training.intervals import Interval, mean_interval, share_interval
from training.uplift.log import Doubles, Mask

_LEAST: Final = 1e-9
"""A gain of the oracle below it is none: a share of it is undefined."""


def rows_of(size: str, outcome: str, found: Sequence[Launched]) -> list[Row]:
    """All figures of one size of the log, with 95 % intervals over shops.

    Args:
        size: of the shops.
        outcome: what the policies were learned for.
        found: one a shop.
    """
    data, task = f"simulated-{size}", _task(found)
    told: dict[tuple[str, str], Interval] = {}
    for metric, against in (("share-of-oracle-gain", BEST), ("share-against-best-order", ORDER)):
        told |= {(who, metric): _mean(_share(found, outcome, who, against)) for who in (POLICY, GREEDY, KNOWN)}
    for name in REWARDS:
        for against in (BEST, BEST_FOR_PURCHASES, ORDER, LOGGING):
            told[POLICY, f"{name}-lift-over-{_key(against)}"] = _mean(_lift(found, name, POLICY, against))
        told[ORACLE, f"{name}-lift-over-{_key(BEST)}"] = _mean(_lift(found, name, ORACLE, BEST))
        told[POLICY, f"{name}-gain"] = _mean(_of(found, name, POLICY) - _of(found, name, BEST))
        quiet = _of(found, name, POLICY, quiet=True) - _of(found, name, BEST, quiet=True)
        told[POLICY, f"{name}-gain-of-quiet"] = _mean(quiet)
    for who in found[0].values:
        told |= {(who, name): _mean(_of(found, name, who)) for name in OUTCOMES}
    told |= _covered(found)
    told |= {("gate", f"passes-{slot}"): _part([each.ships[slot] == "policy" for each in found]) for slot in SLOTS}
    told["gate", "passes"] = _part([set(each.ships.values()) == {"policy"} for each in found])
    rows = [Row("pages", data, task, who, metric, e.value, e.low, e.high) for (who, metric), e in told.items()]
    counts = np.array([each.holdout for each in found]).sum(axis=0)
    launches = float(np.mean([each.pages for each in found]))
    return [
        *rows, Row("pages", data, task, "launch", "pages", launches),
        Row("pages", data, task, "holdout", "pages", float(counts[0])),
        Row("pages", data, task, "holdout", "personalised", float(counts[1])),
    ]  # fmt: skip


def table_of(size: str, outcome: str, found: Sequence[Launched]) -> Table:
    """The main figures, one a line."""
    value = {(row.subject, row.metric): row for row in rows_of(size, outcome, found)}
    title = f"{len(found)} shops, {_task(found)} decisions each, learned for {outcome}s"
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("what")
    table.add_column("figure", justify="right")
    lines: dict[str, tuple[str, str]] = {
        "share of the oracle's gain over the best static": (POLICY, "share-of-oracle-gain"),
        "  without exploring": (GREEDY, "share-of-oracle-gain"),
        "  for who knows all but hidden tastes": (KNOWN, "share-of-oracle-gain"),
        "  of its gain over the best fixed order": (POLICY, "share-against-best-order"),
        "clicks, lift over the best static": (POLICY, f"click-lift-over-{_key(BEST)}"),
        "purchases, lift over the best static": (POLICY, f"purchase-lift-over-{_key(BEST)}"),
        "  over the best static for purchases": (POLICY, f"purchase-lift-over-{_key(BEST_FOR_PURCHASES)}"),
        "  the oracle's": (ORACLE, f"purchase-lift-over-{_key(BEST)}"),
        "the gate lets both slots through": ("gate", "passes"),
    }  # fmt: skip
    lines |= {
        f"{name}s, {way} intervals hold what then is": (way, f"{name}-covered")
        for name in REWARDS for way in ESTIMATORS
    }  # fmt: skip
    for what, key in lines.items():
        table.add_row(what, _percent(value[key]))
    for name in REWARDS:
        row = value[POLICY, f"{name}-gain-of-quiet"]
        table.add_row(f"{name}s more a 1,000 pages, of QUIET people", _thousand(row))
    for name in HARMS:
        mine, static, logged = (f"{1e3 * value[who, name].value:.2f}" for who in (POLICY, BEST, LOGGING))
        table.add_row(f"{name.replace('_', '-')} a 1,000 pages", f"{mine} (static {static}, log {logged})")
    held = value["holdout", "pages"].value
    told = f"{value['holdout', 'personalised'].value:.0f} of {held:,.0f}"
    table.add_row("pages of the holdout not as for all", told)
    return table


def _covered(found: Sequence[Launched]) -> dict[tuple[str, str], Interval]:
    """How often intervals from before launch hold what is true then, and what was drawn; their mean width."""
    told: dict[tuple[str, str], Interval] = {}
    for name in REWARDS:
        true, drawn = np.array([[each.true[name], each.realised[name]] for each in found]).T
        for way in ESTIMATORS:
            _, low, high = np.array([each.said[name][way] for each in found]).T
            told[way, f"{name}-covered"] = _part((low <= true) & (true <= high))
            told[way, f"{name}-realised-covered"] = _part((low <= drawn) & (drawn <= high))
            told[way, f"{name}-above-zero"] = _part(low > 0)
            told[way, f"{name}-width"] = _mean(high - low)
    return told


def _of(found: Sequence[Launched], outcome: str, who: str, *, quiet: bool = False) -> Doubles:
    """float64[shops]: what a page brings."""
    at = OUTCOMES.index(outcome)
    return np.array([(each.quiet if quiet else each.values)[who][at] for each in found])


def _share(found: Sequence[Launched], outcome: str, who: str, against: str) -> Doubles:
    """float64[shops]: of the oracle's gain over a static page; NaN where it has none."""
    base, best = _of(found, outcome, against), _of(found, outcome, ORACLE)
    gain = np.where(best - base > _LEAST, best - base, np.nan)
    return np.asarray((_of(found, outcome, who) - base) / gain, np.float64)


def _lift(found: Sequence[Launched], outcome: str, who: str, against: str) -> Doubles:
    base = _of(found, outcome, against)
    return np.asarray(_of(found, outcome, who) / np.where(base > 0, base, np.nan) - 1, np.float64)


def _mean(values: Doubles) -> Interval:
    return mean_interval(values)


def _part(holds: Mask | Sequence[bool]) -> Interval:
    return share_interval(np.asarray(holds, np.bool_), np.arange(len(holds)))


def _key(who: str) -> str:
    return who.replace(" ", "-")


def _task(found: Sequence[Launched]) -> str:
    counts = [each.decisions for each in found]
    return f"{round(float(np.mean(counts))):,}"


def _percent(row: Row) -> str:
    if not np.isfinite(row.value):
        return "undefined"
    return f"{row.value:.1%}" + ("" if row.low is None else f" [{row.low:.1%}, {row.high:.1%}]")


def _thousand(row: Row) -> str:
    if row.low is None or row.high is None or not np.isfinite(row.value):
        return "undefined"
    return f"{1e3 * row.value:+.1f} [{1e3 * row.low:+.1f}, {1e3 * row.high:+.1f}]"
