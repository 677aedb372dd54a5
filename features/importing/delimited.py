"""Reading blocks of CSV: fast when they are well formed, carefully when not, and never fatally.

The fast way is pyarrow's reader on a whole block. It is trusted only when every line became a row; a block with bytes
that do not decode, with quotes that do not close or with line breaks inside fields is read line by line instead, so
that one damaged row costs one row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from features.errors import DataError
from features.importing.blocks import Block, blocks_of, decode
from features.importing.raw import BadRow, Raw, json_text, places
from features.importing.reasons import BAD_ENCODING, BAD_ROW

MAX_RECORD_LINES = 200
"""A quote that does not close within so many lines is a stray one."""
_OPEN_QUOTE = "unexpected end of data"  # the csv module's words for a quote that is still open


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file separates its fields, and what they are called."""

    names: tuple[str, ...]
    delimiter: str = ","


def open_delimited(
    path: Path, *, delimiter: str = ",", encoding: str = "auto", names: Sequence[str] | None = None
) -> tuple[Dialect, Iterator[Block]]:
    """The file's columns and the blocks of its records.

    Args:
        path: the file.
        delimiter: one character.
        encoding: as in `blocks_of`.
        names: the columns of a file without a header.

    Raises:
        DataError: the file is empty or its header cannot be read.
    """
    blocks = blocks_of(path, encoding=encoding)
    if names is not None:
        return Dialect(tuple(names), delimiter), blocks
    first = next(blocks, None)
    while first is not None and not first.data.strip():
        first = next(blocks, None)
    if first is None:
        raise DataError("the file is empty", where=str(path), hint="its first line must name the columns")
    header, rest = _split_header(first, delimiter, path)
    return Dialect(unique_names(header), delimiter), _chain(Block(rest, first.encoding), blocks)


def _chain(first: Block, others: Iterator[Block]) -> Iterator[Block]:
    if first.data:
        yield first
    yield from others


def _split_header(block: Block, delimiter: str, path: Path) -> tuple[list[str], bytes]:
    data = block.data.lstrip(b"\r\n")
    end = 0
    for _ in range(MAX_RECORD_LINES):
        end = (data.find(b"\n", end) + 1) or len(data)
        try:
            fields = _fields(decode(data[:end], block.encoding), delimiter)
        except UnicodeDecodeError as error:
            hint = "name its encoding in the mapping"
            raise DataError("the header is not readable", where=str(path), got=str(error), hint=hint) from None
        if fields is not None:
            return [name.strip() for name in fields], data[end:]
        if end == len(data):
            break
    raise DataError("the header has a quote that never closes", where=str(path), got=data[:60].decode("latin-1"))


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names with a number added to repeated and to empty ones: `a, a, ""` becomes `a, a.2, column 3`."""
    taken: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        base = name or f"column {place}"
        unique, number = base, 1
        while unique in taken:
            number += 1
            unique = f"{base}.{number}"
        taken[unique] = place
    return tuple(taken)


def read_delimited(block: Block, dialect: Dialect) -> Raw:
    """The rows of a block as text columns, empty fields as null."""
    data = _as_utf8(block)
    fast = _read_fast(data, dialect) if data is not None else None
    return fast or _read_carefully(block, dialect)


def _as_utf8(block: Block) -> bytes | None:
    """The block in UTF-8, or None when some of its bytes are not of its encoding."""
    if block.data.isascii():
        return block.data
    try:
        text = decode(block.data, block.encoding)
    except UnicodeDecodeError:
        return None
    return block.data if block.encoding == "utf-8" else text.encode()


def _read_fast(data: bytes, dialect: Dialect) -> Raw | None:
    """None when a row may hide others, so that nothing is read wrongly in silence."""
    bad: list[BadRow] = []

    def note(row: pa_csv.InvalidRow) -> str:
        detail = f"{row.actual_columns} fields, expected {row.expected_columns}"
        bad.append(BadRow(row.number - 1, BAD_ROW, detail, json_text(row.text)))
        return "skip"

    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            pa_csv.ReadOptions(column_names=list(dialect.names), use_threads=False, block_size=len(data) + 1),
            pa_csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=note),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(dialect.names, pa.string()), null_values=[""], strings_can_be_null=True,
                quoted_strings_can_be_null=True, check_utf8=False,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid:  # a delimiter or quote it cannot make sense of: the careful reader says which row
        return None
    if b'"' in data and len(table) + len(bad) != _lines(data):
        return None
    return Raw(table, places(len(table), bad), bad)


def _lines(data: bytes) -> int:
    """Lines that are not empty."""
    ends = data.count(b"\n") + (not data.endswith(b"\n"))
    if b"\n\n" not in data and b"\n\r\n" not in data:
        return ends
    return sum(bool(line.strip(b"\r")) for line in data.split(b"\n"))


def _read_carefully(block: Block, dialect: Dialect) -> Raw:
    width = len(dialect.names)
    good: list[list[str]] = []
    bad: list[BadRow] = []
    lines = [line.removesuffix(b"\r") for line in block.data.split(b"\n")]
    place = 0
    while place < len(lines):
        fields, used, problem = _record(lines, place, block.encoding, dialect)
        if fields is not None and len(fields) == width:
            good.append(fields)
        elif problem is not None:
            text = lines[place].decode(block.encoding, "backslashreplace")
            bad.append(BadRow(len(good) + len(bad), *problem, json_text(text)))
        place += used
    columns = zip(*good, strict=True) if good else [()] * width
    arrays = [pa.array([value or None for value in column], pa.string()) for column in columns]
    return Raw(pa.table(arrays, names=list(dialect.names)), places(len(good), bad), bad)


def _record(
    lines: Sequence[bytes], place: int, encoding: str, dialect: Dialect
) -> tuple[list[str] | None, int, tuple[str, str] | None]:
    """The record that begins at a line: its fields, how many lines it used, and what is wrong with it.

    A record over several lines counts only when it is whole; else its first line alone is bad, and the lines it
    would have swallowed are read again by themselves.
    """
    if not lines[place]:
        return None, 1, None
    text = ""
    for used in range(1, min(MAX_RECORD_LINES, len(lines) - place) + 1):
        try:
            text += decode(lines[place + used - 1], encoding)
        except UnicodeDecodeError as error:
            reason = (BAD_ENCODING, f"byte 0x{error.object[error.start]:02x} is not {encoding}")
            return None, 1, reason if used == 1 else (BAD_ROW, "a quote that never closes")
        try:
            fields = _fields(text, dialect.delimiter)
        except csv.Error as error:
            return None, 1, (BAD_ROW, str(error))
        if fields is not None:
            if len(fields) == len(dialect.names):
                return fields, used, None
            return None, 1, (BAD_ROW, f"{len(fields)} fields, expected {len(dialect.names)}")
        text += "\n"
    return None, 1, (BAD_ROW, "a quote that never closes")


def _fields(text: str, delimiter: str) -> list[str] | None:
    """One record's fields, or None when a quote is still open at its end.

    Raises:
        csv.Error: a quote inside a quoted field, and the like.
    """
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        if _OPEN_QUOTE in str(error):
            return None
        raise
