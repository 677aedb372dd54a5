"""Hostile requests to the pages: storefront and studio, with forms that come from them and forms that do not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from tests.test_serving.hostile import Attack
from tests.test_serving.hostile_words import MARKUP, NUMBERS, STRINGS

WORDS = (*STRINGS, *(str(number) for number in NUMBERS), MARKUP * 300, "a0", "b3", "t=1&t=2")
PAGES = (
    "/", "/web/landing", "/web/category", "/web/search", "/web/item", "/web/basket", "/web/wishlist", "/web/me",
    "/web/order", "/web/thanks", "/web/share", "/web/photo", "/web/home/live", "/web/search/live", "/web/item/live",
    "/web/category/live", "/web/customers", "/web/receipt", "/web/go", "/web/me/export", "/web/picture/winter.svg",
    "/web/picture/x.svg", "/web/nothing", "/web/static/../../secret.key", "/web/picture/../../../etc/passwd",
)  # fmt: skip
FORMS = (
    "/web/events", "/web/review", "/web/answer", "/web/consent", "/web/me/erase", "/web/demo/later", "/web/demo/step",
)  # fmt: skip
DESKS = (
    "/studio", "/studio/compare", "/studio/stops", "/studio/figures", "/studio/language", "/studio/logout",
    "/studio/login",
)  # fmt: skip
ASKED = (
    "q", "id", "path", "to", "lang", "customer", "visitor", "region", "decisionId", "slot", "position", "utm_campaign",
    "utm_source", "gclid", "back", "next", "hours", "page", "userId", "visitorId", "surface", "moment", "left",
    "right",
)  # fmt: skip
FIELDS = (
    "do", "once", "from", "quantity", "text", "photo", "item", "question", "answer", "sure", "back", "days", "order",
    "line", "token", "draft", "left", "right", "last", "kind", "name", "because", "by", "lift", "locale", "key", "who",
    "next", "page", "userId", "visitorId", "region", "device", "moment",
)  # fmt: skip
DEEDS = (
    "type=wishlist&itemId=a0", "type=cart&itemId=b1", "type=order", "type=purchase&itemId=a2", "skip", "forget",
    "both", "none", "yes marketing", "no personalization", "type=view&itemId=a0", "type=cart&itemId=" + "x" * 600,
)  # fmt: skip
DRAFTS = (
    "[shop]\nname = 'x'\n", "[", "a = 1\n" * 5_000,
    "[actions.x]\nkind = 'content'\ntexts = [{title = '" + MARKUP + "'}]\n", "[pages.home]\nslots = []\n",
    "x = " + "[" * 500, "[shop]\ntime-zone = '../../etc/localtime'\n", "\x00", "[shop]\nholdout = nan\n",
)  # fmt: skip
SHOWN = ("User-Agent", "Referer", "Accept-Language", "Cookie", "Accept", "Origin", "Sec-Fetch-Site", "Host", "Purpose")


@dataclass(frozen=True)
class Held:
    """What a browser holds that has looked at a page: cookies, and the token of its forms."""

    cookies: str
    token: str


def web_attacks(seed: int, count: int, visitor: Held, admin: Held) -> Iterator[Attack]:
    """So many requests.

    Args:
        seed: of the draws.
        count: how many.
        visitor, admin: what a visitor of the shop and somebody in the studio hold.
    """
    draw = random.Random(f"web {seed}")
    for number in range(count):
        yield (_look, _form, _look, _desk)[number % 4](draw, visitor, admin)


def _look(draw: random.Random, visitor: Held, _: Held) -> Attack:
    """A page is asked for with hostile parameters and headers."""
    query = "&".join(f"{draw.choice(ASKED)}={_escaped(draw)}" for _ in range(draw.randrange(4)))
    headers = {"Cookie": visitor.cookies} if draw.random() < 0.5 else {}
    if draw.random() < 0.4:
        headers[draw.choice(SHOWN)] = _word(draw).encode("utf-8", "surrogatepass").decode("latin-1").replace("\n", " ")
    return Attack(draw.choice(("GET", "GET", "GET", "HEAD", "POST")), f"{draw.choice(PAGES)}?{query}", b"", headers)


def _form(draw: random.Random, visitor: Held, _: Held) -> Attack:
    """A form of the storefront, most often with the token of its page, with hostile fields."""
    return _posted(draw, draw.choice(FORMS), visitor)


def _desk(draw: random.Random, _: Held, admin: Held) -> Attack:
    """The studio, by somebody who is in it or is not."""
    path = draw.choice(DESKS)
    if draw.random() < 0.5:
        query = "&".join(f"{draw.choice(FIELDS + ASKED)}={_escaped(draw)}" for _ in range(draw.randrange(4)))
        headers = (
            {"Cookie": admin.cookies} if draw.random() < 0.7 else {"Cookie": _word(draw).encode().decode("latin-1")}
        )
        return Attack("GET", f"{path}?{query}", b"", headers, sees_all=True)
    return _posted(draw, draw.choice(DESKS[1:5]), admin, sees_all=True)


def _posted(draw: random.Random, path: str, held: Held, *, sees_all: bool = False) -> Attack:
    fields = {draw.choice(FIELDS): _escaped(draw) for _ in range(draw.randrange(3))}
    fields |= {"do": quote(draw.choice(DEEDS))} if draw.random() < 0.5 else {}
    fields |= {"draft": quote(draw.choice(DRAFTS))} if "compare" in path else {}
    fields |= {"token": quote(held.token)} if draw.random() < 0.8 else {}
    body = "&".join(f"{name}={value}" for name, value in fields.items()).encode("latin-1")
    kind = (
        "application/x-www-form-urlencoded"
        if draw.random() < 0.9
        else draw.choice(("", "application/json", "multipart/form-data"))
    )
    headers = {"Content-Type": kind, "Cookie": held.cookies}
    headers |= {"Accept": "application/json"} if draw.random() < 0.3 else {}
    if draw.random() < 0.05:
        body = draw.choice((b"\xff\xfe", b"a=" + b"%ff" * 100, b"&" * 5_000, b"a" * 300_000, b"token", b"=" * 100))
    headers |= {"X-Send": draw.choice(("chunked", "cut"))} if draw.random() < 0.05 else {}
    return Attack("POST", path, body, headers, sees_all=sees_all)


def _word(draw: random.Random) -> str:
    return draw.choice(WORDS).encode("utf-8", "replace").decode()


def _escaped(draw: random.Random) -> str:
    if draw.random() < 0.1:
        return draw.choice(("%ff", "%00", "%", "%u0041", "a+b", "%ed%a0%80", "%c0%af", "\x80\xff"))
    return quote(_word(draw)[:6_000])
