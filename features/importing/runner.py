"""One import from beginning to end: read and stage in parallel, compare with the dataset, commit at once."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from shutil import rmtree

import pyarrow as pa

from features import columns as c
from features.dataset import Dataset, ImportRecord, InputFile, Manifest
from features.errors import DataError
from features.files import exclusive, file_sha256, sync_folder
from features.importing.merge import BATCH_ROWS, IsErased, Merged, Merger
from features.importing.reading import Progress, Reading, read_feed
from features.importing.reasons import COLLISION
from features.importing.reconcile_events import COLLAPSED, REVISION, THERE, EventPlan
from features.importing.reconcile_versions import VersionPlan
from features.importing.report import ImportReport, TableCounts
from features.importing.sieve import REJECTED
from features.importing.source import Source
from features.importing.staging import Quarantine, Staging
from features.importing.totals import Totals
from features.moments import format_instant, to_datetime

DEFAULT_MEMORY = "512MB"
LOCK_ATTEMPTS = 60
LOCK_PAUSE = 0.5
"""Seconds between attempts."""


def run_import(
    dataset: Dataset,
    source: Source,
    *,
    now: int,
    progress: Progress | None = None,
    erased: IsErased | None = None,
    memory: str = DEFAULT_MEMORY,
    workers: int | None = None,
) -> ImportReport:
    """Bring a source's rows into a dataset, all of them or none.

    Args:
        dataset: created when it is not there.
        source: from `open_source`.
        now: the import's moment in microseconds; times after it are rejected.
        progress: called with the number of rows of each piece that was read.
        erased: says whose rows are left out for good (tombstones).
        memory: DuckDB's limit while comparing; beyond it sorts and joins spill to disk.
        workers: threads that read; default: one a processor.

    Returns:
        Counts of all rows; `import_id` is None when nothing was new.

    Raises:
        DataError: a file that cannot be read at all, or another import is running.
        ConfigError: a mapping that does not fit its file.
    """
    workers = workers or os.cpu_count() or 1
    with exclusive(dataset.root / ".import.lock", busy="another import into this dataset is running"):
        rmtree(dataset.root / ".staging", ignore_errors=True)  # of an import that was killed
        with Staging(dataset.root / ".staging") as staging:
            run = _Run(dataset, source, now, staging)
            with ThreadPoolExecutor(1) as hasher:
                hashes = [hasher.submit(_fingerprint, path) for path in source.inputs]
                for feed in source.feeds:
                    run.readings[feed.mapping.table] = read_feed(
                        feed, source.name, now, staging, run.quarantine, workers=workers, progress=progress
                    )
                run.inputs = [hashed.result() for hashed in hashes]
            with _writing_soon(dataset):
                return run.finish(erased, memory, workers)


@contextmanager
def _writing_soon(dataset: Dataset) -> Iterator[None]:
    """The dataset's lock, waited for: minutes of reading should not be lost to a sync that takes a second."""
    with ExitStack() as stack:
        for _ in range(LOCK_ATTEMPTS):
            try:
                stack.enter_context(dataset.writing())
                break
            except DataError:
                time.sleep(LOCK_PAUSE)
        else:
            stack.enter_context(dataset.writing())
        yield


def _fingerprint(path: Path) -> InputFile:
    return InputFile(path=str(path), sha256=file_sha256(path), bytes=path.stat().st_size)


