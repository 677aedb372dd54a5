"""A shop that is attacked: it counts what it answered, and holds every answer and every line of the log to the rules.

    with attacked(shop) as world:
        world.send(hostile.attacks(seed, 500))
    assert not world.broken

Nothing of the network is between an attack and the application, so a failure is the service's own.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import orjson
from starlette.types import ASGIApp, Message

from serving.access import Access, KeyEntry
from serving.clock import set_clock
from serving.engine import Engine
from serving.face import face
from serving.guard import Guard
from serving.http import HANDLERS
from serving.openapi import document
from serving.wire_answers import ANSWERS, ErrorAnswer
from tests.test_serving.conftest import AS_OF
from tests.test_serving.hostile import TOKEN, Attack, Canaries
from tests.test_serving.hostile_web import Held

KEY = "the key of a test"
KEYED = {"X-Api-Key": KEY}
AT_ONCE = 8
"""Requests that are under way together."""
MAX_REFUSAL = 4_000
"""Bytes of an answer that says no: it does not send back what it was sent."""
RAW = (b"<script>alert(1)", b"<img src=x", b"<svg/onload", b'href="javascript:', b"\r\nSet-Cookie: a=b")
"""What no page may hold as it was sent."""
TOML = """[consent]
assumed = ["personalization"]
basis = "they agreed"
[shop]
holdout = 0.0
[actions.autumn]
kind = "content"
texts = [{title = "A day in autumn", text = "Leaves & tea"}]
[channels.email]
actions = ["autumn"]
purpose = "personalization"
[questions.pet]
text = {en = "Which pet?"}
why = {en = "For this page."}
"""
_POSTS = {path: told["post"] for path, told in document("0", {})["paths"].items() if "post" in told}
_ANSWERED = {path: {int(code) for code in told["responses"]} for path, told in _POSTS.items()}
_FORMS = itertools.count(1)
_CARRIED = {401: b"www-authenticate", 405: b"allow", 429: b"retry-after", 503: b"retry-after"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes
    cookies: str
    """As the next request sends them."""


class Listener(logging.Handler):
    """Every line of the log, as a program would write it."""

    def __init__(self, told: Callable[[str, str], None], leaked: Callable[[bytes], list[str]]) -> None:
        super().__init__(logging.INFO)
        self._told, self._leaked = told, leaked

    def emit(self, record: logging.LogRecord) -> None:
        """Hold one line to the rules."""
        line = record.getMessage()
        if record.exc_info:
            self._told("a traceback in the log", f"{line}: {record.exc_info[1]!r}")
        if not line.isprintable():
            self._told("a control character in the log", repr(line))
        if self._leaked(line.encode("utf-8", "replace")):
            self._told("somebody else's data in the log", line)


class World:
    """A shop under attack.

    Args:
        app: what answers.
        canaries: who is never asked for.
    """

    def __init__(self, app: ASGIApp, canaries: Canaries) -> None:
        self.app, self.canaries = app, canaries
        self.seen: Counter[tuple[str, int]] = Counter()
        self.broken: dict[tuple[str, str], str] = {}
        """(rule, where) -> the first request that broke it."""
        self.token = b""
        """Of a visitor of a page."""

    def send(self, attacks: Iterable[Attack]) -> None:
        """Attack, a few at once."""
        asyncio.run(self._send(iter(attacks)))

    async def _send(self, attacks: Iterator[Attack]) -> None:
        while wave := list(itertools.islice(attacks, AT_ONCE)):
            await asyncio.gather(*(self._one(attack) for attack in wave))

    async def _one(self, attack: Attack) -> None:
        attack = replace(attack, body=attack.body.replace(TOKEN.encode(), self.token))
        try:
            answer = await ask(self.app, attack)
        except Exception as error:
            self.tell("an exception left the application", f"{attack.path} {error!r}", attack)
            return
        self.count(attack, answer)

    def count(self, attack: Attack, answer: Answer) -> None:
        """Count an answer and hold it to the rules."""
        path = attack.path.partition("?")[0]
        self.seen[path if path in HANDLERS or not path.startswith("/v1/") else "/v1/*", answer.status] += 1
        for rule in broken_rules(attack, answer):
            self.tell(rule, path, attack, answer)
        if not attack.sees_all and self.canaries.leaked(answer.body + b"".join(answer.headers.values())):
            self.tell("somebody else's data in an answer", path, attack, answer)

    def tell(self, rule: str, where: str, attack: Attack | None = None, answer: Answer | None = None) -> None:
        """Keep the first case of a broken rule."""
        got = "" if answer is None else f" -> {answer.status} {answer.body[:300]!r}"
        self.broken.setdefault((rule, where), f"{attack!r:.600}{got}")

    def report(self) -> dict[str, Any]:
        """Counts by route and status, as JSON."""
        told: dict[str, dict[str, int]] = {}
        for (path, status), count in sorted(self.seen.items()):
            told.setdefault(path, {})[str(status)] = count
        return {"requests": self.seen.total(), "broken": [list(case) for case in self.broken], "routes": told}


def broken_rules(attack: Attack, answer: Answer) -> Iterator[str]:
    """The rules that an answer breaks."""
    path = attack.path.partition("?")[0]
    if answer.status >= 500:
        yield "a server's error"
    if b"Traceback (most recent" in answer.body or b'File "/' in answer.body:
        yield "a traceback in the body"
    if _CARRIED.get(answer.status, b"") not in {b"", *answer.headers}:
        yield f"{answer.status} without its header"
    if any(raw in answer.body for raw in RAW) and b"html" in answer.headers.get(b"content-type", b""):
        yield "markup of a stranger in a page"
    if answer.status >= 400 and len(answer.body) > MAX_REFUSAL and b"json" in answer.headers.get(b"content-type", b""):
        yield "a refusal that sends back what it was sent"
    if path in _ANSWERED and attack.method != "HEAD" and answer.status != 499:
        yield from _of_the_document(path, answer)


def _of_the_document(path: str, answer: Answer) -> Iterator[str]:
    if answer.status not in _ANSWERED[path]:
        yield f"{answer.status} is not in the document"
    if answer.headers.get(b"content-type") != b"application/json":
        yield "not JSON"
        return
    told = orjson.loads(answer.body)
    kind = ErrorAnswer if answer.status >= 400 else ANSWERS[path]
    try:
        if msgspec.to_builtins(msgspec.convert(told, kind)) != told:
            yield "more in the answer than the document says"
    except msgspec.ValidationError as error:
        yield f"not the answer of the document: {error}"
    else:
        if answer.status == 400 and not told["error"]["field"]:
            yield "a refusal that names no field"


async def ask(app: ASGIApp, attack: Attack) -> Answer:
    """One request to an application, as a server would hand it over."""
    path, _, query = attack.path.partition("?")
    given = {"host": "127.0.0.1", **KEYED, "content-length": str(len(attack.body)), **attack.headers}
    how = given.pop("X-Send", "")
    if how:
        del given["content-length"]
    names = {name.lower(): value for name, value in given.items()}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": attack.method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode("latin-1"), "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in names.items()],
        "client": (_address(path), 50_000), "server": ("127.0.0.1", 3000), "state": {},
    }  # fmt: skip
    messages = iter(_messages(attack.body, how))
    sent: list[Message] = []

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return answer_of(sent)


def _address(path: str) -> str:
    """Of the storefront's forms most come from a network of their own: else its limit would be all that answers."""
    number = next(_FORMS) if path.startswith("/web/") else 0
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" if number % 10 else "127.0.0.1"


