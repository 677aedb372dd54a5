"""What was found in a window, as it is kept and shown: a record that reads back from its JSON, and words for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from features.moments import format_instant
from training.monitor.draws import Point
from training.monitor.measure import NAN, Measure, Verdict, by_severity, counts, worst
from training.monitor.windows import Window

HEADS: Final = ("", "what", "now", "95 %", "before, or by chance", "n", "what was found")
GROUPS: Final = {
    "data": "Data", "answers": "Answers", "freshness": "Freshness", "policies": "Policies",
}  # fmt: skip
UNDEFINED: Final = "–"
_FORMS: Final = {"share": "{:.1%}", "hours": "{:,.1f} h", "days": "{:,.1f} d", "times": "{:.2f} x", "": "{:.4g}"}
_FLOATS: Final = tuple(
    name for name in Measure.__struct_fields__ if name in ("value", "low", "high", "reference", "size", "p", "band")
)


class Dot(msgspec.Struct, frozen=True):
    """A bin of a reliability plot: mean of what was said, what came with its interval, rows."""

    said: float
    found: float
    low: float
    high: float
    n: int


class Curve(msgspec.Struct, frozen=True):
    """A reliability plot of a measure, in bins from the lowest."""

    measure: str
    title: str
    dots: tuple[Dot, ...]


class Found(msgspec.Struct, frozen=True):
    """What was found in a window; instants are ISO 8601.

    Args:
        shop, length, window: whose, `day` or `week`, and the window's name.
        start, end, since, until: of the window and of its reference.
        step: by which windows are in order.
        bundle: whose training the reference is, or empty.
        verdict: the worst one.
        measures: with verdicts.
        curves: for pictures.
    """

    shop: str
    length: str
    window: str
    start: str
    end: str
    since: str
    until: str
    step: int
    bundle: str
    verdict: Verdict
    measures: tuple[Measure, ...]
    curves: tuple[Curve, ...] = ()


def found_of(
    shop: str, length: str, window: Window, measures: Sequence[Measure], curves: Sequence[tuple[Measure, list[Point]]]
) -> Found:
    """Judged measures and reliability points as a record."""
    drawn = tuple(
        Curve(measure.name, measure.title, tuple(
            Dot(point.said, point.found.value, point.found.low, point.found.high, point.n) for point in points
        ))
        for measure, points in curves if points
    )  # fmt: skip
    return Found(
        shop, length, window.name, format_instant(window.start), format_instant(window.end),
        format_instant(window.since), format_instant(window.until), window.step,
        window.bundle.name if window.bundle else "", worst(measures), tuple(measures), drawn,
    )  # fmt: skip


def written(found: Found) -> bytes:
    """As JSON; what is undefined is null."""
    return orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2)


def written_all(several: Sequence[Found]) -> bytes:
    """Windows as a JSON list."""
    return orjson.dumps(msgspec.to_builtins(several), option=orjson.OPT_INDENT_2)


def read_back(text: bytes) -> Found:
    """What `written` wrote.

    Raises:
        msgspec.ValidationError: it is something else.
        orjson.JSONDecodeError: it is no JSON.
    """
    told: dict[str, Any] = orjson.loads(text)
    for measure in told["measures"]:
        measure |= {name: NAN for name in _FLOATS if measure[name] is None}
    for curve in told["curves"]:
        for dot in curve["dots"]:
            dot |= {name: NAN for name, value in dot.items() if value is None}
    return msgspec.convert(told, Found)


def rows(found: Found, *, everything: bool = True) -> list[tuple[Measure, tuple[str, ...]]]:
    """A line a measure, worst first within its group; else only what is not well."""
    asked = [each for each in found.measures if everything or each.verdict in (Verdict.ACT, Verdict.WATCH)]
    ordered = [each for group in GROUPS for each in by_severity([one for one in asked if one.group == group])]
    return [(each, cells(each)) for each in ordered]


def cells(each: Measure) -> tuple[str, ...]:
    """Verdict, title, value, interval, reference, rows and what was found."""
    low, high = said(each.low, each.unit), said(each.high, each.unit)
    interval = "" if UNDEFINED in (low, high) else f"{low} to {high}"
    before = said(each.reference, each.unit) if np.isfinite(each.reference) else ""
    if np.isfinite(each.band):
        before = f"up to {each.band:.3f}"
    return (
        each.verdict.value, each.title, said(each.value, each.unit), interval, before, f"{each.n:,}",
        each.reason or each.found,
    )  # fmt: skip


def said(value: float, unit: str) -> str:
    """A figure in its unit."""
    return _FORMS.get(unit, "{:.4g}").format(value) if np.isfinite(value) else UNDEFINED


def headline(found: Found) -> str:
    """The answer in one sentence."""
    many = counts(found.measures)
    named = {verdict: [each for each in found.measures if each.verdict is verdict] for verdict in Verdict}
    if named[Verdict.ACT]:
        what = "; ".join(each.title for each in named[Verdict.ACT][:3])
        return f"{found.window}: act on {many['act']}, watch {many['watch']}. First: {what}."
    if named[Verdict.WATCH]:
        what = "; ".join(each.title for each in named[Verdict.WATCH][:3])
        return f"{found.window}: nothing to act on, watch {many['watch']}: {what}."
    if not many["ok"]:
        return f"{found.window}: nothing can be told."
    return f"{found.window}: all {many['ok']} that can be told are well, {many['unknown']} cannot."


def remedies(found: Found) -> list[str]:
    """What to do about what is not well, worst first, each sentence once."""
    named = [each for each, _ in rows(found, everything=False) if each.remedy]
    ordered = by_severity(named)
    return [
        f"{each.title}: {each.found}. {each.remedy}" if each.found else f"{each.title}: {each.remedy}"
        for each in ordered
    ]


def facts(found: Found) -> list[str]:
    """How it was measured."""
    against = f"bundle {found.bundle}" if found.bundle else "no bundle; the eight weeks before"
    return [
        f"Reference: {found.since} to {found.until} ({against}), on the same weekdays.",
        "PSI is the sum of (p - q) ln(p / q) over bins. Its band is what chance alone gives where nothing changed, "
        "clustered by person; the interval is of what lies beyond it.",
        "All comparisons of a window are one family: at most 5 % of windows in which nothing changed call anything "
        "changed (Benjamini & Hochberg). What changed but is small is well.",
    ]  # fmt: skip


def markdown(found: Found) -> str:
    """The table, remedies and facts."""
    lines = [f"**{headline(found)}**", ""]
    lines += [f"- {each}" for each in remedies(found)]
    lines += ["", f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for _, line in rows(found)]
    return "\n".join([*lines, "", *facts(found)]) + "\n"


def metrics(found: Found) -> dict[str, float]:
    """For the tracking UI: value, ends, size beyond chance, and the verdict as a number (0 well, 1 watch, 2 act)."""
    level = {Verdict.OK: 0.0, Verdict.WATCH: 1.0, Verdict.ACT: 2.0, Verdict.UNKNOWN: NAN}
    told = {f"verdicts/{name}": float(count) for name, count in counts(found.measures).items()}
    for each in found.measures:
        told |= {
            each.name: each.value, f"{each.name}/low": each.low, f"{each.name}/high": each.high,
            f"{each.name}/n": float(each.n), f"{each.name}/verdict": level[each.verdict],
        }  # fmt: skip
        beside = {"before": each.reference, "band": each.band}
        told |= {f"{each.name}/{name}": value for name, value in beside.items() if np.isfinite(value)}
    return told
