"""What hostile requests found once, each as the smallest request that shows it."""

from __future__ import annotations

import asyncio
import gzip

import orjson
import pytest

from features.errors import ConfigError
from serving.config import read_config
from serving.web.studio.figures import WINDOWS
from tests.test_serving.fuzzing import KEYED, Answer, World, ask, attacked, enter
from tests.test_serving.hostile import Attack

UPDATE, ASK = "/v1/customers/update", "/v1/recommendations"
GOOD = b'{"userId":"ann"}'


@pytest.fixture
def world(toy_shop):
    with attacked(toy_shop) as opened:
        yield opened


def sent(world: World, path: str, body: bytes = GOOD, method: str = "POST", **headers: str) -> Answer:
    given = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return asyncio.run(ask(world.app, Attack(method, path, body, given)))


def refused(answer: Answer) -> tuple[int, str]:
    """Status and field."""
    return answer.status, orjson.loads(answer.body)["error"]["field"]


def test_a_number_beyond_64_bits_is_refused_by_its_field(world):
    """Nothing of that request is kept."""
    body = orjson.dumps({"userId": "ann", "tier": "gold", "attributes": {"n": 0}}).replace(b"0", b"9" * 30)
    assert refused(sent(world, UPDATE, body)) == (400, "attributes")
    assert orjson.loads(sent(world, "/v1/customers/read").body)["fields"] == {}


def test_a_field_without_a_name_is_one_of_the_body(world):
    assert refused(sent(world, ASK, b'{"":1}')) == (400, "body")


def test_a_field_of_control_characters_is_told_on_one_line(world):
    answer = sent(world, ASK, orjson.dumps({"a\nb\x00": 1}))
    assert refused(answer) == (400, "a\\nb\\x00")


def test_the_name_of_a_field_is_not_sent_back_in_full(world):
    answer = sent(world, ASK, orjson.dumps({"x" * 90_000: 1}))
    assert answer.status == 400 and len(answer.body) < 1_000


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP "])
def test_what_is_compressed_is_not_unpacked(world, coding):
    answer = sent(world, ASK, gzip.compress(GOOD), content_encoding=coding)
    assert refused(answer) == (415, "Content-Encoding")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json; charset=utf-8", 200), ("text/plain", 200), ("application/merge-patch+json", 200), ("", 200),
        ("application/x-www-form-urlencoded", 200), ("application/xml", 415), ("multipart/form-data; boundary=x", 415),
    ],
)  # fmt: skip
def test_kinds_of_bodies(world, kind, status):
    """What `curl -d` and a browser's beacon call it is read; what says that it is something else is refused."""
    assert sent(world, ASK, content_type=kind).status == status


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_refused_with_those_that_there_are(world, method):
    answer = sent(world, ASK, method=method)
    assert answer.status == 405 and answer.headers[b"allow"] == b"POST"
    assert answer.headers[b"content-type"] == b"application/json"


@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
def test_what_is_not_there_says_so_to_every_method(world, method):
    assert refused(sent(world, "/v1/nothing", method=method)) == (404, "path")


@pytest.mark.parametrize("length", ["\xb2", "9" * 5_000])
def test_a_length_that_python_reads_as_no_number(world, length):
    assert sent(world, ASK, content_length=length).status in (200, 413)


@pytest.mark.parametrize("path", [ASK, "/web/events", "/studio/login"])
def test_a_client_that_hangs_up_is_no_error_of_ours(world, path):
    """Neither a traceback in the log nor a 500 in the figures."""
    answer = sent(world, path, x_send="cut", content_type="application/x-www-form-urlencoded")
    assert answer.status == 499 and not world.broken


@pytest.mark.parametrize("path", ["/", "/studio", "/studio/login", "/v1/nothing", "/web/me", "/openapi.json"])
def test_bytes_beyond_ascii_in_an_address(world, path):
    """A client that escapes nothing; a browser would have."""
    assert sent(world, f"{path}?q=\x80\xff", b"", "GET").status in (200, 303, 404)


def test_a_draft_that_is_nested_too_deeply(world):
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_config("x = " + "[" * 5_000, "draft")


def test_hours_of_thousands_of_digits_are_no_window(world):
    _, admin = enter(world)
    shown = sent(world, f"/studio/figures?hours={'9' * 5_000}", b"", "GET", cookie=admin.cookies)
    assert shown.status == 200 and 24 in WINDOWS


def test_a_key_is_needed_for_all_that(world):
    """So none of the above was answered to just anybody."""
    assert sent(world, ASK, x_api_key="wrong").status == 401
    assert set(KEYED) == {"X-Api-Key"}
