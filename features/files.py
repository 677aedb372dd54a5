"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG

from features.pace import breathe

_PIECE = 1 << 18
"""Bytes that are read at once."""


def write_atomically(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write beside the target, flush to disk, rename over it, flush the folder.

    Args:
        path: the target.
        data: its new content.
        mode: permissions from the first moment on, less the umask; 0o600 for what only the owner may read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def read_private(path: Path, what: str, *, hint: str) -> bytes:
    """The content of a file that only its owner may read: a secret that others could read opens nothing.

    Args:
        path: of the file.
        what: it is, for people.
        hint: how one is made.

    Raises:
        ConfigError: it is missing or no file, or others can read or change it.
    """
    from features.errors import ConfigError

    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())  # of what is read, not of what the name points at a moment later
            if not S_ISREG(found.st_mode) or found.st_mode & 0o077:
                raise ConfigError(f"others can read the {what}", where=str(path), hint=f"chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise ConfigError(f"no such {what}", where=str(path), got=error.strerror, hint=hint) from None


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power loss."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def drop_torn_line(path: Path) -> None:
    """Cut off the half of a line that a crash left at a file's end: the next one would be written on to it."""
    if path.exists():
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            write_atomically(path, whole)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    found, piece = hashlib.sha256(), memoryview(bytearray(_PIECE))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(piece):
            found.update(piece[:size])
            breathe()
    return found.hexdigest()


@contextmanager
def exclusive(path: Path, *, busy: str) -> Iterator[None]:
    """Hold an advisory lock on a file; a second holder gets a clear error instead of a race.

    Raises:
        DataError: another process holds it; `busy` is the sentence that says so.
    """
    import fcntl

    from features.errors import DataError

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(busy, where=str(path), hint="wait for it, then run this again") from None
        yield