def _messages(body: bytes, how: str) -> list[Message]:
    """A body at once, `chunked`, or `cut`: the client hangs up in the middle of it."""
    pieces = [body[at : at + 7_000] for at in range(0, len(body), 7_000)] if how == "chunked" else [body]
    more = [True] * (len(pieces) - 1) + [how == "cut"]
    return [{"type": "http.request", "body": part, "more_body": goes_on}
            for part, goes_on in zip(pieces or [b""], more or [False], strict=True)]  # fmt: skip


def answer_of(sent: Sequence[Message]) -> Answer:
    """The answer that an application sent; 499 where it saw that nobody is there any more."""
    if not sent:
        return Answer(499, {}, b"", "")
    headers = [(bytes(name).lower(), bytes(value)) for name, value in sent[0]["headers"]]
    cookies = "; ".join(value.partition(b";")[0].decode("latin-1") for name, value in headers if name == b"set-cookie")
    return Answer(sent[0]["status"], dict(headers), b"".join(each.get("body", b"") for each in sent[1:]), cookies)


@contextmanager
def attacked(shop: Any, seed: int = 1) -> Iterator[World]:
    """The whole face of a service (API, storefront, studio) over a shop, with keys; canaries are planted."""
    set_clock(shop, AS_OF)
    shop.config.write_text(TOML)
    engine = Engine(shop, worker="test")
    _waiting_for_the_disk(engine)
    access = Access(
        dev=False, keys=(KeyEntry(KEY, ("admin",)), KeyEntry("reader", ("read",)), KeyEntry("page", ("browser",)))
    )
    world = World(application(engine, access), Canaries(seed))
    world.canaries.plant(lambda path, body: _posted(world, path, body))
    world.token = _posted(world, "/v1/visitors/token", {"visitorId": "a visitor"})[1]["visitorToken"].encode()
    listener = Listener(world.tell, world.canaries.leaked)
    root, ours = logging.getLogger(), logging.getLogger("kokyaku")
    level = ours.level
    root.addHandler(listener)
    ours.setLevel(logging.INFO)
    try:
        yield world
    finally:
        ours.setLevel(level)
        root.removeHandler(listener)
        engine.close()


