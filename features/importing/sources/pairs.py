"""Files of `user item` or `user item item ...` lines, as research data sets come: no times, no header."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.errors import DataError
from features.importing.blocks import Block, blocks_of, decode
from features.importing.mapping import Mapping, refuse_unknown
from features.importing.raw import BadRow, Raw, json_text
from features.importing.reasons import BAD_ENCODING, BAD_ROW
from features.importing.source import Feed, Piece, Source
from features.kinds import EVENT_TYPES

INSTANT: Final = "2000-01-01T00:00:00Z"
"""The moment that all events of such a file are given."""


def open_file(path: Path, event_type: str) -> Source:
    """A file of pairs; every pair is one event of that type.

    A row of the import is one pair, so a line with a user and three items counts three. Pairs that repeat are kept.

    Raises:
        ConfigError: an unknown event type.
        DataError: no such file.
    """
    refuse_unknown([event_type], EVENT_TYPES, "--type", what="event type")
    if not path.is_file():
        raise DataError("no such file", where=str(path), hint="check the path")
    mapping = Mapping(
        source=f"pairs-{event_type}",
        columns={c.CUSTOMER_ID: "user", c.ITEM_ID: "item"},
        constants={c.TYPE: event_type, c.OCCURRED_AT: INSTANT},
    )
    notes = (f"no times: all events are put at {INSTANT}, so nothing that depends on time means anything here",)
    return Source(mapping.source, (Feed(mapping, partial(_pieces, path), path.name),), (path,), notes=notes)


def _pieces(path: Path) -> Iterator[Piece]:
    for block in blocks_of(path, quoted=False):
        yield partial(_read, block)


def _read(block: Block) -> Raw:
    lines, bad = _lines(block)
    words = pc.utf8_split_whitespace(lines)
    lengths = pc.if_else(pc.equal(lines, ""), 0, pc.list_value_length(words)).to_numpy(zero_copy_only=False)
    for place in np.flatnonzero(lengths == 1).tolist():
        bad.append((place, BadRow(0, BAD_ROW, "a user without an item", json_text(lines[place].as_py()))))
    return _numbered(words, lengths, bad)


def _lines(block: Block) -> tuple[pa.Array, list[tuple[int, BadRow]]]:
    """The block's lines without white space around them; lines that do not decode are empty, and bad."""
    bad: list[tuple[int, BadRow]] = []
    try:
        text = pa.array([decode(block.data, block.encoding)], pa.large_string())
        lines = pc.list_flatten(pc.split_pattern(text, "\n")).cast(pa.string())
    except UnicodeDecodeError:
        texts = []
        for place, line in enumerate(block.data.split(b"\n")):
            try:
                texts.append(decode(line, block.encoding))
            except UnicodeDecodeError:
                raw = json_text(line.decode(block.encoding, "backslashreplace"))
                bad.append((place, BadRow(0, BAD_ENCODING, f"not {block.encoding}", raw)))
                texts.append("")
        lines = pa.array(texts, pa.string())
    return pc.utf8_trim_whitespace(lines), bad


def _numbered(words: pa.Array, lengths: np.typing.NDArray[np.int64], bad: list[tuple[int, BadRow]]) -> Raw:
    """Pairs in the order of the file, each its own record; a bad line is one record."""
    records = np.maximum(lengths - 1, 0)
    for line, _ in bad:
        records[line] = 1
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(records)])
    good = np.flatnonzero(lengths > 1)
    repeats = lengths[good] - 1
    users = pc.list_element(words.take(pa.array(good)), 0)
    tails = pc.list_flatten(pc.list_slice(words.take(pa.array(good)), 1))
    users = users.take(pa.array(np.repeat(np.arange(len(good)), repeats)))
    within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    at = np.repeat(first[good], repeats) + within
    rows = pa.table({"user": users, "item": tails})
    return Raw(rows, at, [row._replace(at=int(first[line])) for line, row in sorted(bad)])
