"""Time in the demo: weeks pass at the press of a button, and orders move on, so that a journey is lived in minutes.

Time passes in the shop, for everybody, so nothing that happens is in anybody's future; an order moves by the same
reports that a shop sends.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from features.errors import NotFoundError, RequestError
from features.moments import DAY, format_instant, parse_instant
from serving.web.forms import Forms, accepted
from serving.web.shopfront import Json, Shopfront

LATER: Final = {"1": 1, "7": 7}
"""Days that can pass at once."""
LATE_BY: Final = 14 * DAY


class Demo:
    """The handlers of the demo's own forms."""

    def __init__(self, shopfront: Shopfront, forms: Forms) -> None:
        self.shopfront, self.forms = shopfront, forms

    async def later(self, request: Request) -> Response:
        """Let days pass in the shop.

        Raises:
            NotFoundError: this shop has no time of its own.
            RequestError: not so many days.
        """
        form, frame = await self.forms.read(request)
        if not (frame.shop["demo"] and frame.shop["travels"]):
            raise NotFoundError("no such page", where=request.url.path)
        if form.get("days") not in LATER:
            raise RequestError("so many days cannot pass at once", where="days", got=form.get("days"))
        await self.shopfront.later(LATER[form["days"]])
        return self.forms.done(request, frame, "later", form)

    async def step(self, request: Request) -> Response:
        """Let an order of the chosen customer move on.

        Raises:
            NotFoundError: outside the demo, or the customer has no such order line.
            RequestError: it cannot move there.
        """
        form, frame = await self.forms.read(request)
        user_id = frame.visit.user_id
        if not frame.shop["demo"] or user_id is None:
            raise NotFoundError("no such page", where=request.url.path)
        key, state = (form.get("order", ""), form.get("line", "")), form.get("do", "")
        orders = await self.shopfront.orders(user_id, frame.locale)
        order = next((each for each in orders if (each["orderId"], each["line"]) == key), None)
        if order is None:
            raise NotFoundError("no such order", where="order", got=key[0])
        if f"demo.says.{state}" not in frame.words:
            raise RequestError("an order cannot move there", where="do", got=state)
        report: Json = {"orderId": key[0], "line": key[1], "userId": user_id, "itemId": order["itemId"]}
        report["text"] = frame.words(f"demo.says.{state}")
        if state == "late":
            from_ = max(parse_instant(order.get("promisedAt") or frame.shop["now"]), parse_instant(frame.shop["now"]))
            report["promisedAt"] = format_instant(from_ + LATE_BY)
        else:
            report["shipmentState"] = state
        accepted(await self.shopfront.send_orders([report]))
        return self.forms.done(request, frame, "step", form)
