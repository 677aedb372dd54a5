"""The way in for a customer who has signed in at the shop, and the way out.

The storefront knows no passwords. The shop's backend, which does, asks `/v1/customers/token` for a token and sends the
browser to `/web/enter` with it; from then on a cookie of ours says who it is, for some hours.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from serving.access import AccessError
from serving.clock import machine_time
from serving.sealed_texts import ENTRY
from serving.web.basket import Basket
from serving.web.forms import Forms
from serving.web.frame import Frame, Framer
from serving.web.identity import begin_session
from serving.web.render import PRIVATE


class Entry:
    """Lets customers in and out."""

    def __init__(self, framer: Framer, forms: Forms) -> None:
        self.framer, self.forms = framer, forms

    async def enter(self, request: Request) -> Response:
        """Be the customer of a token from now on. The address leaves the browser's bar at once.

        Raises:
            AccessError: the token is none of ours, or over.
        """
        visits = self.framer.visits
        found = visits.signer.lent(ENTRY, request.query_params.get("token"), machine_time())
        if found is None:
            hint = "sign in at the shop again"
            raise AccessError("this way in is over, or none of ours", where="entry", hint=hint)
        frame = await self.framer.read(request)
        visit = replace(frame.visit, user_id=found[0], chosen=False)
        response = RedirectResponse("/", 303, headers=PRIVATE)
        visits.let_in(request, response, found[0])
        return self.framer.after_deed(request, response, Frame(frame.shop, visit, frame.basket))

    async def leave(self, request: Request) -> Response:
        """Be somebody new: who uses this browser next shares neither visitor nor basket with who left."""
        _, frame = await self.forms.read(request)
        session = begin_session(request, locale=frame.visit.session.locale)
        visit = replace(frame.visit, user_id=None, chosen=False, visitor=secrets.token_hex(16), session=session)
        response = RedirectResponse("/", 303, headers=PRIVATE)
        return self.framer.after_deed(request, response, Frame(frame.shop, visit, Basket()))
