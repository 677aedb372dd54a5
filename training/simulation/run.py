"""The whole run: blocks in one or several processes, parts on disk, one commit."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import msgspec
import pyarrow.parquet as pq

from features.dataset import Dataset, ImportRecord
from features.errors import ConfigError, DataError
from features.files import write_atomically
from features.moments import DAY, format_instant
from training.simulation import shopfront, tables, truth
from training.simulation.block import blocks_of, make_block
from training.simulation.decisions import mail_decisions, page_decisions
from training.simulation.locale import locale_of
from training.simulation.people import World
from training.simulation.world import DEFAULT_START, SIZES, WORLD_VERSION, Calendar
from training.simulation.writer import PartWriter

Progress = Callable[[int, int], None]
"""Called with (blocks done, blocks in all)."""
LEAST_DAYS: Final = 60
_BLOCKS_A_PART: Final = 4
_FEW_BLOCKS: Final = 8


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What was made, and what it took."""

    import_id: str
    dataset: Path
    truth: Path
    start: int
    end: int
    counts: dict[str, int]
    seconds: float
    peak_bytes: int
    """Peak resident memory of all processes together, at most."""

    @property
    def events_per_second(self) -> float:
        """Events written in a second, everything included."""
        return self.counts["events"] / self.seconds


@dataclass(frozen=True, slots=True)
class _Job:
    """One part of the work, small enough to be sent to another process."""

    dataset: Path
    truth: Path
    import_id: str
    size: str
    seed: int
    locale: str
    start: int
    days: int
    part: int
    blocks: tuple[int, ...]

    def world(self) -> World:
        return World(SIZES[self.size], self.seed, locale_of(self.locale), Calendar(self.start, self.days))


@dataclass(frozen=True, slots=True)
class _Done:
    """What one part of the work wrote."""

    parts: dict[str, list[str]]
    counts: dict[str, int]


def simulate(
    dataset: Path, *, size: str, seed: int, locale: str = "en", progress: Progress | None = None,
    start: int | None = None, days: int | None = None, workers: int | None = None, blocks_a_part: int | None = None,
) -> SimulationReport:  # fmt: skip
    """Make a complete shop: a committed dataset, and its truth in the folder `truth` beside it.

    The same (size, seed, locale, start, days) gives the same tables, however the work is cut.

    Args:
        dataset: folder of the new dataset; nothing may be committed there yet.
        size: `tiny`, `s`, `m` or `l`.
        seed: any number from 0.
        locale: `en` or `ja`.
        progress: called after each block.
        start: first instant, midnight UTC; 2025-01-01 by default.
        days: length of the period; by default the size's.
        workers: processes; by default one for `tiny` and `s`, one a core (at most eight) for `m` and `l`.
        blocks_a_part: blocks in a file; by default one, or four in a large shop.

    Raises:
        ConfigError: an unknown size or locale, a negative seed, or too short a period.
        DataError: there is a dataset already.
    """
    began = time.perf_counter()
    jobs = _jobs(dataset, size, seed, locale, DEFAULT_START if start is None else start, days, blocks_a_part)
    _check_place(dataset)
    shutil.rmtree(jobs[0].truth, ignore_errors=True)
    world = jobs[0].world()
    processes = _processes(size, workers, len(jobs))
    count = 0

    def tick(blocks: int) -> None:
        nonlocal count
        count += blocks
        if progress:
            progress(count, blocks_of(world))

    home = dataset.parent / truth.FOLDER
    try:
        record = _record(jobs[0], world, [_write_shared(jobs[0], world), *_run(jobs, processes, tick)])
        _publish_truth(jobs[0].truth, home)
        Dataset(dataset).commit(record)
    except BaseException:  # also when it is interrupted: nothing half stays
        _discard(jobs[0])
        raise
    return SimulationReport(
        import_id=record.id,
        dataset=dataset,
        truth=home,
        start=world.calendar.start,
        end=world.calendar.end,
        counts=record.counts,
        seconds=time.perf_counter() - began,
        peak_bytes=_peak(processes),
    )


def _discard(job: _Job) -> None:
    """Remove what an unfinished run wrote."""
    shutil.rmtree(job.truth, ignore_errors=True)
    if not Dataset(job.dataset).exists():
        for path in job.dataset.rglob(f"{job.import_id}*.parquet"):
            path.unlink(missing_ok=True)


def _check_place(dataset: Path) -> None:
    hint = "choose another folder with --out"
    if Dataset(dataset).exists():
        raise DataError("there is a dataset here already", where=str(dataset), hint=hint)
    home = dataset.parent / truth.FOLDER
    if home.exists() and not (home / truth.MANIFEST).exists():
        raise DataError("this folder is not the truth of a simulation", where=str(home), hint=hint)