class _Run:
    """One import's state between reading and committing."""

    def __init__(self, dataset: Dataset, source: Source, now: int, staging: Staging) -> None:
        self.dataset, self.source, self.now, self.staging = dataset, source, now, staging
        self.quarantine = Quarantine(staging.folder / "quarantine.parquet")
        self.readings: dict[str, Reading] = {}
        self.inputs: list[InputFile] = []
        self.out = staging.folder / "out"

    def finish(self, erased: IsErased | None, memory: str, workers: int) -> ImportReport:
        """Compare with the dataset, which nobody else writes now, and commit."""
        manifest = self.dataset.manifest() if self.dataset.exists() else Manifest()
        seen_before = self._seen_before(manifest)
        import_id = self._import_id(manifest)
        with self.dataset.connect(memory=memory, threads=workers) as duck:
            merger = Merger(duck, self.staging, self.out, import_id, workers)
            merged = self._merge(merger, erased, manifest)
            for table, result in merged.items():
                self._note_collisions(merger, table, result)
            totals = merger.totals(merged["events"], self._time_zone()) if "events" in merged else Totals()
        self.quarantine.close()
        counts = {table: self._counts(table, result) for table, result in merged.items()}
        added = any(count.added for count in counts.values())
        quarantined = any(count.quarantined for count in counts.values())
        committed = added or (quarantined and not seen_before)
        record = self._record(import_id, merged, counts, quarantined=quarantined)
        if committed:
            self._commit(record)
        return ImportReport(
            source=self.source.name, import_id=import_id if committed else None, tables=counts,
            reasons=dict(self.quarantine.reasons.most_common()), totals=totals, notes=record.notes,
            quarantine=record.quarantine if committed else None,
        )  # fmt: skip

    def _time_zone(self) -> str:
        """In which the source thinks of months."""
        return next((feed.mapping.time_zone for feed in self.source.feeds if feed.mapping.time_zone), None) or "UTC"

    def _seen_before(self, manifest: Manifest) -> bool:
        known = {
            file.sha256 for record in manifest.imports for file in record.inputs if record.source == self.source.name
        }
        return bool(self.inputs) and all(file.sha256 in known for file in self.inputs)

    def _import_id(self, manifest: Manifest) -> str:
        name = re.sub(r"[^a-z0-9]+", "-", self.source.name.lower()).strip("-") or "import"
        return f"{to_datetime(self.now):%Y%m%dT%H%M%SZ}-{name}-{len(manifest.imports) + 1:04d}"

    def _merge(self, merger: Merger, erased: IsErased | None, manifest: Manifest) -> dict[str, Merged]:
        gone: Counter[str] = Counter()
        if erased is not None:
            for table in self.staging.schemas:
                gone[table] = merger.leave_out_erased(table, erased)
        undated: dict[str, str] = {feed.mapping.table: feed.mapping.undated for feed in self.source.feeds}
        for derived in self.source.derived:
            self.staging.derive(merger.duck, derived.table, derived.sql)
            undated[derived.table], gone[derived.table] = derived.undated, 0
        seen_before, amended = self._seen_before(manifest), manifest.amended
        merged = {table: Merged() for table in self.readings}
        for table in self.staging.schemas:
            names = tuple(self.staging.names(table))
            if table == "events":
                mapping = next(feed.mapping for feed in self.source.feeds if feed.mapping.table == table)
                plan = EventPlan(mapping, self.source.name, names, seen_before, amended, self.now)
                result = merger.events(plan, gone[table])
            elif table == "identities":
                result = merger.links(self.source.name, gone[table])
            elif table == "decisions":
                result = merger.decisions(self.source.name, gone[table])
            elif table == "outcomes":
                result = merger.outcomes(self.source.name)
            else:
                versions = VersionPlan(table, self.source.name, names, undated[table], self.now, seen_before)
                result = merger.versions(versions, gone[table])
            merged[table] = result
        return merged

    def _note_collisions(self, merger: Merger, table: str, result: Merged) -> None:
        if not result.actions[COLLISION]:
            return
        reading = self.readings.get(table, Reading(table))
        rows = (
            {"row_number": reading.number(at), "reason": COLLISION, "detail": f"known: {known}", "raw": raw}
            for at, known, raw in merger.collided(table)
        )
        while batch := list(islice(rows, BATCH_ROWS)):
            self.quarantine.add(pa.Table.from_pylist(batch, schema=REJECTED), reading.label)

    def _counts(self, table: str, merged: Merged) -> TableCounts:
        reading = self.readings.get(table, Reading(table, read=merged.staged))
        skipped = reading.skipped + merged.skipped
        return TableCounts(
            read=reading.read, added=merged.added, already_there=merged.actions[THERE],
            collapsed=merged.actions[COLLAPSED], quarantined=reading.quarantined + merged.actions[COLLISION],
            skipped=dict(skipped), revised=merged.actions[REVISION],
        )  # fmt: skip

    def _record(
        self, import_id: str, merged: dict[str, Merged], counts: dict[str, TableCounts], *, quarantined: bool
    ) -> ImportRecord:
        notes = list(self.source.notes)
        if self.staging.rows["events"] and c.RECORDED_AT not in self.staging.names("events"):
            notes.append("recorded_at = occurred_at: the source does not say when it knew")
        undated = self._undated(merged)
        if undated:
            notes.append(f"without history: {', '.join(undated)}")
        report = ImportReport(self.source.name, import_id, counts, {}, Totals(), notes)
        return ImportRecord(
            id=import_id, source=self.source.name, at=format_instant(self.now),
            parts={table: result.parts for table, result in merged.items() if result.parts},
            counts=report.flat_counts(), inputs=self.inputs, notes=notes,
            quarantine=f"quarantine/{import_id}.parquet" if quarantined else None,
            amends=any(result.actions[REVISION] for result in merged.values()), static_catalogue="items" in undated,
        )  # fmt: skip

    def _undated(self, merged: dict[str, Merged]) -> list[str]:
        """Tables that got versions without a date, in force from ever."""
        static: set[str] = {feed.mapping.table for feed in self.source.feeds if feed.mapping.undated == "static"}
        static |= {derived.table for derived in self.source.derived if derived.undated == "static"}
        static -= {"events", "identities", "decisions", "outcomes"}
        return [
            table for table in merged
            if table in static and merged[table].added and c.VALID_FROM not in self.staging.names(table)
        ]  # fmt: skip

    def _commit(self, record: ImportRecord) -> None:
        moves = {self.out / part: self.dataset.root / part for parts in record.parts.values() for part in parts}
        if record.quarantine is not None:
            moves[self.quarantine.path] = self.dataset.root / record.quarantine
        for draft, target in moves.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            _flush(draft)
            draft.replace(target)
        for folder in {target.parent for target in moves.values()}:
            sync_folder(folder)
        self.dataset.commit(record)


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