def _waiting_for_the_disk(engine: Engine) -> None:
    """A disk that stalls for seconds is answered with 503, as it should be; that is none of what is looked for here."""
    submit = engine.store._writes.submit
    engine.store._writes.submit = lambda rows, patience=0.0: submit(rows, 60.0)  # type: ignore[method-assign]


def application(engine: Engine, access: Access) -> ASGIApp:
    """What a service mounts and what is around it, without the framework in between."""
    return Guard(face(lambda: engine, access), access, origins=lambda: ("https://shop.example",))


def _posted(world: World, path: str, body: Any) -> tuple[int, Any]:
    answer = asyncio.run(ask(world.app, Attack("POST", path, orjson.dumps(body))))
    return answer.status, orjson.loads(answer.body)


def enter(world: World) -> tuple[Held, Held]:
    """A visitor of the storefront, and somebody who logged into the studio."""
    page = asyncio.run(ask(world.app, Attack("GET", "/")))
    form = f"key={KEY}&who=tester&next=/studio".replace(" ", "+").encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    inside = asyncio.run(ask(world.app, Attack("POST", "/studio/login", form, kind)))
    desk = asyncio.run(ask(world.app, Attack("GET", "/studio/stops", b"", {"Cookie": inside.cookies})))
    return Held(page.cookies, _token(page)), Held(inside.cookies, _token(desk))


def _token(page: Answer) -> str:
    found = re.search(rb'name="token" value="([^"]+)"', page.body)
    assert found, page
    return found[1].decode()


def write_report(where: Path, name: str, told: Mapping[str, Any]) -> None:
    """Add what one run counted to a file of several."""
    where.parent.mkdir(parents=True, exist_ok=True)
    known = orjson.loads(where.read_bytes()) if where.exists() else {}
    where.write_bytes(orjson.dumps(known | {name: told}, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
