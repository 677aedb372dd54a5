"""The decision log: each worker appends what it decided before the answer leaves, with one write.

Answers that are made side by side are written with one for all of them: a write costs as much as a stage of a request.

A file is a sequence of frames (`serving.frames`). What a `write` has taken survives the death of the process. Only
the writer appends; readers (`serving.decision_drain`) never move what stands. Files rotate by size.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from features.errors import DataError
from serving.decision_drain import Drained, drain
from serving.frames import SUFFIX, frame

__all__ = ["DecisionLog", "Discard", "Drained", "drain"]

ROTATE_BYTES = 16 * 1024 * 1024
_LOOK_SECONDS = 1.0
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(eq=False, slots=True)
class Batch:
    """Decisions that go to the disk together.

    Args:
        frames: theirs.
        kept: whether they were written; None: nobody has asked for it yet.
    """

    frames: list[bytes]
    kept: bool | None = None


class DecisionLog:
    """The log of one worker.

    Args:
        folder: where the logs of all workers lie.
        worker_id: names the worker in its files' names.
        rotate_bytes: a file that has grown beyond this is closed and the next one begun.
    """

    def __init__(self, folder: Path, worker_id: str, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.folder = folder
        self.failures = 0
        """How many appends were not written."""
        self._worker = _UNSAFE.sub("_", worker_id)
        self._rotate_bytes = rotate_bytes
        self._lock = threading.Lock()
        self._fd = -1
        self._size = 0
        self._look_at = 0.0
        self._open: Batch | None = None
        """What was offered and is not written yet."""

    def append(self, decisions: Sequence[Mapping[str, Any] | bytes]) -> bool:
        """Write decisions, all or none, with one system call.

        Args:
            decisions: each as a dictionary or as its JSON.

        Returns:
            False when they were not written (disk full, folder gone ...); the answer must then say
            `logged: false` and may not be an explored one. The next call tries again.
        """
        return self.keep(self.offer(decisions))

    def offer(self, decisions: Sequence[Mapping[str, Any] | bytes]) -> Batch:
        """Take decisions that are written with what others offer before any of them asks for it.

        Args:
            decisions: each as a dictionary or as its JSON.

        Returns:
            What `keep` is to be asked for before the answer leaves; decisions of nobody who asks may stay unwritten.
        """
        try:
            framed = [frame(decision) for decision in decisions]
        except (DataError, orjson.JSONEncodeError):
            return Batch([], kept=False)
        with self._lock:
            if self._open is None:
                self._open = Batch([])
            self._open.frames += framed
            return self._open

    def keep(self, batch: Batch) -> bool:
        """Write what was offered, where nobody did it yet: all of it or nothing, with one system call.

        Returns:
            As `append`.
        """
        with self._lock:
            if batch.kept is None:
                self._open = None
                try:
                    self._write(b"".join(batch.frames))
                    batch.kept = True
                except OSError:
                    batch.kept = False
            self.failures += not batch.kept
            return batch.kept

    def close(self) -> None:
        """Let go of the file; whoever drains next may remove it once it is read."""
        with self._lock:
            self._close()

    def _write(self, block: bytes) -> None:
        looking = time.monotonic() > self._look_at
        if self._fd < 0 or self._size > self._rotate_bytes or (looking and self._is_gone()):
            self._rotate()
        try:
            written = os.write(self._fd, block)
            if written != len(block):
                raise OSError("the disk took a part only")
            self._size += written
        except OSError:
            self._take_back()
            raise

    def _is_gone(self) -> bool:
        """Whether somebody deleted the file under us: what is written to it then is lost."""
        self._look_at = time.monotonic() + _LOOK_SECONDS
        return os.fstat(self._fd).st_nlink == 0

    def _take_back(self) -> None:
        """Cut off what was half written; where even that fails, the next append begins a new file."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._close()

    def _rotate(self) -> None:
        self._close()
        self.folder.mkdir(parents=True, exist_ok=True)
        while self._fd < 0:
            path = self.folder / f"{time.time_ns():020d}-{self._worker}-{os.getpid()}{SUFFIX}"
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            # The lock says "somebody writes here" and falls with the process. A drainer may have taken the new file
            # for a finished one and removed it before the lock stood: then begin another.
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                self._fd, self._size = fd, 0
            else:
                os.close(fd)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Discard:
    """A decision log for previews: nobody saw the answer, so nothing is to be remembered."""

    failures = 0

    def append(self, records: Sequence[bytes]) -> bool:
        """Forget the records."""
        return True

    def offer(self, records: Sequence[bytes]) -> Batch:
        """What `keep` is to be asked for."""
        return Batch(list(records))

    def keep(self, batch: Batch) -> bool:
        """`append` of what was offered."""
        return self.append(batch.frames)

    def close(self) -> None:
        """Nothing is open."""
