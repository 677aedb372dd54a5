"""What an audit found, as values: they go to the terminal, to a page, to JSON and beside a training run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

Figure = int | float | str | None
Cell = int | float | str | None
Figures = Mapping[str, Figure]


class Verdict(Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """Something to know; nothing to mend."""
    WARNING = "warning"
    """Results will suffer."""
    FAILED = "failed"
    """The data contradicts itself; results built on it mean nothing."""


SEVERITY: tuple[Verdict, ...] = (Verdict.FAILED, Verdict.WARNING, Verdict.NOTE, Verdict.OK)
"""Worst first: the order in which findings are read."""


class Table(msgspec.Struct, frozen=True):
    """A small table that belongs to a finding (months, bands, reasons); at most a few dozen rows."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]


class Finding(msgspec.Struct, frozen=True):
    """The answer of one check."""

    id: str
    title: str
    verdict: Verdict
    sentence: str
    """What was found, for a person."""
    figures: Figures = {}
    """What was found, for a program: stable names, shares as fractions of 1."""
    remedy: str = ""
    """What to do about it; empty where there is nothing to do."""
    table: Table | None = None


class TableSize(msgspec.Struct, frozen=True):
    """How many rows a table of the dataset has, every version of every row counted."""

    table: str
    rows: int


class ImportSummary(msgspec.Struct, frozen=True):
    """One import that made the dataset."""

    id: str
    source: str
    at: str
    quarantined: int


class AuditReport(msgspec.Struct, frozen=True):
    """Everything one audit found."""

    dataset: str
    """Id of the last import: what exactly was audited."""
    at: str
    """The moment that counted as now."""
    first_event: str | None
    last_event: str | None
    sizes: list[TableSize]
    imports: list[ImportSummary]
    findings: list[Finding]

    def by_severity(self) -> list[Finding]:
        """Findings, worst first; equals keep the order of the checks."""
        return sorted(self.findings, key=lambda finding: SEVERITY.index(finding.verdict))

    def verdicts(self) -> dict[str, int]:
        """How many findings there are of each verdict, worst first."""
        counts = Counter(finding.verdict for finding in self.findings)
        return {verdict.value: counts[verdict] for verdict in SEVERITY}

    @property
    def period(self) -> str:
        """From when to when, as a sentence."""
        if self.first_event is None or self.last_event is None:
            return f"No events. Audited as of {self.at[:10]}."
        return f"Events from {self.first_event[:10]} to {self.last_event[:10]}. Audited as of {self.at[:10]}."

    @property
    def failed(self) -> bool:
        """Whether any check failed."""
        return any(finding.verdict is Verdict.FAILED for finding in self.findings)

    def finding(self, id: str) -> Finding:
        """The finding of that check.

        Raises:
            KeyError: no check has that id.
        """
        return {finding.id: finding for finding in self.findings}[id]

    def metrics(self) -> dict[str, float]:
        """All numeric figures as `audit/<check>/<figure>`, to be logged beside a training run."""
        return {
            f"audit/{finding.id}/{name}": float(value)
            for finding in self.findings
            for name, value in finding.figures.items()
            if isinstance(value, int | float)
        }

    def to_json(self) -> bytes:
        """The whole report as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> AuditReport:
        """Read what `to_json` wrote."""
        return msgspec.json.decode(data, type=cls)
