"""The routes of the studio: look, compare, stop, read the figures, log in and out.

Every page works as plain HTML. What is looked at is asked for by GET and can be kept as a bookmark; what changes
something (a stop, the language, the session) or carries a draft is a form with the session's token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from features.errors import KokyakuError, NotFoundError, RequestError
from features.moments import parse_instant
from features.text import MAX_ID_LENGTH
from serving.access import Access
from serving.clock import machine_time
from serving.config import ShopConfig
from serving.customers import active_customers
from serving.drafts import read_draft
from serving.dry_run import FEW
from serving.engine import Engine
from serving.intake_stops import take_stops
from serving.live import Live
from serving.pipeline import Answer
from serving.preview import Look, Openings, look_at_action, look_at_page
from serving.sealed_texts import Signer
from serving.stops import KINDS, all_stops
from serving.web.render import PRIVATE
from serving.web.studio.asked import DEVICES, SURFACES, Asked, wall_clock
from serving.web.studio.compare import compared
from serving.web.studio.desk import Desk, inside, read_form
from serving.web.studio.figures import WINDOWS, Counted
from serving.web.studio.rehearsal import LASTS, Rehearsals, by_slot
from serving.web.studio.sessions import PATH, Session, Sessions
from serving.web.studio.stopping import given, stopping, told
from serving.web.studio.why import Chance, chances_of, slots_of, subject_of
from serving.web.views import Viewer

FOUND = 20
"""Customers that a search shows."""
SHIFTS = (-28, -7, -1, 1, 7, 28, 91)
"""Days that a button leads away from the moment."""


def routes(
    engine_of: Callable[[], Engine], access: Access, *, clock: Callable[[], float] = machine_time
) -> list[BaseRoute]:
    """The studio as routes of a Starlette application.

    Args:
        engine_of: gives the engine once the service has started.
        access: which keys may log in; in development everybody on loopback may look.
        clock: seconds since 1970, for sessions.
    """
    sessions = Sessions(Signer(lambda: engine_of().shop.secret), access, lambda: engine_of().store, clock)
    desk = Desk(engine_of, access, sessions)
    studio = Studio(desk)
    pages = [
        (PATH, studio.look, ["GET"]),
        (f"{PATH}/compare", studio.compare, ["GET", "POST"]),
        (f"{PATH}/stops", studio.stops, ["GET", "POST"]),
        (f"{PATH}/figures", studio.figures, ["GET"]),
        (f"{PATH}/language", studio.language, ["POST"]),
        (f"{PATH}/logout", studio.log_out, ["POST"]),
    ]
    guarded: list[BaseRoute] = [Route(path, desk.guarded(each), methods=methods) for path, each, methods in pages]
    return [*guarded, Route(f"{PATH}/login", desk.opened(studio.log_in), methods=["GET", "POST"])]


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a bundle, and the shop's file or a draft of it."""

    bundle: str
    draft: bool
    look: Look


