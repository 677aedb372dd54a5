"""Admin sessions: a key is shown once and becomes a cookie that only this site sends; forms carry a token."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from features.errors import KokyakuError
from serving.access import Access
from serving.clock import machine_time
from serving.limits import Throttle
from serving.sealed_texts import Signer
from serving.store import Store
from serving.store_sessions import end_session, has_ended
from serving.web.identity import same_origin

PURPOSE: Final = "studio"
PATH: Final = "/studio"
AGE: Final = 8 * 3600
"""Seconds after which one logs in again."""
DEVELOPER: Final = "developer"


class Session(msgspec.Struct, frozen=True):
    """Who looks.

    Args:
        id: random.
        who: the name that they gave themselves; stands beside their stops.
        key: fingerprint of the key that they logged in with; the session ends when that key does.
        ends: seconds since 1970 at which it ends.
        locale: language of the studio; empty: the shop's.
    """

    id: str
    who: str
    key: str
    ends: float
    locale: str = ""


class Sessions:
    """Reads and writes admin sessions.

    Args:
        signer: seals the cookie with the shop's secret.
        access: which keys may do what; in development everybody on loopback has a session.
        store_of: gives the store that knows which sessions were ended.
        clock: seconds since 1970.
    """

    def __init__(
        self, signer: Signer, access: Access, store_of: Callable[[], Store], clock: Callable[[], float] = machine_time
    ) -> None:
        self.signer, self.access, self.store_of, self.clock = signer, access, store_of, clock
        self.throttle = Throttle(clock)

    def read(self, request: Request) -> Session | None:
        """The session of a request; None where there is none, or it has ended.

        Raises:
            Unavailable: the store cannot say whether it was ended: then nobody is let in.
        """
        sealed = request.cookies.get(self.signer.cookie(PURPOSE))
        raw = self.signer.open(PURPOSE, sealed)
        try:
            session = None if raw is None else msgspec.json.decode(raw, type=Session)
        except msgspec.DecodeError:  # written by another version of ours
            session = None
        if session is not None and self._holds(session):
            return session
        return self._begun(DEVELOPER, "") if self.access.dev else None

    def log_in(self, request: Request, key: str, who: str) -> Session:
        """A session for an admin key.

        Raises:
            AccessError: the key is wrong.
            ScopeError: it is right but no admin's.
            TooManyError: this address has to wait.
        """
        host = request.client.host if request.client else ""
        self.throttle.check(host)
        try:
            entry = self.access.check("admin", {**request.headers, "x-api-key": key, "authorization": ""})
        except KokyakuError:
            self.throttle.failed(host)
            raise
        return self._begun(who.strip()[:200] or "studio", self._fingerprint(entry.digest))

    def write(self, request: Request, response: Response, session: Session) -> None:
        """Set the cookie: not for scripts, never sent from another site, to the studio only."""
        name, value = self.signer.cookie(PURPOSE), self.signer.seal(PURPOSE, msgspec.json.encode(session))
        age, secure = max(0, int(session.ends - self.clock())), request.url.scheme == "https"
        response.set_cookie(name, value, max_age=age, path=PATH, httponly=True, samesite="strict", secure=secure)

    def end(self, response: Response, session: Session) -> None:
        """End a session: its cookie is of no use any more, wherever it was copied to and whoever is asked.

        Raises:
            Unavailable: the store refuses; the session goes on.
        """
        end_session(self.store_of(), session.id, session.ends)
        response.delete_cookie(self.signer.cookie(PURPOSE), path=PATH, httponly=True, samesite="strict")

    def token(self, session: Session) -> str:
        """What forms of this session carry."""
        return self.signer.token(f"{PURPOSE} {session.id}")

    def ours(self, request: Request, token: str, session: Session) -> bool:
        """Whether a form came from a page that we rendered for this session."""
        return same_origin(request) and hmac.compare_digest(token.encode(), self.token(session).encode())

    def _begun(self, who: str, key: str) -> Session:
        return Session(secrets.token_hex(16), who, key, self.clock() + AGE)

    def _holds(self, session: Session) -> bool:
        now = self.clock()
        if session.ends <= now or not (self.access.dev or self._opens(session, now)):
            return False
        return not has_ended(self.store_of(), session.id)

    def _opens(self, session: Session, now: float) -> bool:
        """Whether the key that it was begun with still opens the studio."""
        keys = [entry.digest for entry in self.access.keys if "admin" in entry.scopes and entry.ends > now]
        return any(hmac.compare_digest(session.key, self._fingerprint(digest)) for digest in keys)

    def _fingerprint(self, digest: bytes) -> str:
        """Of a key, salted with the shop's secret: the cookie tells nothing of it."""
        return sha256(f"{self.signer.token(PURPOSE)} ".encode() + digest).hexdigest()[:32]