def _jobs(
    dataset: Path, size: str, seed: int, locale: str, start: int, days: int | None, per_part: int | None
) -> list[_Job]:
    if size not in SIZES:
        raise ConfigError("unknown size", where="--size", got=size, hint=f"use one of {', '.join(SIZES)}")
    if seed < 0:
        raise ConfigError("a negative seed", where="--seed", got=seed, hint="use a number from 0")
    locale_of(locale)
    length = SIZES[size].days if days is None else days
    if length < LEAST_DAYS:
        raise ConfigError("too short a period", where="--days", got=length, hint=f"use at least {LEAST_DAYS}")
    if start % DAY:
        raise ConfigError("not midnight UTC", where="--start", got=format_instant(start), hint="give a date")
    count = -(-SIZES[size].customers // SIZES[size].block)
    per_part = per_part or (1 if count <= _FEW_BLOCKS else _BLOCKS_A_PART)
    import_id = f"simulated-{WORLD_VERSION}-{size}-{locale}-{seed}"
    return [
        _Job(
            dataset=dataset,
            truth=dataset.parent / ".truth.draft",
            import_id=import_id,
            size=size,
            seed=seed,
            locale=locale,
            start=start,
            days=length,
            part=first // per_part,
            blocks=tuple(range(first, min(first + per_part, count))),
        )
        for first in range(0, count, per_part)
    ]


def _processes(size: str, workers: int | None, jobs: int) -> int:
    wanted = workers if workers is not None else (1 if size in ("tiny", "s") else min(os.cpu_count() or 1, 8))
    return max(1, min(wanted, jobs))


def _run(jobs: list[_Job], workers: int, tick: Callable[[int], None]) -> list[_Done]:
    if workers == 1:
        return [_work(job, tick) for job in jobs]
    done = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_work, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                done.append(future.result())
                tick(len(futures[future].blocks))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # else the rest is made in vain before we hear of it
            raise
    return done


def _work(job: _Job, tick: Callable[[int], None] | None = None) -> _Done:
    """Write the blocks of one part: its tables, and its share of the truth."""
    world = job.world()
    name = f"{job.import_id}-{job.part:04d}"
    for folder in (truth.PEOPLE, truth.PAIRS, truth.DECIDED):
        (job.truth / folder).mkdir(parents=True, exist_ok=True)
    with PartWriter(job.dataset, name) as writer:
        for number in job.blocks:
            names = tables.Names(world, make_block(world, number), job.import_id)
            _write_block(names, writer)
            _write_truth(names, job.truth)
            if tick:
                tick(1)
    return _Done(writer.parts, writer.counts)


def _write_block(names: tables.Names, writer: PartWriter) -> None:
    calendar, log = names.world.calendar, names.block.log
    writer.write("events", tables.event_table(names), calendar.month_of_year[calendar.day(log.at)])
    for rows, at in (page_decisions(names), mail_decisions(names)):
        writer.write("decisions", rows, calendar.month_of_year[calendar.day(at)])
    writer.write("orders", tables.order_table(names))
    writer.write("identities", tables.identity_table(names))
    writer.write("outcomes", tables.outcome_table(names))
    writer.write("customers", shopfront.customer_table(names))


def _write_truth(names: tables.Names, folder: Path) -> None:
    file = f"{names.block.number:05d}.parquet"
    pq.write_table(truth.people_truth(names), folder / truth.PEOPLE / file, compression="zstd")
    pq.write_table(truth.pair_truth(names), folder / truth.PAIRS / file, compression="zstd")
    pq.write_table(truth.decision_truth(names), folder / truth.DECIDED / file, compression="zstd")


def _write_shared(job: _Job, world: World) -> _Done:
    """The tables that belong to no block, and the head of the truth."""
    job.truth.mkdir(parents=True, exist_ok=True)
    pq.write_table(truth.item_truth(world), job.truth / truth.ITEMS, compression="zstd")
    manifest = truth.TruthManifest(
        world_version=WORLD_VERSION,
        size=job.size,
        seed=job.seed,
        locale=job.locale,
        start=format_instant(world.calendar.start),
        end=format_instant(world.calendar.end),
    )
    write_atomically(job.truth / truth.MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    write_atomically(job.truth / truth.WORLD, truth.world_json())
    with PartWriter(job.dataset, job.import_id) as writer:
        writer.write("items", shopfront.item_table(world, job.import_id))
        writer.write("actions", shopfront.action_table(world, job.import_id))
    return _Done(writer.parts, writer.counts)


def _publish_truth(draft: Path, home: Path) -> None:
    """Put the truth where it belongs; a truth whose dataset was never committed gives way."""
    shutil.rmtree(home, ignore_errors=True)
    draft.rename(home)


def _record(job: _Job, world: World, done: list[_Done]) -> ImportRecord:
    parts: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for one in done:
        for table, files in one.parts.items():
            parts[table] = sorted([*parts.get(table, []), *files])
        for table, count in one.counts.items():
            counts[table] = counts.get(table, 0) + count
    return ImportRecord(
        id=job.import_id,
        source="simulated",
        at=format_instant(world.calendar.end),
        parts=parts,
        counts=counts,
        notes=[f"simulated shop, world {WORLD_VERSION}: for tests and load, never evidence about real shops"],
    )


def _peak(workers: int) -> int:
    """Bytes that all processes held at most (an upper bound: their peaks need not coincide)."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if workers > 1 else 0
    return (own + workers * children) * 1024
