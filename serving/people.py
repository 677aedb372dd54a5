"""Who somebody is, as the shop was told up to this second: the mapped profile and what the store received since.

Two functions, so that consents can be read first and nothing else read where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from features.order_reports import Report, lines_of
from features.orders import OrderLine, as_of
from serving.fields import GUEST, Fields, composed, decode, plain, without_nones
from serving.newer import Found
from serving.person import NOBODY, Consents, Person, Project
from serving.profiles import UNREADABLE, Agreed, People

if TYPE_CHECKING:
    from serving.engine import Engine
    from serving.live import Live

_agreed = msgspec.json.Decoder(Agreed)


def consents_of(
    live: Live, user_id: str | None, visitor_id: str | None, assumed: frozenset[str], found: Found
) -> Consents:
    """What a customer or visitor agreed to. Of all that is kept of them only the consents are decoded.

    Args:
        live: the state that the request holds.
        user_id, visitor_id: who asks; a known customer's visitor adds nothing until he signs in.
        assumed: purposes with another basis (`[consent]` of the shop's file).
        found: where they stand.
    """
    past = live.people.agreed(found.row) if live.people and user_id is not None else None
    if past is UNREADABLE:  # there may be a refusal among them
        return Consents()
    rows = found.newer.fields
    if not rows:  # what a profile says is composed already
        return Consents(without_nones(past) if isinstance(past, dict) else {}, assumed)
    changes = [Agreed(past), *(_agreed.decode(row) for row in rows)]
    said = plain(composed(_only_consents(change) for change in changes))
    return Consents(_map(said, "consents"), assumed)


def person_of(
    engine: Engine, live: Live, user_id: str | None, visitor_id: str | None, now: int, found: Found
) -> Person:
    """What the shop was told of a customer or visitor.

    Args:
        engine, live: the shop, and the state that the request holds.
        user_id, visitor_id: who asks; a known customer's visitor adds nothing until he signs in.
        now: microseconds; steps of orders at or after it are not known. Fields are those that were told last.
        found: where they stand.
    """
    if user_id is not None:
        if not found.newer.fields and not found.newer.orders:
            person = _synced(live.people, found.row, now)
            if person is not None:
                return person
        fields, reports = told(engine, live, user_id, found)
        return _person(fields, reports, now) if fields or reports else NOBODY
    rows = found.newer.fields
    return _person(plain(composed(map(decode, rows))), [], now) if rows else NOBODY


def told(engine: Engine, live: Live, user_id: str, found: Found) -> tuple[dict[str, Any], list[Report]]:
    """All fields of a customer and all reports of his orders, from profile and store."""
    people, rows = live.people, found.newer.fields
    profile = people.at(found.row) if people else None
    newer = engine.store.reports_of(user_id, live.reach.orders) if found.newer.orders else []
    if profile is None:
        return (plain(composed(map(decode, rows))) if rows else {}), newer
    fields = composed([profile.fields, *map(decode, rows)]) if rows else profile.fields
    return plain(fields), [*profile.orders, *newer]


_NO_REPORTS = msgspec.Raw(b"[]")


class _Plain(msgspec.Struct, frozen=True, rename="camel"):
    """Fields as they nearly always are: each of its kind, nothing forgotten, nothing of a guest."""

    name: str | None = None
    region: str | None = None
    postal_prefix: str | None = None
    time_zone: str | None = None
    tier: str | None = None
    points: float | None = None
    attributes: dict[str, str | int | float | bool] = {}
    answers: dict[str, str] = {}
    asked: dict[str, int] = {}
    shown: dict[str, int] = {}
    channels: tuple[str, ...] | None = None
    projects: tuple[Project, ...] = ()
    guest: None = None


class _PlainProfile(msgspec.Struct, frozen=True):
    fields: _Plain = _Plain()
    lines: tuple[OrderLine, ...] | None = None
    orders: msgspec.Raw = _NO_REPORTS  # read only where it was written before there were lines

    def lines_at(self, now: int) -> tuple[OrderLine, ...]:
        """The order lines as known at a moment."""
        lines = lines_of(_reports.decode(self.orders)) if self.lines is None else self.lines
        return as_of(lines, now) if lines else ()


_plain_profile = msgspec.json.Decoder(_PlainProfile)
_reports = msgspec.json.Decoder(tuple[Report, ...])


def _synced(people: People | None, row: int | None, now: int) -> Person | None:
    """A customer of whom the store has nothing newer, read in one go; None where his profile needs a closer look."""
    raw = people.shown_at(row) if people else None
    if raw is None:
        return NOBODY
    try:
        profile = _plain_profile.decode(raw)
        orders = profile.lines_at(now)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    told = profile.fields
    if "name" in told.answers:
        return None
    return Person(
        told.name, told.region, told.postal_prefix, told.time_zone, told.tier, told.points, told.attributes,
        told.answers, told.asked, told.shown, told.channels, orders, told.projects,
    )  # fmt: skip


def _person(fields: Fields, reports: list[Report], now: int) -> Person:
    told = {}
    for key, value in fields.items():
        name, read = _READERS.get(key, _NEITHER)
        if read is not None and (said := read(value)) is not None:
            told[name] = said
    name = told.get("answers", {}).get("name")
    if name is not None:  # the one answer that is itself a field
        told.setdefault("name", name)
    return Person(**told, orders=as_of(lines_of(reports), now) if reports else ())


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _mapping(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _answers(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    return {
        asked: said if isinstance(said, str) else msgspec.json.encode(said).decode() for asked, said in value.items()
    }


def _instants(value: Any) -> dict[str, int] | None:
    return {asked: at for asked, at in value.items() if isinstance(at, int)} if isinstance(value, dict) else None


def _channels(value: Any) -> tuple[str, ...] | None:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else None


def _projects(value: Any) -> tuple[Project, ...] | None:
    """Those that are some; what is none is left out."""
    found = []
    for project in value if isinstance(value, list | tuple) else ():
        try:
            found.append(msgspec.convert(project, Project))
        except msgspec.ValidationError:
            continue
    return tuple(found)


_READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "name": ("name", _text), "region": ("region", _text), "postalPrefix": ("postal_prefix", _text),
    "timeZone": ("time_zone", _text), "tier": ("tier", _text), "points": ("points", _number),
    "attributes": ("attributes", _mapping), "answers": ("answers", _answers), "asked": ("asked", _instants),
    "shown": ("shown", _instants), "channels": ("channels", _channels), "projects": ("projects", _projects),
}  # fmt: skip
"""Field as on the wire -> its name in `Person`, and what is read of its value; None: it is nothing of the kind."""
_NEITHER = ("", None)


def _only_consents(change: Agreed) -> dict[str, Any]:
    guest = change.guest.get("consents") if isinstance(change.guest, dict) else None
    said = {"consents": change.consents} if change.consents is not None else {}
    return said | ({GUEST: {"consents": guest}} if guest else {})


def _map(fields: Fields, name: str) -> dict[str, Any]:
    found = fields.get(name)
    return found if isinstance(found, dict) else {}
