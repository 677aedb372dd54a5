"""What is around every page: the frame, its cookies, and how refusals look."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response

from features.errors import KokyakuError, NotFoundError
from serving.intake import error_body
from serving.limits import TooManyError
from serving.sealed_texts import Signer
from serving.watch import watching
from serving.web.basket import Basket, decode_basket
from serving.web.identity import Visit, Visits, same_origin
from serving.web.render import PRIVATE, Handler, html
from serving.web.shopfront import ConsentJson, Shopfront, ShopJson
from serving.web.strings import TEXTS, Words, format_minute, format_moment, words_of

SAID_AGE: Final = 30
"""Seconds for which a message waits for the page that shows it."""

MAX_SAID: Final = 1_000
BANNER: Final = "personalization"
"""The purpose that a new visitor is asked about first of all."""

_NO_SHOP: Final[ShopJson] = {
    "name": "", "currency": "USD", "locale": "en", "bundle_id": "", "as_of": None, "demo": False,
    "now": "1970-01-01T00:00:00Z", "timeZone": "UTC", "travels": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """The shop, who visits it, what is in the basket, and what they agreed to."""

    shop: ShopJson
    visit: Visit
    basket: Basket
    consents: tuple[ConsentJson, ...] = ()

    @property
    def who(self) -> tuple[str | None, str | None]:
        """Customer and visitor, of whom exactly one is known."""
        return self.visit.user_id, self.visit.visitor_id

    @property
    def locale(self) -> str:
        """Language of the words: as chosen in this visit, else the shop's."""
        return self.words.locale

    @property
    def words(self) -> Words:
        """The storefront's words in that language."""
        return words_of(self.visit.session.locale or self.shop["locale"])

    @property
    def unasked(self) -> bool:
        """Whether the person never said if the page may be about them, and the shop relies on their word."""
        return any(each["purpose"] == BANNER and not each["at"] and not each["assumed"] for each in self.consents)

    def context(self, signer: Signer, said: str) -> dict[str, Any]:
        """The variables of the base template; `said` is the key of what just happened, and words of its own."""
        t, shop = self.words, self.shop
        key, _, more = said.partition("\n")
        told = t(f"said.{key}") if f"said.{key}" in TEXTS["en"] else ""
        return {
            "t": t,
            "shop": shop,
            "as_of": format_moment(shop["as_of"]),
            "clock": format_minute(shop["now"], shop["timeZone"], t.locale),
            "visit": self.visit,
            "basket_count": len(self.basket),
            "token": signer.token(self.visit.visitor),
            "once": secrets.token_hex(8),
            "said": t("answer.used", what=told, why=more) if told and more else told,
            "banner": self.unasked,
            "other": "en" if t.locale == "ja" else "ja",
            "query": "",
        }


