"""What the studio was asked: whose page, where they come from, which moment. As a form, an address and a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson

from features.errors import RequestError
from features.moments import to_datetime, to_instant, zone
from serving import wire
from serving.person import PERSONALIZATION

_CONTEXT = {
    "region": "region", "device": "device", "source": "trafficSource", "campaign": "campaign", "category": "category",
    "item": "itemId", "url": "url", "referrer": "referrer", "agent": "userAgent", "words": "locale",
}  # fmt: skip
"""Field of the form -> of a request's context."""
DEVICES = ("phone", "tablet", "desktop")
SURFACES = ("page", "app", "email", "push", "sms", "line")
REFUSED = "refused"
FURTHEST = 2200
"""The last year that can be looked at."""


@dataclass(frozen=True)
class Asked:
    """The fields of the form, as typed; empty: not said.

    Args:
        customer, visitor: whose page; of a customer the visitor adds nothing.
        page, surface: which page, and where it is shown.
        consent: REFUSED shows the page of somebody who has not agreed to a personal one; more than was told cannot be
            said here, since it would read what was not agreed to.
        moment: the wall clock of the shop, `2026-11-27T09:00`; empty: now.
    """

    customer: str = ""
    visitor: str = ""
    page: str = "home"
    surface: str = "page"
    region: str = ""
    device: str = ""
    source: str = ""
    campaign: str = ""
    category: str = ""
    item: str = ""
    url: str = ""
    referrer: str = ""
    agent: str = ""
    words: str = ""
    consent: str = ""
    moment: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Asked:
        """From a query string or a form; fields of other forms are passed over."""
        own = {name: fields[name].strip() for name in asdict(cls()) if fields.get(name, "").strip()}
        return cls(**own)

    @property
    def fields(self) -> dict[str, str]:
        """What was said, for hidden fields and links."""
        usual = asdict(Asked())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    def href(self, path: str = "/studio", **changes: str) -> str:
        """The address of this question, or of one that differs in some fields."""
        query = urlencode(replace(self, **changes).fields, errors="replace")
        return f"{path}?{query}" if query else path

    def request(self) -> wire.PageRequest:
        """As `POST /v1/pages` takes it.

        Raises:
            RequestError: something is too long.
        """
        return wire.decode(orjson.dumps({**self._who, "page": self.page, "surface": self.surface, "explain": True}),
                           wire.PageRequest)  # fmt: skip

    def action(self, channel: str) -> wire.ActionRequest:
        """As `POST /v1/actions` takes it.

        Raises:
            RequestError: something is too long.
        """
        return wire.decode(orjson.dumps({**self._who, "channel": channel}), wire.ActionRequest)

    @property
    def _who(self) -> dict[str, Any]:
        who: dict[str, Any] = (
            {"userId": self.customer} if self.customer else {"visitorId": self.visitor} if self.visitor else {}
        )
        told = asdict(self)
        if self.consent == REFUSED:
            who |= {"consents": {PERSONALIZATION: False}}
        return {**who, "context": {name: told[key] for key, name in _CONTEXT.items() if told[key]}}

    def instant(self, now: int, time_zone: str) -> int:
        """The moment that is looked at, microseconds.

        Raises:
            RequestError: not a moment, or one that nobody needs.
        """
        if not self.moment:
            return now
        try:
            local = datetime.fromisoformat(self.moment)
        except ValueError:
            local = None
        if local is None or not 1970 < local.year <= FURTHEST:
            hint = "write it as 2026-11-27T09:00"
            raise RequestError("not a moment", where="moment", got=self.moment, hint=hint)
        return to_instant(local if local.tzinfo else local.replace(tzinfo=zone(time_zone)))

    def moved(self, days: int, now: int, time_zone: str) -> Asked:
        """The same question so many days later, at the same time of the wall clock.

        Raises:
            RequestError: that is beyond what can be looked at.
        """
        there = to_datetime(self.instant(now, time_zone)).astimezone(zone(time_zone)) + timedelta(days=days)
        moved = replace(self, moment=there.strftime("%Y-%m-%dT%H:%M"))
        moved.instant(now, time_zone)
        return moved


def wall_clock(instant: int, time_zone: str) -> str:
    """A moment as the shop's wall clock shows it, to the minute."""
    return to_datetime(instant).astimezone(zone(time_zone)).strftime("%Y-%m-%d %H:%M")
