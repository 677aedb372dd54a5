"""What an import did, in numbers that add up."""

from __future__ import annotations

import msgspec

from features.importing.totals import Totals


class TableCounts(msgspec.Struct, frozen=True):
    """Rows of one table: read = added + already_there + collapsed + quarantined + all skipped."""

    read: int = 0
    added: int = 0
    already_there: int = 0
    collapsed: int = 0
    quarantined: int = 0
    skipped: dict[str, int] = {}
    """Left out by a named rule."""
    revised: int = 0
    """Of the added, those that amend a known event."""

    @property
    def accounted(self) -> int:
        """Where the rows went, in total; equals `read`."""
        return self.added + self.already_there + self.collapsed + self.quarantined + sum(self.skipped.values())


class ImportReport(msgspec.Struct, frozen=True):
    """The result of one import."""

    source: str
    import_id: str | None
    """None when nothing was committed, because there was nothing new."""
    tables: dict[str, TableCounts]
    reasons: dict[str, int]
    """Reason -> rows in quarantine."""
    totals: Totals
    notes: list[str]
    quarantine: str | None = None
    """The quarantine file, relative to the dataset."""

    @property
    def added(self) -> int:
        """Rows added to any table."""
        return sum(counts.added for counts in self.tables.values())

    def flat_counts(self) -> dict[str, int]:
        """All counts under names such as `events.added` and `events.skipped.fee`, for the manifest."""
        flat: dict[str, int] = {}
        for table, counts in self.tables.items():
            for name in ("read", "added", "already_there", "collapsed", "quarantined", "revised"):
                flat[f"{table}.{name}"] = getattr(counts, name)
            flat |= {f"{table}.skipped.{rule}": count for rule, count in counts.skipped.items()}
        return flat
