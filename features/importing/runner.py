"""One import from beginning to end: read and stage in parallel, compare with the dataset, commit at once."""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.dataset import Dataset, ImportRecord, InputFile, Manifest
from features.files import exclusive, file_sha256, sync_folder
from features.importing.interpret import Interpreter, Typed
from features.importing.merge import BATCH_ROWS, IsErased, Merged, Merger
from features.importing.reasons import COLLISION
from features.importing.reconcile_events import COLLAPSED, REVISION, THERE, EventPlan
from features.importing.reconcile_versions import VersionPlan
from features.importing.report import ImportReport, TableCounts
from features.importing.sieve import REJECTED
from features.importing.source import Feed, Piece, Source
from features.importing.staging import PIECE_SHIFT, Quarantine, Staging
from features.importing.totals import Totals
from features.moments import format_instant, to_datetime

Progress = Callable[[int], None]
T = TypeVar("T")
DEFAULT_MEMORY = "512MB"


@dataclass
class Reading:
    """What was counted while a feed was read."""

    label: str = ""
    read: int = 0
    quarantined: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    starts: list[int] = field(default_factory=list)
    """The number of records before each piece."""

    def number(self, at: int) -> int:
        """The place of a staged row among the file's records; the first is 1."""
        start = self.starts[at >> PIECE_SHIFT] if self.starts else 0
        return start + (at & ((1 << PIECE_SHIFT) - 1)) + 1


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
            with dataset.writing():
                return run.finish(erased, memory, workers)


def read_feed(
    feed: Feed,
    source: str,
    now: int,
    staging: Staging,
    quarantine: Quarantine,
    *,
    workers: int,
    progress: Progress | None = None,
) -> Reading:
    """Read, interpret and stage a feed; rejected rows go to quarantine in the file's order."""
    interpret = Interpreter(feed.mapping, now, prepare=feed.prepare, carry=feed.carry)

    def stage(number: int, piece: Piece) -> Typed:
        typed = interpret(piece())
        staging.write(feed.mapping, source, typed, number)
        return typed

    reading = Reading(feed.label)
    for typed in _in_order((_bound(stage, number, piece) for number, piece in enumerate(feed.pieces())), workers):
        rejected = typed.rejected
        if len(rejected):
            numbers = pc.add(rejected["row_number"], reading.read + 1)
            rejected = rejected.set_column(0, REJECTED.field("row_number"), numbers)
            quarantine.add(rejected, feed.label)
        reading.starts.append(reading.read)
        reading.read += typed.read
        reading.quarantined += len(rejected)
        reading.skipped += typed.skipped
        if progress is not None:
            progress(typed.read)
    return reading


def _bound(stage: Callable[[int, Piece], Typed], number: int, piece: Piece) -> Callable[[], Typed]:
    return lambda: stage(number, piece)


def _in_order(tasks: Iterator[Callable[[], T]], workers: int) -> Iterator[T]:
    """Results in the order of the tasks, some tasks ahead of what was asked for, never all of them."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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
        static -= {"events", "identities"}
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
