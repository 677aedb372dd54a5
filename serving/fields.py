"""Fields that were told of a person, as rows of changes: how they are put together, and what they say at last.

A change names only what it changes; `None` forgets a value. Maps (answers, consents ...) are changed key by key. What
somebody told before signing in stands under `guest`: it counts where the customer has told nothing of that key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import orjson

from features.errors import DataError

Fields = Mapping[str, Any]
"""As on the wire: `name, region, postalPrefix, timeZone, tier, points, channels, projects, accountId`, and maps."""
GUEST = "guest"
MAPS = ("attributes", "answers", "asked", "shown", "consents")
"""question -> answer, and the instants of that and of its showing; purpose -> `{granted, wording, source, at}`."""
_decoder = msgspec.json.Decoder(dict[str, Any])


def composed(changes: Iterable[Fields]) -> dict[str, Any]:
    """Changes as JSON gives them, oldest first, as one change."""
    both: dict[str, Any] = {}
    for change in changes:
        for name, value in change.items():
            old = both.get(name)
            if name == GUEST:
                both |= {each: said for each, said in value.items() if both.get(each, said) is None}  # it was forgotten
                both[name] = composed([value, old or {}])  # of two guests the first one's words stay
            elif isinstance(old, dict) and isinstance(value, dict):
                both[name] = {**old, **value}
            else:
                both[name] = value
    return both


def plain(change: Fields) -> dict[str, Any]:
    """What a change says of somebody of whom nothing else is known: nothing forgotten, no guest any more."""
    said: Fields = change
    if GUEST in change:
        own = {name: value for name, value in change.items() if name != GUEST}
        said = composed([change[GUEST] or {}, own])
    return {name: without_nones(value) for name, value in said.items() if value is not None}


def refusals(fields: Fields) -> dict[str, Any]:
    """Purposes that were refused, each with how."""
    told = fields.get("consents")
    given = told if isinstance(told, dict) else {}
    return {purpose: how for purpose, how in given.items() if isinstance(how, dict) and how.get("granted") is False}


def handed_over(visitor: Fields) -> dict[str, Any]:
    """What a visitor told as a change of the customer that he signed in as: a refusal counts whatever stood there."""
    own = plain({name: value for name, value in visitor.items() if name != GUEST})
    refused = refusals(own)
    granted = {purpose: how for purpose, how in own.pop("consents", {}).items() if purpose not in refused}
    guest = own | ({"consents": granted} if granted else {})
    return ({"consents": refused} if refused else {}) | ({GUEST: guest} if guest else {})


def encode(fields: Fields) -> bytes:
    """Fields as JSON.

    Raises:
        DataError: something that JSON cannot hold, or a whole number beyond 64 bits; `where` names the field.
    """
    try:
        return orjson.dumps(fields)
    except (orjson.JSONEncodeError, RecursionError) as error:
        what = "a field that cannot be written as JSON"
        raise DataError(what, where=_unwritable(fields), got=str(error)) from None


def _unwritable(fields: Fields) -> str:
    for name, value in fields.items():
        try:
            orjson.dumps(value)
        except (orjson.JSONEncodeError, RecursionError):
            return name
    return "body"


def decode(payload: bytes) -> dict[str, Any]:
    """Read what `encode` gave."""
    return _decoder.decode(payload)


def snake(name: str) -> str:
    """A name of the wire as a column."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def camel(name: str) -> str:
    """A column as a name of the wire."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def without_nones(value: Any) -> Any:
    """A map without what was forgotten of it; what is no map stays as it is."""
    return {key: each for key, each in value.items() if each is not None} if isinstance(value, dict) else value
