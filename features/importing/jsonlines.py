"""Reading blocks of JSON lines: the mapped fields of each object, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from features.importing.blocks import Block, blocks_of, decode
from features.importing.raw import BadRow, Raw, json_text, places
from features.importing.reasons import BAD_ENCODING, BAD_ROW

_SAMPLE_LINES = 100


def open_json_lines(path: Path, *, encoding: str = "auto") -> Iterator[Block]:
    """The blocks of a file with one JSON object a line."""
    return blocks_of(path, encoding=encoding, quoted=False)


def json_names(path: Path, *, encoding: str = "auto") -> tuple[str, ...]:
    """The keys of the first objects of a file, in the order in which they appear."""
    names: dict[str, None] = {}
    for block in open_json_lines(path, encoding=encoding):
        for line in block.data.splitlines()[:_SAMPLE_LINES]:
            try:
                value = orjson.loads(decode(line, block.encoding))
            except (ValueError, UnicodeDecodeError):
                continue  # a bad row; the import says so
            names |= dict.fromkeys(value) if isinstance(value, dict) else {}
        break
    return tuple(names)


def read_json_lines(block: Block, names: Sequence[str]) -> Raw:
    """The named fields of a block's objects as text columns; absent ones and JSON null are null.

    A name that begins with `/` is a JSON pointer.
    """
    lines, unreadable = _lines(block)
    if not names or not len(lines):
        return Raw(pa.table({name: pa.nulls(0, pa.string()) for name in names}), places(0, unreadable), unreadable)
    duck = duckdb.connect(config={"threads": 1})
    paths = ", ".join(_literal(_path(name)) for name in names)
    duck.register("block", pa.table({"line": lines}))
    found = duck.sql(f"""
        SELECT line, valid, CASE WHEN valid THEN json_extract_string(line, [{paths}]) END AS found
        FROM (SELECT line, CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' ELSE false END AS valid
              FROM block)""").to_arrow_table()
    duck.close()
    keep = found["valid"].combine_chunks()
    broken = pc.invert(keep).to_numpy(zero_copy_only=False).nonzero()[0]
    free = places(len(lines), unreadable)
    bad = [BadRow(int(free[i]), BAD_ROW, "not a JSON object", json_text(lines[i].as_py())) for i in broken]
    good = found.filter(keep)
    fields = good["found"].combine_chunks()
    columns = {name: pc.list_element(fields, place) for place, name in enumerate(names)}
    everything = sorted([*unreadable, *bad])
    return Raw(pa.table(columns), places(len(good), everything), everything, good["line"].combine_chunks())


def _lines(block: Block) -> tuple[pa.Array, list[BadRow]]:
    try:
        text = decode(block.data, block.encoding)
    except UnicodeDecodeError:
        return _lines_carefully(block)
    lines = pc.list_flatten(pc.split_pattern(pa.array([text], pa.large_string()), "\n")).cast(pa.string())
    lines = pc.utf8_trim_whitespace(lines)
    return lines.filter(pc.not_equal(lines, "")), []


def _lines_carefully(block: Block) -> tuple[pa.Array, list[BadRow]]:
    good: list[str] = []
    bad: list[BadRow] = []
    for line in block.data.split(b"\n"):
        try:
            text = decode(line, block.encoding).strip()
        except UnicodeDecodeError as error:
            detail = f"byte 0x{error.object[error.start]:02x} is not {block.encoding}"
            raw = json_text(line.decode(block.encoding, "backslashreplace"))
            bad.append(BadRow(len(good) + len(bad), BAD_ENCODING, detail, raw))
            continue
        if text:
            good.append(text)
    return pa.array(good, pa.string()), bad


def _path(name: str) -> str:
    return name if name.startswith("/") else '$."' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
