"""How old everything is at the end of a window: the last event, the last decision, the bundle, the history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from features.errors import BundleError
from features.moments import DAY, HOUR, format_instant
from features.shop import Shop
from serving.artifact import live_name, read_manifest
from training.monitor.measure import NAN, Limits, Measure
from training.monitor.reading import Look
from training.monitor.windows import Trained, Window, days_between

GROUP: Final = "freshness"
SILENCE: Final = Limits(1.0, 3.0)
"""Times as long as the longest silence of the reference, which counts as a day at least."""
BUNDLE_DAYS: Final = Limits(14.0, 35.0)
"""Of a bundle that is trained every week; rankers learn with shared statistics that are up to a week old."""
HISTORY_HOURS: Final = Limits(30.0, 72.0)
"""A sync a day, and some hours that it may be late."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A feed that should not fall silent."""

    name: str
    title: str
    table: str
    remedy: str


ARRIVALS: Final = (
    Arrival("events", "Since the last event arrived", "base",
            "Look whether the shop still sends events, and whether kokyaku sync (or the import) still runs."),
    Arrival("decisions", "Since the last decision", "made",
            "Look whether the service answers (kokyaku doctor) and whether kokyaku sync still runs."),
)  # fmt: skip


def bundles_of(shop: Shop) -> list[Trained]:
    """The bundles of a shop that can serve; damaged ones are none."""
    live, found = live_name(shop.bundles), []
    for folder in sorted(shop.bundles.glob("[!.]*/")):
        try:
            found.append(Trained(folder.name, int(read_manifest(folder)["as_of"]), folder.name == live))
        except (BundleError, KeyError, TypeError, ValueError):
            continue
    return found


def freshness(look: Look, shop: Shop, window: Window) -> Iterator[Measure]:
    """Ages at the end of a window."""
    for arrival in ARRIVALS:
        yield _silence(look, arrival, window)
    yield _bundle(window)
    yield _history(shop, window)


def _silence(look: Look, arrival: Arrival, window: Window) -> Measure:
    """How long nothing has come, held against the longest time without anything before."""
    last, longest, before = look.row(f"""
        WITH seen AS (SELECT DISTINCT known // {HOUR} * {HOUR} AS hour FROM {arrival.table}
                      WHERE known >= {window.since} AND known < {window.until}),
        gaps AS (SELECT hour - lag(hour) OVER (ORDER BY hour) AS gap FROM seen)
        SELECT (SELECT max(known) FROM {arrival.table} WHERE known <= {window.end} AND moment < {window.end}),
               coalesce(max(gap), 0), count(*) FROM gaps""")
    usual = max(longest, DAY) / HOUR
    common = (GROUP, f"age/{arrival.name}", arrival.title)
    if last is None:
        if not before:
            return Measure(*common, unit="hours", limits=SILENCE, reason="there were none before either")
        return Measure(*common, reference=usual, unit="hours", size=float("inf"), limits=SILENCE,
                       found="none came at all", remedy=arrival.remedy)  # fmt: skip
    hours = (window.end - last) / HOUR
    return Measure(
        *common, hours, reference=usual, n=1, unit="hours", size=hours / usual, limits=SILENCE,
        found=f"the last one at {format_instant(last)[:16]}Z; nothing came for {usual:.0f} hours at most before",
        remedy=arrival.remedy,
    )  # fmt: skip


def _bundle(window: Window) -> Measure:
    title, trained = "Since the bundle was trained", window.serving
    if trained is None:
        reason = "no bundle of the shop is as old as the window"
        return Measure(GROUP, "age/bundle", title, unit="days", limits=BUNDLE_DAYS, reason=reason)
    days = days_between(trained.as_of, window.end)
    return Measure(
        GROUP, "age/bundle", title, days, reference=BUNDLE_DAYS.watch, n=1, unit="days", size=days,
        limits=BUNDLE_DAYS, found=trained.name,
        remedy="Train again (kokyaku train); a nightly or weekly job keeps it young.",
    )  # fmt: skip


def _history(shop: Shop, window: Window) -> Measure:
    """How old the mapped history is; one that was renewed long after a window says nothing of it."""
    title, name = "Since the history was renewed", live_name(shop.histories)
    common = (GROUP, "age/history", title)
    if name is None:
        return Measure(*common, unit="hours", limits=HISTORY_HOURS, reason="the shop has none: nothing was synced yet")
    try:
        as_of = int(read_manifest(shop.histories / name)["as_of"])
    except BundleError as error:
        return Measure(*common, unit="hours", limits=HISTORY_HOURS, reason=error.line(), remedy="Run kokyaku sync.")
    if as_of > window.end + DAY:
        return Measure(*common, unit="hours", limits=HISTORY_HOURS, reason="it was renewed after the window", value=NAN)
    hours = max(0, window.end - as_of) / HOUR
    return Measure(
        *common, hours, reference=HISTORY_HOURS.watch, n=1, unit="hours", size=hours, limits=HISTORY_HOURS,
        found=name, remedy="Run kokyaku sync, and let it run every day: until then workers read all from the store.",
    )  # fmt: skip
