"""From the workers' decision logs into the store: each decision once, whatever crashed in between.

How far each file was read stands in the store, written by the transaction that holds its decisions. A file whose
writer is gone (nobody holds its lock) is removed once it is read to the end.
"""

from __future__ import annotations

import fcntl
import os
import time
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from features.pace import breathe
from serving.frames import HEADER, MAGIC, SUFFIX, frames
from serving.store import Store
from serving.store_upkeep import Head, LogPosition, add_decisions, forget_logs, log_offset
from serving.tombstones import Erased

LEFT_SECONDS = 900.0
"""Where nobody has written for so long, nobody is about to drain."""
_BREATH = 16
"""So many frames take less than a request."""
_head = msgspec.json.Decoder(Head)


@dataclass
class Drained:
    """What a drain found."""

    read: int = 0
    added: int = 0
    damaged_bytes: int = 0
    """Torn or altered bytes that no frame could be read from."""
    files_removed: int = 0


def drain(folder: Path, store: Store) -> Drained:
    """Bring all decisions that were logged so far into the store. Safe beside writers and other drainers.

    Raises:
        Unavailable: the store refuses; nothing is lost, the next drain goes on.
    """
    total = Drained()
    removed: list[str] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        found = _drain_file(path, store)
        removed += [path.name] * found.files_removed
        for part in fields(Drained):
            setattr(total, part.name, getattr(total, part.name) + getattr(found, part.name))
    if removed:
        forget_logs(store, removed)
    return total


def left_folders(folder: Path) -> list[Path]:
    """Folders below it in which workers logged that are gone: on Kubernetes each replica has one of its own.

    Its successor drains it; where none comes, a sync has to. Whoever lives drains within seconds what he logs, so where
    nothing was written for a while all is settled, also as another machine sees it. Beside one who is only quiet a
    drain is safe: he holds the lock of his file.
    """
    before = time.time() - LEFT_SECONDS
    written = {each: [_written(path) for path in each.glob(f"*{SUFFIX}")] for each in sorted(folder.glob("*/"))}
    return [each for each, times in written.items() if times and max(times) < before]


def blank_erased(folder: Path, store: Store, erased: Erased) -> int:
    """Overwrite, in the logs, the decisions of erased subjects that are in the store already.

    Returns:
        How many frames were overwritten.
    """
    if not erased:
        return 0
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    return sum(_blank_file(path, log_offset(store, path.name), erased) for path in paths)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()  # somebody drains there


def _drain_file(path: Path, store: Store) -> Drained:
    try:
        file = path.open("r+b")  # not written to; but over NFS a lock is given to who might write only
    except FileNotFoundError:
        return Drained()
    with file:
        finished = _is_finished(file.fileno())  # before reading: a finished file does not grow any more
        start = log_offset(store, path.name)
        file.seek(start)
        data = file.read()
        found, decisions, end = _read(data)
        if decisions or end:
            found.added = add_decisions(store, decisions, LogPosition(path.name, start + end))
            # A request that was under way while somebody was erased may have named them.
            erased = store.erased()
            if erased and not finished and any(_names(head, erased) for head, _ in decisions):
                _blank_file(path, start + end, erased)
        if finished:
            found.damaged_bytes += len(data) - end
            path.unlink(missing_ok=True)
            found.files_removed = 1
    return found


def _read(data: bytes) -> tuple[Drained, list[tuple[Head, bytes]], int]:
    found, decisions, at = Drained(), [], 0
    for count, (start, end, payload) in enumerate(frames(data)):
        if count % _BREATH == 0:
            breathe()
        found.damaged_bytes += start - at
        at = end
        head = _decoded(payload)
        if head is not None:
            decisions.append((head, payload))
        elif not _is_blank(payload):
            found.damaged_bytes += end - start
    found.read = len(decisions)
    return found, decisions, at


def _decoded(payload: bytes) -> Head | None:
    """Whose and from when a decision is; None for a blanked frame and for what is not a decision."""
    try:
        return _head.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_blank(payload: bytes) -> bool:
    return not payload.strip()


def _is_finished(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _blank_file(path: Path, drained_to: int, erased: Erased) -> int:
    try:
        file = path.open("r+b", buffering=0)
    except FileNotFoundError:
        return 0  # another drainer was done with it
    count = 0
    with file:
        fd = file.fileno()
        for start, _, payload in frames(os.pread(fd, drained_to, 0)):
            head = _decoded(payload)
            if head is not None and _names(head, erased):
                blank = b" " * len(payload)
                os.pwrite(fd, HEADER.pack(MAGIC, len(blank), zlib.crc32(blank)) + blank, start)
                count += 1
        if count:
            os.fsync(fd)
    return count


def _names(head: Head, erased: Erased) -> bool:
    return erased.row(head.customer_id, head.visitor_id)
