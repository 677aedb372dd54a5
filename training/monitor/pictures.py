"""Pictures of windows: one of everything in a window, its reliability plots, and the course of all windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training import plots
from training.monitor.measure import Measure
from training.monitor.report import GROUPS, Found, headline, rows, said
from training.plots import VERDICTS, Level, Mark


def pictures(found: Found) -> Mapping[str, bytes]:
    """Path -> PNG: everything against its limits, and reliability where anything can be drawn."""
    drawn = {"plots/window.png": plots.levels([_level(each) for each, _ in rows(found)], title=headline(found))}
    if found.curves:
        drawn["plots/reliability.png"] = plots.said_and_came({
            curve.title: [(dot.said, Mark("", dot.found, dot.low, dot.high)) for dot in curve.dots]
            for curve in found.curves
        })  # fmt: skip
    return drawn


def course(several: Sequence[Found]) -> bytes:
    """Verdicts of windows, oldest first; what was measured in some windows alone is unknown in the others."""
    titles = {
        each.name: each.title for group in GROUPS for found in several for each in found.measures if each.group == group
    }
    codes = list(VERDICTS)
    told = [{each.name: codes.index(each.verdict.value) for each in found.measures} for found in several]
    table = np.array([[window.get(name, 0) for window in told] for name in titles], np.int64)
    first = several[0]
    named = [found.window[:10] for found in several]
    title = f"{first.shop}: every {first.length} from {named[0]} to {named[-1]}"
    return plots.verdict_map(list(titles.values()), named, table.reshape(len(titles), len(several)), title=title)


def _level(each: Measure) -> Level:
    watch = each.limits.watch
    beside = f" (before {said(each.reference, each.unit)})" if each.reference > 0 else ""
    if np.isfinite(each.band):
        beside = f" (chance: {each.band:.3f})"
    return Level(each.title, each.verdict.value, each.size / watch, each.limits.act / watch,
                 said(each.value, each.unit) + beside)  # fmt: skip
