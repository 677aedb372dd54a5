"""The form of a stop: from fields to `POST /v1/stops`, and stops as the page lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from features.text import MAX_ID_LENGTH
from serving import wire
from serving.stops import Stop
from serving.web.studio.asked import wall_clock
from serving.web.studio.sessions import Session


def stopping(fields: Mapping[str, str], session: Session) -> wire.StopsRequest:
    """A form as `POST /v1/stops` takes it.

    Raises:
        RequestError: it says not what, why and by whom.
    """
    who = fields.get("by", "").strip() or session.who
    asked: dict[str, Any]
    if fields.get("lift"):
        number = fields["lift"]
        asked = {"lift": int(number) if number.isascii() and number.isdigit() and len(number) < 15 else number}
    else:
        asked = {"add": {name: fields.get(name, "").strip() for name in ("kind", "name", "because")}}
    return wire.decode(msgspec.json.encode({**asked, "by": who}), wire.StopsRequest)


def given(fields: Mapping[str, str]) -> dict[str, str]:
    """What the form shows again."""
    return {name: fields.get(name, "")[:MAX_ID_LENGTH] for name in ("kind", "name", "because", "by")}


def told(stop: Stop, zone: str) -> dict[str, Any]:
    """A stop with its moments on the wall clock of a zone."""
    lifted = "" if stop.lifted_at is None else wall_clock(stop.lifted_at, zone)
    return {**stop.told, "at": wall_clock(stop.at, zone), "liftedAt": lifted}
