"""Who is looking: signed cookies of this shop, the token of its forms, where a visit came from and its language.

A visitor is 128 random bits in a signed cookie, so nobody can put on an id seen elsewhere. Keys and cookie names
derive from the shop's secret: two shops on one host (ports do not separate cookies) do not meet.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from features.errors import RequestError
from features.text import MAX_ID_LENGTH
from serving.clock import machine_time
from serving.context import device_of, source_of
from serving.sealed_texts import Signer
from serving.web.strings import TEXTS

VISITOR_AGE: Final = 365 * 86_400
SESSION_AGE: Final = 30 * 60
"""Seconds without a request after which a visit has ended, as web analytics counts them."""
ENTERED: Final = "entered"
ENTERED_AGE: Final = 12 * 3600
"""Seconds after which a customer signs in at the shop again."""
CAMPAIGN: Final = frozenset(
    {"utm_source", "utm_medium", "utm_campaign", "gclid", "fbclid", "msclkid", "yclid", "ttclid"}
)
"""Parameters by which an address says which campaign it is of."""
_QUALITY: Final = re.compile(r"[01](\.\d{1,3})?")


class Session(msgspec.Struct, frozen=True):
    """One visit and what was known of it when it began."""

    id: str
    region: str = ""
    source: str = ""
    referrer: str = ""
    campaign: str = ""
    locale: str = ""
    """As the browser asked for or the person chose; empty: the shop's."""


@dataclass(frozen=True, slots=True)
class Visit:
    """The subject of a request; `user_id` is a customer who signed in, or whom the demo's operator chose (`chosen`)."""

    visitor: str
    session: Session
    device: str
    user_id: str | None = None
    chosen: bool = False

    @property
    def visitor_id(self) -> str | None:
        """None for a customer: an operator who looks as ten customers must not link them."""
        return None if self.user_id is not None else self.visitor

    @property
    def subject(self) -> dict[str, str]:
        """Who an event belongs to, as the wire names it."""
        key = "visitorId" if self.user_id is None else "userId"
        return {key: self.user_id if self.user_id is not None else self.visitor, "sessionId": self.session.id}

    @property
    def context(self) -> dict[str, str]:
        """What is known of the circumstances; unknown keys are left out."""
        session = self.session
        known = {
            "region": session.region, "trafficSource": session.source, "referrer": session.referrer,
            "campaign": session.campaign,
        }  # fmt: skip
        return {"device": self.device, **{key: value for key, value in known.items() if value}}


