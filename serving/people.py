"""Who somebody is, as the shop was told up to this second: the mapped profile and what the store received since.

Two functions, so that consents can be read first and nothing else read where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from features.order_reports import Report, lines_of
from features.orders import as_of
from serving.fields import GUEST, Fields, composed, decode, plain
from serving.newer import Found
from serving.person import NOBODY, Consents, Person, Project
from serving.profiles import Agreed

if TYPE_CHECKING:
    from serving.engine import Engine
    from serving.live import Live

_agreed = msgspec.json.Decoder(Agreed)
_TEXTS = {"name": "name", "region": "region", "postal_prefix": "postalPrefix", "time_zone": "timeZone", "tier": "tier"}


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
    rows = found.newer.fields
    if past is None and not rows:
        return Consents(assumed=assumed)
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


def _person(fields: Fields, reports: list[Report], now: int) -> Person:
    answers = _answers(fields)
    channels, points = fields.get("channels"), fields.get("points")
    texts = {name: said for name, key in _TEXTS.items() if isinstance(said := fields.get(key), str)}
    if "name" in answers:  # the one answer that is itself a field
        texts.setdefault("name", answers["name"])
    return Person(
        **texts,
        points=float(points) if isinstance(points, int | float) else None,
        attributes=_map(fields, "attributes"),
        answers=answers,
        asked=_instants(fields, "asked"),
        shown=_instants(fields, "shown"),
        channels=tuple(map(str, channels)) if isinstance(channels, list | tuple) else None,
        orders=as_of(lines_of(reports), now) if reports else (),
        projects=projects_in(fields),
    )


def _instants(fields: Fields, name: str) -> dict[str, int]:
    return {question: at for question, at in _map(fields, name).items() if isinstance(at, int)}


def projects_in(fields: Fields) -> tuple[Project, ...]:
    """The projects of a customer's fields; what is none is left out."""
    found = []
    each = fields.get("projects")
    for project in each if isinstance(each, list | tuple) else ():
        try:
            found.append(msgspec.convert(project, Project))
        except msgspec.ValidationError:
            continue
    return tuple(found)


def _answers(fields: Fields) -> dict[str, str]:
    given = _map(fields, "answers").items()
    return {question: said if isinstance(said, str) else msgspec.json.encode(said).decode() for question, said in given}


def _only_consents(change: Agreed) -> dict[str, Any]:
    guest = change.guest.get("consents") if isinstance(change.guest, dict) else None
    said = {"consents": change.consents} if change.consents is not None else {}
    return said | ({GUEST: {"consents": guest}} if guest else {})


def _map(fields: Fields, name: str) -> dict[str, Any]:
    found = fields.get(name)
    return found if isinstance(found, dict) else {}
