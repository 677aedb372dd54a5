"""From a file to blocks of whole records, as a stream: memory does not grow with the file.

A block is a few megabytes of bytes that end where a record ends, so that blocks can be parsed side by side. Its
encoding is settled here, because that needs the blocks in order: as long as all is ASCII nothing is decided, and the
first block that is not decides for the file.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from features.errors import DataError

BLOCK_BYTES = 4 << 20
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records, and how to read their bytes."""

    data: bytes
    encoding: str


def blocks_of(path: Path, *, encoding: str = "auto", quoted: bool = True, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """The file's records in order, a byte order mark taken off, gzip undone.

    Args:
        path: the file.
        encoding: a codec, or `auto`: UTF-8, or CP932 where fewer lines fail to read.
        quoted: whether a record may contain line breaks between double quotes.
        size: bytes to read at a time.

    Raises:
        DataError: not readable, cut off, or in UTF-16.
    """
    settled = None if encoding == "auto" else encoding.removesuffix("-sig")
    for data in _cut(_pieces(path, size), quoted):
        if settled is None and not data.isascii():
            settled = guess_encoding(data)
        yield Block(data, settled or "utf-8")


def guess_encoding(data: bytes) -> str:
    """UTF-8, unless CP932 reads more lines of a sample that is not all ASCII."""
    lines = [line for line in data.splitlines() if not line.isascii()]
    failures = {name: sum(not _reads(line, name) for line in lines) for name in ("utf-8", "cp932")}
    return min(failures, key=failures.__getitem__)  # of equals the first


def _reads(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def open_plain(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed when it is gzip (told by its first bytes, not by its name).

    Raises:
        DataError: no such file, or not readable.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        return gzip.open(path) if packed else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise DataError("cannot read the file", where=str(path), got=error.strerror) from None


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    with open_plain(path) as file:
        try:
            first = file.read(size)
            if first.startswith(_UTF_16):
                hint = "save it as UTF-8 or CP932"
                raise DataError("the file is in UTF-16", where=str(path), hint=hint)
            first = first.removeprefix(_BOM)
            while first:
                yield first
                first = file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            hint = "copy it again; nothing was imported"
            raise DataError("the compressed file is damaged", where=str(path), got=str(error), hint=hint) from None


def _cut(pieces: Iterator[bytes], quoted: bool) -> Iterator[bytes]:
    """Join pieces and cut them after the last record that is certainly whole."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        end = _last_end(data, quoted)
        if end:
            yield data[:end]
        rest = data[end:]
    if rest:
        yield rest


def _last_end(data: bytes, quoted: bool) -> int:
    """Position after the last line break outside quotes, or after the last one when a quote never closes.

    Quotes are counted from the block's start, which is the start of a record: an even number before a line break
    means that none is open. A stray quote misleads this for one block only; the careful reader mends its rows.
    """
    last = end = data.rfind(b"\n") + 1
    if not quoted or b'"' not in data:
        return end
    open_quotes = data.count(b'"', 0, end) % 2
    while end and open_quotes:
        earlier = data.rfind(b"\n", 0, end - 1) + 1
        open_quotes ^= data.count(b'"', earlier, end) % 2
        end = earlier
    return end or last