class Visits:
    """Reads the visit of a request from its cookies, and writes them back."""

    def __init__(self, signer: Signer) -> None:
        self.signer = signer

    def read(self, request: Request, *, demo: bool) -> Visit:
        """The visit; what is missing, forged or over is begun anew. A chosen customer counts in demo mode only."""
        visitor = self._text(request, "visitor") or secrets.token_hex(16)
        user = (self._text(request, "customer") or None) if demo else None
        device = device_of(request.headers.get("user-agent", ""))
        return Visit(visitor, self._session(request), device, user or self._entered(request), user is not None)

    def known(self, request: Request) -> bool:
        """Whether the request came with a visitor of ours."""
        return bool(self._text(request, "visitor"))

    def write(self, request: Request, response: Response, visit: Visit) -> None:
        """Set the cookies of a visit; the session's ends with 30 idle minutes."""
        session = msgspec.json.encode(visit.session)
        self.put(request, response, "session", session, SESSION_AGE)
        if self._text(request, "visitor") != visit.visitor:
            self.put(request, response, "visitor", visit.visitor.encode(), VISITOR_AGE)
        if visit.user_id is None:
            self.drop(request, response, "customer")
            self.drop(request, response, ENTERED)
        elif visit.chosen and self._text(request, "customer") != visit.user_id:
            self.put(request, response, "customer", visit.user_id.encode(), None)

    def let_in(self, request: Request, response: Response, user_id: str) -> None:
        """Know the browser as a customer's, for some hours."""
        value = self.signer.lend(ENTERED, user_id, int(machine_time()) + ENTERED_AGE)
        self._set(request, response, ENTERED, value, ENTERED_AGE)

    def _entered(self, request: Request) -> str | None:
        found = self.signer.lent(ENTERED, request.cookies.get(self.signer.cookie(ENTERED)), machine_time())
        return None if found is None else found[0]

    def get(self, request: Request, purpose: str) -> bytes | None:
        """The payload of a cookie of ours, or None."""
        return self.signer.open(purpose, request.cookies.get(self.signer.cookie(purpose)))

    def put(self, request: Request, response: Response, purpose: str, payload: bytes, max_age: int | None) -> None:
        """Set a sealed cookie: not for scripts, not for other sites, over TLS only where the request was."""
        self._set(request, response, purpose, self.signer.seal(purpose, payload), max_age)

    def _set(self, request: Request, response: Response, purpose: str, value: str, max_age: int | None) -> None:
        name, secure = self.signer.cookie(purpose), request.url.scheme == "https"
        response.set_cookie(name, value, max_age=max_age, httponly=True, samesite="lax", secure=secure)

    def drop(self, request: Request, response: Response, purpose: str) -> None:
        """Remove a cookie, if the request had it."""
        name = self.signer.cookie(purpose)
        if name in request.cookies:
            response.delete_cookie(name, httponly=True, samesite="lax")

    def _text(self, request: Request, purpose: str) -> str:
        return (self.get(request, purpose) or b"").decode()  # signed by us, so it is what we wrote

    def _session(self, request: Request) -> Session:
        raw = self.get(request, "session")
        if raw is not None:
            try:
                return _continued(msgspec.json.decode(raw, type=Session), request)
            except msgspec.DecodeError:  # written by another version of ours
                pass
        return begin_session(request)


def begin_session(request: Request, *, region: str = "", locale: str = "") -> Session:
    """A new visit: random id, and where it came from (of the referrer only the host is kept).

    Args:
        region: that the demo's operator chose.
        locale: the language of the visit before; empty: the browser's.
    """
    referrer = _host(request.headers.get("referer", ""))[:200]
    if referrer == request.headers.get("host"):
        referrer = ""
    session = Session(
        id=secrets.token_hex(16),
        region=region[:64],
        source=source_of(str(request.url), f"https://{referrer}/" if referrer else None)[:64],
        referrer=referrer,
        campaign=request.query_params.get("utm_campaign", "")[:64],
        locale=locale or _accepted(request.headers.get("accept-language", "")),
    )
    return _continued(session, request)


def _continued(session: Session, request: Request) -> Session:
    """The visit with what its new request says of language and campaign: a link of a mail brings another source."""
    query = request.query_params
    if query.get("lang") in TEXTS:
        session = msgspec.structs.replace(session, locale=query["lang"])
    if any(name in CAMPAIGN for name in query):
        source, campaign = source_of(str(request.url), None)[:64], query.get("utm_campaign", "")[:64]
        session = msgspec.structs.replace(session, source=source, campaign=campaign)
    return session


def _accepted(header: str) -> str:
    """The language of ours that a browser likes best; empty where it names none.

    >>> _accepted("fr, ja;q=0.8, en;q=0.9"), _accepted("ja-JP"), _accepted("en;q=0, *")
    ('en', 'ja', '')
    """
    best, found = 0.0, ""
    for entry in header.split(",")[:20]:
        tag, _, parameter = entry.partition(";")
        language = tag.strip().split("-")[0].lower()
        weight = _weight(parameter)
        if language in TEXTS and weight > best:
            best, found = weight, language
    return found


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    return float(value) if _QUALITY.fullmatch(value) else 0.0


def same_origin(request: Request) -> bool:
    """Whether a browser says that one of our own pages made this request (or says nothing, as programs do)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or _host(origin) == request.headers.get("host")


def checked_id(text: str, field: str) -> str:
    """An id as it came, if it can be one.

    Raises:
        RequestError: it is empty or too long.
    """
    if not text or len(text) > MAX_ID_LENGTH:
        raise RequestError(f"an id has 1 to {MAX_ID_LENGTH} characters", where=field, got=text)
    return text


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # "http://[" and the like: it comes from outside
        return ""
