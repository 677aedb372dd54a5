"""Counters, histograms and gauges as Prometheus reads them. The only module that speaks Prometheus.

They stand in this process's memory: one worker a container, and the scraper adds the containers up. All counting
happens at the end of a request, on the event loop, so there is nothing to lock; the library's own counters would cost
ten times as much, because the framework has every process write them into mapped files.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from serving.watch import STAGES, Watch

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OTHER = "other"
REQUEST_BOUNDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. Close together below 10 ms, where the promises are."""
STAGE_BOUNDS = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25)


class Gauge(NamedTuple):
    """A value of this moment.

    Args:
        name: without the prefix `kokyaku_`.
        about: what it is, for the scraper's help.
        value: in seconds, bytes, counts.
        labels: few and bounded; never an id of a person.
        kind: `counter` where it only grows.
    """

    name: str
    about: str
    value: float
    labels: Mapping[str, str] = {}
    kind: str = "gauge"


class Tally:
    """A counter by labels; when there are too many of them the rest is counted as `other`.

    Args:
        name: without the prefix `kokyaku_` and the ending `_total`.
        about: what is counted.
        labels: their names.
        begin: label values that are there, at 0, before anything happened: an alert can only see what rises.
        most: how many combinations are kept apart.
    """

    def __init__(
        self,
        name: str,
        about: str,
        labels: Sequence[str] = (),
        begin: Iterable[tuple[str, ...]] = (),
        most: int = 1_000,
    ) -> None:
        self.name, self.about, self.labels, self._most = name, about, tuple(labels), most
        self.values: dict[tuple[str, ...], int] = dict.fromkeys(begin if labels else [()], 0)

    def add(self, values: tuple[str, ...], by: int = 1) -> None:
        """Count."""
        if values not in self.values and len(self.values) >= self._most:
            values = (OTHER,) * len(self.labels)
        self.values[values] = self.values.get(values, 0) + by

    def family(self) -> Metric:
        """As Prometheus reads it."""
        made = CounterMetricFamily(f"kokyaku_{self.name}", self.about, labels=self.labels)
        for values, count in self.values.items():
            made.add_metric(values, count)
        return made


class Spread:
    """A histogram by labels.

    Args:
        name: without the prefix `kokyaku_`.
        about: what is measured.
        labels: their names; values come from bounded sets.
        bounds: upper ends of the buckets, ascending, in seconds.
    """

    def __init__(self, name: str, about: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self.name, self.about, self.labels, self.bounds = name, about, tuple(labels), tuple(bounds)
        self._rows: dict[tuple[str, ...], list[float]] = {}
        """labels -> count of each bucket, the open one included, and at the end the sum."""

    def add(self, values: tuple[str, ...], seconds: float) -> None:
        """Take a measurement in."""
        row = self._rows.get(values)
        if row is None:
            row = self._rows[values] = [0] * (len(self.bounds) + 1) + [0.0]
        row[bisect_left(self.bounds, seconds)] += 1
        row[-1] += seconds

    def family(self) -> Metric:
        """As Prometheus reads it: each bucket holds those below it too."""
        made = HistogramMetricFamily(f"kokyaku_{self.name}", self.about, labels=self.labels)
        ends = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        for values, row in self._rows.items():
            below, buckets = 0.0, []
            for end, count in zip(ends, row, strict=False):
                below += count
                buckets.append((end, below))
            made.add_metric(values, buckets, row[-1])
        return made


class Telemetry:
    """All that a worker counts.

    Args:
        beside: what is counted elsewhere, where no request is known yet.
    """

    def __init__(self, beside: Sequence[Tally] = ()) -> None:
        self._beside = tuple(beside)
        self.requests = Tally("requests", "Requests by route and status.", ("route", "status"))
        self.seconds = Spread("request_seconds", "Time to answer by route.", ("route",), REQUEST_BOUNDS)
        self.stages = Spread(
            "stage_seconds", "Time by route and stage of the flow.", ("route", "stage"), STAGE_BOUNDS
        )  # fmt: skip
        self.errors = Tally("errors", "Errors answered, by route and code.", ("route", "code"))
        self.fallbacks = Tally(
            "fallbacks", "Lists and slots that show something else than was wanted, by why.", ("route", "reason")
        )
        self.decisions = Tally(
            "decisions", "Decisions by route, policy and how: drawn, reused, fixed or holdout.",
            ("route", "policy", "how"),
        )  # fmt: skip
        self.counted = {
            "removed": Tally("removed_candidates", "Candidates that filters took away, by reason.", ("reason",)),
            "unlogged": Tally("unlogged_decisions", "Decisions that left without being logged."),
            "events": Tally(
                "events", "Events received, by what became of them.", ("outcome", "reason"),
                [("accepted", ""), ("duplicate", ""), ("rejected", "invalid_request")],
            ),
            "erasures": Tally("erasures", "Customers whose erasure was asked for."),
        }  # fmt: skip

    def take(self, route: str, status: str, seconds: float, watch: Watch, fallbacks: Iterable[str] = ()) -> None:
        """A request has been answered.

        Args:
            route: a path of ours, or `other`.
            status: of the answer.
            seconds: from its first byte to the last of the answer.
            watch: what was noted of it.
            fallbacks: the classes of `watch.fallbacks`.
        """
        self.requests.add((route, status))
        self.seconds.add((route,), seconds)
        for stage, spent in watch.stages.items():
            self.stages.add((route, stage), spent / 1e9)
        if watch.code is not None:
            self.errors.add((route, watch.code))
        for reason in fallbacks:
            self.fallbacks.add((route, reason))
        for (name, *labels), by in watch.counts.items():
            if name == "decisions":
                self.decisions.add((route, *labels), by)
            else:
                self.counted[name].add(tuple(labels), by)

    def rendered(self, gauges: Iterable[Gauge] = ()) -> bytes:
        """Everything in Prometheus' text format, also what the library knows of the process."""
        return generate_latest(_Families([*self._families(), *_grouped(gauges), *REGISTRY.collect()]))

    def _families(self) -> Iterator[Metric]:
        yield from (each.family() for each in (self.requests, self.seconds, self.stages, self.errors, self.fallbacks))
        yield from (each.family() for each in (self.decisions, *self.counted.values(), *self._beside))


class _Families:
    """What the library's writer takes for a registry."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families


def _grouped(gauges: Iterable[Gauge]) -> Iterable[Metric]:
    found: dict[str, Metric] = {}
    for each in gauges:
        if each.name not in found:
            family = CounterMetricFamily if each.kind == "counter" else GaugeMetricFamily
            found[each.name] = family(f"kokyaku_{each.name}", each.about, labels=tuple(each.labels))
        found[each.name].add_metric(tuple(each.labels.values()), each.value)  # type: ignore[attr-defined]
    return found.values()


__all__ = ["CONTENT_TYPE", "OTHER", "STAGES", "Gauge", "Spread", "Tally", "Telemetry"]