class Studio:
    """The handlers; holds nothing of who was looked at.

    Args:
        desk: sessions and frame.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.counted, self.rehearsals = Counted(desk.engine_of), Rehearsals()
        self._openings: Openings | None = None

    @property
    def openings(self) -> Openings:
        """Drafts and other bundles of the engine that serves."""
        engine = self.desk.engine_of()
        if self._openings is None or self._openings.engine is not engine:
            self._openings = Openings(engine)
        return self._openings

    # ---- looking

    async def look(self, request: Request, session: Session) -> Response:
        """Somebody's page at a moment, and why it is so."""
        query = request.query_params
        engine, asked = self.desk.engine_of(), Asked.of(query)
        shown: dict[str, Any] = {"error": "", "look": None}
        status = 200
        try:
            if query.get("shift"):
                asked = asked.moved(_days(query["shift"]), engine.clock.now(), engine.live.config.shop.time_zone)
            shown |= self._looked(asked)
        except (RequestError, NotFoundError) as error:
            shown["error"], status = error.line(), error.status
        find = query.get("find", "").strip()[:MAX_ID_LENGTH]
        found = await asyncio.to_thread(active_customers, engine.live, FOUND, find) if "find" in query else []
        context = {**self._form(asked), **shown, "find": find, "searched": "find" in query, "found": found}
        return self.desk.page(request, session, "studio/look.html", context, status)

    def _looked(self, asked: Asked) -> dict[str, Any]:
        engine = self.desk.engine_of()
        now = self._moment(asked)
        look = look_at_page(engine, asked.request(), now)
        sent = []
        if asked.customer or asked.visitor:
            sent = [look_at_action(engine, asked.action(name), now) for name in look.live.config.channels]
        channels = [_sent(each) for each in sent]
        return {
            "look": look, "slots": slots_of(look, _viewer(look.live)), "channels": channels,
            "subject": subject_of(engine, look, asked.request()), "at": wall_clock(now, _zone(look.live)),
            "ahead": (now > engine.clock.now()) - (now < engine.clock.now()) if asked.moment else 0,
        }  # fmt: skip

    def _moment(self, asked: Asked) -> int:
        engine = self.desk.engine_of()
        return asked.instant(engine.clock.now(), _zone(engine.live))

    def _form(self, asked: Asked) -> dict[str, Any]:
        """What the form offers."""
        live = self.desk.engine_of().live
        return {
            "asked": asked, "pages": list(live.config.pages), "surfaces": SURFACES, "devices": DEVICES,
            "regions": live.ranker.regions()[:200], "shifts": SHIFTS, "zone": _zone(live),
            "now": wall_clock(self.desk.engine_of().clock.now(), _zone(live)),
        }  # fmt: skip

    # ---- comparing

    async def compare(self, request: Request, session: Session) -> Response:
        """The same subject and moment under two files or from two bundles. Nothing is published from here."""
        fields: Mapping[str, str] = request.query_params
        if request.method == "POST":
            fields = await self.desk.form(request, session)
        engine, asked = self.desk.engine_of(), Asked.of(fields)
        draft = fields.get("draft", "").replace("\r\n", "\n")
        serving = engine.live.bundle.id
        bundles = fields.get("left") or serving, fields.get("right") or serving
        shown: dict[str, Any] = {"error": "", "comparison": None, "rehearsed": None}
        status = 200
        if request.method == "POST":
            try:
                if fields.get("last"):
                    shown |= await self._rehearsed(draft, fields["last"])
                else:
                    shown |= await self._compared(asked, bundles, draft)
            except KokyakuError as error:
                shown["error"], status = error.line(), error.status
        context = {
            **self._form(asked), **shown, "draft": draft or self._file(), "left": bundles[0], "right": bundles[1],
            "bundles": self.openings.names(), "serving": serving, "file": str(engine.shop.config), "lasts": LASTS,
        }  # fmt: skip
        return self.desk.page(request, session, "studio/compare.html", context, status)

    async def _compared(self, asked: Asked, bundles: tuple[str, str], draft: str) -> dict[str, Any]:
        config = await asyncio.to_thread(self._drafted, draft)
        left = await asyncio.to_thread(self.openings.live, None, bundles[0])
        right = await asyncio.to_thread(self.openings.live, config, bundles[1])
        engine, now = self.desk.engine_of(), self._moment(asked)
        looks = [look_at_page(engine, asked.request(), now, live) for live in (left, right)]
        slots = [slots_of(look, _viewer(look.live)) for look in looks]
        sides = [
            Side(bundle, bool(of), look)
            for bundle, of, look in zip(bundles, (None, config), looks, strict=True)
        ]  # fmt: skip
        greetings = [look.answer["greeting"]["text"] or "" for look in looks]
        return {
            "comparison": compared(*slots), "sides": sides, "at": wall_clock(now, _zone(left)), "greetings": greetings,
        }  # fmt: skip

    async def _rehearsed(self, draft: str, last: str) -> dict[str, Any]:
        config = await asyncio.to_thread(self._drafted, draft)
        found = await self.rehearsals.of(self.desk.engine_of().shop, config, last)
        return {"rehearsed": found, "moving": by_slot(found), "few": FEW}

    def _drafted(self, draft: str) -> ShopConfig | None:
        """The draft as settings; None where it is the shop's file as it stands."""
        return None if not draft.strip() or draft.strip() == self._file().strip() else read_draft(draft)

    def _file(self) -> str:
        path = self.desk.engine_of().shop.config
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    # ---- stopping

    async def stops(self, request: Request, session: Session) -> Response:
        """What is stopped; and the forms that stop and lift."""
        engine = self.desk.engine_of()
        fields: Mapping[str, str] = request.query_params
        error, status = "", 200
        if request.method == "POST":
            fields = await self.desk.form(request, session)
            try:
                asked = stopping(fields, session)
                await asyncio.to_thread(take_stops, engine, asked, engine.clock.now())
                done = "lifted" if asked.lift is not None else "stopped"
                return RedirectResponse(f"{PATH}/stops?done={done}", 303, headers=PRIVATE)
            except KokyakuError as refused:
                error, status = refused.line(), refused.status
        rows = await asyncio.to_thread(all_stops, engine.store)
        context = {
            "error": error, "done": fields.get("done", ""), "kinds": KINDS, "given": given(fields),
            "standing": [told(stop, _zone(engine.live)) for stop in engine.live.stops.each],
            "lifted": [told(stop, _zone(engine.live)) for stop in rows if stop.lifted_at is not None],
        }  # fmt: skip
        return self.desk.page(request, session, "studio/stops.html", context, status)

    # ---- figures

    async def figures(self, request: Request, session: Session) -> Response:
        """Exposures, clicks and purchases of the last hours."""
        hours = request.query_params.get("hours", "")
        chosen = next((each for each in WINDOWS if str(each) == hours), 24)
        found = await self.counted.of(chosen)
        zone = _zone(self.desk.engine_of().live)
        context = {
            "figures": found, "hours": chosen, "windows": WINDOWS,
            "since": wall_clock(found.since, zone), "until": wall_clock(found.until, zone), "zone": zone,
        }  # fmt: skip
        return self.desk.page(request, session, "studio/figures.html", context)

    # ---- sessions

    async def log_in(self, request: Request) -> Response:
        """The form, and a session for an admin key; wrong keys are counted."""
        sessions = self.desk.sessions
        if request.method == "GET":
            there = inside(request.query_params.get("next", PATH))
            return self.desk.page(request, None, "studio/login.html", {"next": there, "error": "", "who": ""})
        fields = await read_form(request)
        there, who = inside(fields.get("next", PATH)), fields.get("who", "")[:200]
        try:
            session = sessions.log_in(request, fields.get("key", ""), who)
        except KokyakuError as error:
            if error.status == 429:
                raise
            context = {"next": there, "error": error.line(), "who": who}
            return self.desk.page(request, None, "studio/login.html", context, error.status)
        response = RedirectResponse(there, 303, headers=PRIVATE)
        sessions.write(request, response, session)
        return response

    async def log_out(self, request: Request, session: Session) -> Response:
        """End the session."""
        await self.desk.form(request, session)
        response = RedirectResponse(f"{PATH}/login", 303, headers=PRIVATE)
        await asyncio.to_thread(self.desk.sessions.end, response, session)
        return response

    async def language(self, request: Request, session: Session) -> Response:
        """The language of the studio, for this session."""
        fields = await self.desk.form(request, session)
        chosen = fields.get("locale", "")
        session = msgspec.structs.replace(session, locale=chosen if chosen in ("en", "ja") else "")
        response = RedirectResponse(inside(fields.get("back", PATH)), 303, headers=PRIVATE)
        self.desk.sessions.write(request, response, session)
        return response


def _viewer(live: Live) -> Viewer:
    """Cards in the shop's language and money."""
    settings = live.config.shop
    return Viewer(
        {
            "name": settings.name, "currency": settings.currency, "locale": settings.locale,
            "bundle_id": live.bundle.id, "as_of": None, "demo": False,
        }
    )  # fmt: skip


def _sent(look: Look) -> tuple[Answer, tuple[Chance, ...]]:
    """What a channel answers, with moments of the wall clock, and what it could have answered.

    A message that waits to be sent is the answer without being decided again.
    """
    until = look.answer.get("until")
    answer = {**look.answer, "until": wall_clock(parse_instant(until), _zone(look.live)) if until else None}
    return answer, chances_of(look.live, look.decisions[0]) if look.decisions else ()


def _zone(live: Live) -> str:
    return live.config.shop.time_zone


def _days(text: str) -> int:
    for days in SHIFTS:
        if text == str(days):
            return days
    raise RequestError("not a step in time", where="shift", got=text, hint=f"one of {', '.join(map(str, SHIFTS))}")