class Framer:
    """Reads the frame of a request and writes pages, messages and refusals in it."""

    def __init__(self, shopfront: Shopfront, visits: Visits) -> None:
        self.shopfront, self.visits = shopfront, visits

    async def read(self, request: Request) -> Frame:
        """The frame of a request."""
        frame = self._read(request, await self.shopfront.shop())
        return replace(frame, consents=tuple(await self.shopfront.consents(*frame.who)))

    def _read(self, request: Request, shop: ShopJson) -> Frame:
        visit = self.visits.read(request, demo=shop["demo"])
        return Frame(shop, visit, decode_basket(self.visits.get(request, "basket")))

    def page(self, request: Request, frame: Frame, template: str, context: dict[str, Any]) -> Response:
        """A rendered page (or fragment); a waiting message is shown once."""
        said = (self.visits.get(request, "said") or b"").decode()
        response = html(template, **{**frame.context(self.visits.signer, said), **context})
        self.visits.write(request, response, frame.visit)
        self.visits.drop(request, response, "said")
        return response

    def after_deed(self, request: Request, response: Response, frame: Frame, said: str = "") -> Response:
        """The answer to a deed with the basket as it is now, and what the next page shall say.

        Args:
            said: a key, and after a line's end words of the shop that belong to it.
        """
        if frame.basket.lines:
            self.visits.put(request, response, "basket", frame.basket.encode(), None)
        else:
            self.visits.drop(request, response, "basket")
        if said:
            self.visits.put(request, response, "said", said[:MAX_SAID].encode("utf-8", "replace"), SAID_AGE)
        self.visits.write(request, response, frame.visit)
        return response

    def sealed(self, url: str, decision_id: str, slot: str) -> str:
        """The address that leads where an action of the shop points, and remembers which decision led there."""
        payload = msgspec.json.encode((url, decision_id, slot))
        return f"/web/go?to={self.visits.signer.seal('go', payload)}"

    def opened(self, sealed: str) -> tuple[str, str, str]:
        """Address, decision and slot of `sealed`.

        Raises:
            NotFoundError: it is none of ours: nobody is sent anywhere by a stranger's link.
        """
        payload = self.visits.signer.open("go", sealed)
        if payload is None:
            raise NotFoundError("no such page", where="to")
        return msgspec.json.decode(payload, type=tuple[str, str, str])

    def ours(self, request: Request, token: str, visit: Visit) -> bool:
        """Whether a form came from a page that we rendered for this visitor."""
        expected = self.visits.signer.token(visit.visitor).encode()
        return self.visits.known(request) and same_origin(request) and hmac.compare_digest(token.encode(), expected)

    def looks(self, request: Request) -> bool:
        """Whether a person looks: not a prefetch, and not the redirect after a form of the same page."""
        purpose = request.headers.get("sec-purpose", "") + request.headers.get("purpose", "")
        return "prefetch" not in purpose and self.visits.get(request, "said") is None

    def guarded(self, handler: Handler) -> Handler:
        """The handler with our errors answered as a page (JSON for scripts) instead of a traceback.

        A HEAD is answered without deciding a page: monitors are not customers.
        """

        async def storefront(request: Request) -> Response:
            try:
                if request.method == "HEAD":
                    return Response(headers=PRIVATE, media_type="text/html; charset=utf-8")
                return await handler(request)
            except KokyakuError as error:
                return await self.refusal(request, error)

        return storefront

    async def refusal(self, request: Request, error: KokyakuError) -> Response:
        """An error in words for a person, with its status."""
        if error.status >= 500:
            watching().failed(error.code, error.line())
        response = await self._told(request, error)
        if isinstance(error, TooManyError):
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    async def _told(self, request: Request, error: KokyakuError) -> Response:
        try:
            shop = await self.shopfront.shop()
        except KokyakuError:  # no bundle at all: what went wrong first is what is told
            shop = _NO_SHOP
        frame = self._read(request, shop)
        t = frame.words
        status, title, hint = _explain(error)
        detail = t(hint) if hint else error.line()
        if wants_json(request):
            said = f"{t(title)} {detail}" if hint else t(title)
            body = {"code": error.code, "message": error.line(), "field": error.where}
            return json_response({"error": {**(error_body(error) if status >= 500 else body), "said": said}}, status)
        context = {**frame.context(self.visits.signer, ""), "title": t(title), "detail": detail}
        return html("error.html", status, **context, place="error", back="/")


_MISSING: Final = {
    "id": "error.item", "order": "error.order", "category": "error.category", "receipt": "error.receipt",
}  # fmt: skip


def _explain(error: KokyakuError) -> tuple[int, str, str]:
    """Status, key of the title and key of the hint (empty: the error's own line) of an error."""
    if error.status >= 500:
        return error.status, "error.shop", "error.shop.hint"
    if error.where == "token":
        return 403, "error.token", "error.token.hint"
    if error.status == 429:
        return 429, "error.many", "error.many.hint"
    if error.status == 403 and error.where == "do.type":
        return 403, "error.sale", "error.sale.hint"
    if error.status == 404:
        return 404, _MISSING.get(error.where or "", "error.gone"), ""
    return error.status, "error.full" if error.where == "basket" else "error.title", ""


def wants_json(request: Request) -> bool:
    """Whether our script asks, and not a plain form."""
    return "application/json" in request.headers.get("accept", "")


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """An answer for our script."""
    return Response(orjson.dumps(body), status, media_type="application/json", headers=PRIVATE)
