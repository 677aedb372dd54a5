"""Bodies of requests as bytes: their size, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from features.errors import RequestError

MAX_BODY: Final = 1 << 20
_DIGITS: Final = 15
"""Of a length that can be one; Python reads no number of thousands of digits."""
_JSON: Final = frozenset({"", "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded"})


class BodyTooLargeError(RequestError):
    """A body beyond the limit."""

    code = "too_large"
    status = 413


class BodyKindError(RequestError):
    """A body that is compressed, or says of itself that it is no JSON."""

    code = "unsupported_media_type"
    status = 415


async def read_body(headers: Mapping[str, str], receive: Receive, most: int = MAX_BODY) -> bytes:
    """The body, refused as soon as it is too large.

    Args:
        headers: of the request (`serving.headers`).
        receive: what the server gives, one part after the other; nearly always there is but one.
        most: bytes.

    Raises:
        BodyTooLargeError: more than `most` bytes.
        BodyKindError: it is compressed, or something else than JSON.
        ClientDisconnect: the client went before it was whole.
    """
    _check_kind(headers)
    announced = headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > _DIGITS or int(announced) > most):
        raise _too_large(most, announced)
    body, more = await _part(receive)
    if more:
        parts = bytearray(body)
        while more and len(parts) <= most:
            part, more = await _part(receive)
            parts += part
        body = bytes(parts)
    if len(body) > most:
        raise _too_large(most)
    return body


async def _part(receive: Receive) -> tuple[bytes, bool]:
    """A part of a body, and whether another follows."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def _too_large(most: int, announced: str | None = None) -> BodyTooLargeError:
    return BodyTooLargeError("the body is too large", where="body", got=announced, hint=f"send at most {most} bytes")


def _check_kind(headers: Mapping[str, str]) -> None:
    """What is compressed is not unpacked: a small body could become a huge one.

    Programs that name no kind of their own (`curl -d`, a browser's beacon) say `form` or `text`: that is read as JSON.
    """
    coding, kind = headers.get("content-encoding"), headers.get("content-type", "")
    if coding is not None and coding.strip().lower() != "identity":
        raise BodyKindError("a compressed body", where="Content-Encoding", got=coding, hint="send it as it is")
    if kind in _JSON:
        return
    name = kind.partition(";")[0].strip().lower()
    if name not in _JSON and not name.endswith("+json"):
        raise BodyKindError("not a kind of JSON", where="Content-Type", got=kind, hint="send application/json")
