"""Frames: the unit of a decision log. A torn or altered one is recognised and skipped.

A frame is magic, length and CRC-32 of the payload (each a little-endian u32), then the payload, one decision as JSON.
After damage the next frame is found by its magic.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from features.errors import DataError

MAGIC = 0x31444B4B  # "KKD1"
HEADER = struct.Struct("<III")
SUFFIX = ".log"
MAX_PAYLOAD = 4 * 1024 * 1024
_MAGIC_BYTES = MAGIC.to_bytes(4, "little")


def frame(decision: Mapping[str, Any] | bytes) -> bytes:
    """A decision as it stands in the file.

    Raises:
        DataError: larger than a reader would believe.
    """
    payload = decision if isinstance(decision, bytes) else orjson.dumps(decision, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(payload) > MAX_PAYLOAD:
        raise DataError("a decision too large to log", got=len(payload), hint=f"at most {MAX_PAYLOAD} bytes")
    return HEADER.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def frames(data: bytes, start: int = 0) -> Iterator[tuple[int, int, bytes]]:
    """The complete frames of a file's bytes: (start, end, payload). What lies between them is damaged.

    The last yielded end is how far the file is known to be good; an unfinished frame after it may still become whole.
    """
    at = start
    while at + HEADER.size <= len(data):
        magic, length, checksum = HEADER.unpack_from(data, at)
        end = at + HEADER.size + length
        if magic == MAGIC and length <= MAX_PAYLOAD and end <= len(data):
            payload = data[at + HEADER.size : end]
            if zlib.crc32(payload) == checksum:
                yield at, end, payload
                at = end
                continue
        following = data.find(_MAGIC_BYTES, at + 1)
        if following < 0:
            return
        at = following
