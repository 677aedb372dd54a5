"""Whatever is put into a parser, it reads it or says in one line what is wrong with it; it never breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from features.errors import KokyakuError
from features.moments import is_zone, parse_instant
from serving import tokens, wire, wire_people
from serving.bodies import MAX_BODY, read_body
from serving.config import read_config
from serving.context import completed
from serving.headers import headers_of
from serving.openapi import EXAMPLES
from serving.query import Context
from serving.web import actions
from serving.web.basket import decode_basket
from serving.web.identity import Signer, Visits, begin_session, same_origin
from serving.web.studio.asked import Asked
from serving.web.studio.desk import inside, read_form
from tests.test_serving.hostile import written
from tests.test_serving.hostile_words import NUMBERS, OTHERS, STRINGS

KINDS = (
    *dict.fromkeys(kind for kind, *_ in EXAMPLES.values()),
    wire.EventIn,
    wire.ItemIn,
    tokens.BrowserEventIn,
    wire_people.OrderIn,
)
FIELDS = sorted({name for kind in KINDS for name in kind.__struct_encode_fields__})
SIGNER = Signer(lambda: b"a secret of the tests, long enough")
NOW = 20_000 * 86_400_000_000

texts = st.one_of(st.sampled_from(STRINGS), st.text(max_size=40), st.text(st.characters(), max_size=20))
values = st.recursive(
    st.one_of(texts, st.sampled_from(NUMBERS), st.sampled_from(OTHERS), st.integers(), st.floats()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=5)
encodings = st.sampled_from(("utf-8", "utf-16", "utf-32", "latin-1", "utf-7", "cp932"))
moments = st.one_of(
    texts, st.datetimes().map(str), st.datetimes(timezones=st.timezones()).map(str),
    st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?([+-]\d\d:\d\d|Z)?", fullmatch=True),
)  # fmt: skip
headers = st.dictionaries(
    st.sampled_from(("host", "origin", "referer", "user-agent", "accept-language", "sec-fetch-site", "cookie",
        "content-type",
                     "content-length", "content-encoding")),
    st.text(st.characters(max_codepoint=255), max_size=60) | st.sampled_from(STRINGS).map(lambda text: text.encode(
        "utf-8", "surrogatepass").decode("latin-1")),
    max_size=6,
)  # fmt: skip
tomls = st.one_of(
    texts, st.lists(st.sampled_from((
        "[shop]\n", "[pages.home]\n", "slots = [", "[[pages]]\n", "holdout = nan\n", "holdout = inf\n",
            "holdout = 1e999\n", "]\n",
        "time-zone = 'Mars'\n", "[channels.a]\n", "actions = ['x']\n", "[actions.x]\n", "kind = 'content'\n",
        "a.b.c = 1\n",
        "x = " + "[" * 900 + "\n", "texts = [{title = '{'}]\n", "name = '\\u0000'\n", "currency = ''\n", "1 = 2\n",
            "'' = ''\n",
        "until = 2024-01-01\n", "from = 9999-12-31T23:59:59Z\n", "[experiments.e]\n", "[segments.s]\n",
        "when = {if = '('}\n",
    )), max_size=8).map("".join),
)  # fmt: skip


def fine(parser: Callable[..., Any], *given: Any) -> Any:
    """What it reads; None where it refuses with one printable line."""
    try:
        return parser(*given)
    except KokyakuError as error:
        assert error.status < 500 and error.line().isprintable(), repr(error.line())
        return None


def request(given: Mapping[str, str], query: str = "", body: bytes = b"") -> Request:
    """A request as a server would hand it over."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    lines = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    scope = {"type": "http", "method": "POST", "scheme": "http", "path": "/",
        "query_string": quote(query, errors="replace", safe="=&%").encode(),
             "headers": lines, "server": ("127.0.0.1", 3000), "client": ("127.0.0.1", 5)}  # fmt: skip
    return Request(scope, receive)


