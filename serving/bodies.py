"""Bodies of requests as bytes: their size, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.requests import Request

from features.errors import RequestError

MAX_BODY: Final = 1 << 20
_DIGITS: Final = 15
"""Of a length that can be one; Python reads no number of thousands of digits."""
_OF_BODIES: Final = frozenset({b"content-encoding", b"content-type", b"content-length"})
_JSON: Final = frozenset({"", "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded"})


class BodyTooLargeError(RequestError):
    """A body beyond the limit."""

    code = "too_large"
    status = 413


class BodyKindError(RequestError):
    """A body that is compressed, or says of itself that it is no JSON."""

    code = "unsupported_media_type"
    status = 415


async def read_body(request: Request, most: int = MAX_BODY) -> bytes:
    """The body, refused as soon as it is too large.

    Raises:
        BodyTooLargeError: more than `most` bytes.
        BodyKindError: it is compressed, or something else than JSON.
    """
    said = _said(request.scope["headers"])
    _check_kind(said)
    hint = f"send at most {most} bytes"
    announced = said.get(b"content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > _DIGITS or int(announced) > most):
        raise BodyTooLargeError("the body is too large", where="body", got=announced, hint=hint)
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > most:
            raise BodyTooLargeError("the body is too large", where="body", hint=hint)
    return bytes(parts)


def _said(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """What a request says of its body; of a header that comes twice the first."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name in _OF_BODIES:
            found.setdefault(name, value.decode("latin-1"))
    return found


def _check_kind(said: Mapping[bytes, str]) -> None:
    """What is compressed is not unpacked: a small body could become a huge one.

    Programs that name no kind of their own (`curl -d`, a browser's beacon) say `form` or `text`: that is read as JSON.
    """
    coding, kind = said.get(b"content-encoding", "identity"), said.get(b"content-type", "")
    if coding.strip().lower() != "identity":
        raise BodyKindError("a compressed body", where="Content-Encoding", got=coding, hint="send it as it is")
    name = kind.partition(";")[0].strip().lower()
    if name not in _JSON and not name.endswith("+json"):
        raise BodyKindError("not a kind of JSON", where="Content-Type", got=kind, hint="send application/json")
