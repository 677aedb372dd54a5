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
MOST_PIECES = 4
"""A record longer than so many pieces is cut: its quote was a stray one."""
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_UNASSIGNED = {bytes([byte]).decode("cp932"): byte for byte in (0x80, 0xA0, 0xFD, 0xFE, 0xFF)}
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
    for data in _cut(_pieces(path, size), quoted, MOST_PIECES * size):
        if settled is None and not data.isascii():
            settled = guess_encoding(data)
        yield Block(data, settled or "utf-8")


def guess_encoding(data: bytes) -> str:
    """UTF-8, unless most lines that are not ASCII fail in it and CP932 reads more of them.

    Text in CP932 is hardly ever valid UTF-8, but CP932 reads many other bytes as something.
    """
    lines = [line for line in data.splitlines() if not line.isascii()]
    failures = {name: sum(not _reads(line, name) for line in lines) for name in ("utf-8", "cp932")}
    doubtful = failures["utf-8"] * 2 > len(lines)
    return "cp932" if doubtful and failures["cp932"] < failures["utf-8"] else "utf-8"


def _reads(line: bytes, encoding: str) -> bool:
    try:
        decode(line, encoding)
    except UnicodeDecodeError:
        return False
    return True


def decode(data: bytes, encoding: str) -> str:
    """Text of bytes; bytes that CP932 leaves open are errors, which Python's codec makes private characters.

    Raises:
        UnicodeDecodeError: some bytes are not of the encoding.
    """
    text = data.decode(encoding)
    if encoding == "cp932":
        for sign, byte in _UNASSIGNED.items():
            if sign in text:
                at = data.index(byte)
                raise UnicodeDecodeError(encoding, data, at, at + 1, "not assigned")
    return text


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
            old_mac = b"\r" in first and b"\n" not in first
            while first:
                yield first.replace(b"\r", b"\n") if old_mac else first
                first = file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            hint = "copy it again; nothing was imported"
            raise DataError("the compressed file is damaged", where=str(path), got=str(error), hint=hint) from None


def _cut(pieces: Iterator[bytes], quoted: bool, longest: int) -> Iterator[bytes]:
    """Join pieces and cut them after the last record that is whole; beyond `longest` bytes after the last line."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        end = _last_end(data, quoted)
        if not end and len(data) > longest:
            end = data.rfind(b"\n") + 1 or len(data)
        if end:
            yield data[:end]
        rest = data[end:]
    if rest:
        yield rest


def _last_end(data: bytes, quoted: bool) -> int:
    """Position after the last line break outside quotes; 0 when there is none.

    Quotes are counted from the block's start, which is the start of a record: an even number before a line break
    means that none is open. A stray quote misleads this for one block only; the careful reader mends its rows.
    """
    end = data.rfind(b"\n") + 1
    if not quoted or b'"' not in data:
        return end
    open_quotes = data.count(b'"', 0, end) % 2
    while end and open_quotes:
        earlier = data.rfind(b"\n", 0, end - 1) + 1
        open_quotes ^= data.count(b'"', earlier, end) % 2
        end = earlier
    return end