@settings(max_examples=300)
@given(kind=st.sampled_from(KINDS), body=bodies, encoding=encodings)
def test_a_body_is_read_or_the_field_is_named(kind, body, encoding):
    """NaN, infinity, halves of pairs, numbers beyond all, other encodings."""
    raw = written(body).decode().encode(encoding)
    try:
        wire.decode(raw, kind)
    except KokyakuError as error:
        assert error.status == 400 and error.where and error.line().isprintable(), repr(error.line())
        assert len(error.line()) < 2_000


@given(kind=st.sampled_from(KINDS), raw=st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(kind, raw):
    fine(wire.decode, raw, kind)


@pytest.mark.parametrize("deep", [b"[", b'{"a":', b'{"filter":{"values":{"a":[', b'{"events":[{"properties":{"a":'])
@pytest.mark.parametrize("depth", [10, 1_000, 100_000])
def test_what_is_nested_deeply_is_refused(deep, depth):
    for kind in KINDS:
        with pytest.raises(KokyakuError):
            wire.decode(deep * depth, kind)


@given(moments)
def test_a_moment_is_read_or_refused(text):
    at = fine(parse_instant, text)
    assert at is None or isinstance(at, int)


@given(texts)
def test_a_time_zone_is_one_or_none(text):
    """No path leads out of the folder of zones."""
    assert is_zone(text) in (True, False)
    assert not is_zone(f"../../etc/{text}")


@settings(max_examples=200)
@given(tomls)
def test_a_draft_of_the_shops_file_is_read_or_refused(text):
    fine(read_config, text, "draft")


@given(given_headers=headers, query=texts)
def test_headers_and_addresses_of_a_browser_are_taken_as_they_come(given_headers, query):
    asked = request(given_headers, query)
    begin_session(asked)
    same_origin(asked)
    Visits(SIGNER).read(asked, demo=True)
    told = {"url": query, "referrer": given_headers.get("referer"), "user_agent": given_headers.get("user-agent")}
    completed(Context(**told))


@given(given_headers=headers, body=st.binary(max_size=200))
def test_bodies_and_forms_are_read_or_refused(given_headers, body):
    """A body of the API, a form of the storefront, a form of the studio."""
    for reader in (_read_body, actions.read_form, read_form):
        read = fine(lambda reader=reader: asyncio.run(_read(reader, given_headers, body)))
        assert read is None or isinstance(read, bytes | dict)


async def _read_body(asked: Request) -> bytes:
    return await read_body(headers_of(asked.scope), asked.receive)


async def _read(reader: Callable[[Request], Any], given: Mapping[str, str], body: bytes) -> Any:
    return await reader(request(given, body=body))


@given(st.dictionaries(st.sampled_from(("do", "from", "quantity", "once", "back")), texts), texts)
def test_a_deed_is_read_or_refused(form, sealed):
    form = {name: text.encode("utf-8", "replace").decode() for name, text in form.items()}  # as a form is read
    fine(actions.read_deed, form)
    assert SIGNER.open("visitor", sealed) is None
    assert len(decode_basket(sealed.encode("utf-8", "replace"))) >= 0


@given(st.dictionaries(st.sampled_from(sorted(Asked().__dict__)), texts), moments)
def test_what_the_studio_is_asked_is_read_or_refused(fields, moment):
    said = {name: text.encode("utf-8", "replace").decode() for name, text in fields.items()}
    asked = Asked.of({**said, "moment": moment.encode("utf-8", "replace").decode()})
    fine(asked.request)
    fine(asked.instant, NOW, "Asia/Tokyo")
    fine(asked.moved, 7, NOW, "Asia/Tokyo")
    assert inside(said.get("url", "")).startswith("/studio")


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "9" * 300, "9" * 5_000])
def test_a_length_of_any_size_is_too_much(length):
    with pytest.raises(KokyakuError, match="too large"):
        asyncio.run(_read(_read_body, {"content-length": length}, b""))
