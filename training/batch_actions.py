"""Messages and audiences for many customers, by the code that answers `/v1/actions`.

Each customer is decided as a request would be: decisions are logged, draws hold, messages are reserved. So a second run
in the same epoch gives the same rows and spends nothing, and a run that was interrupted is taken up by running again.
"""

from __future__ import annotations

import asyncio
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import pyarrow as pa

from features import columns as c
from features.errors import ConfigError
from serving import store_erasure as erasure
from serving.actions import Case, case_of, channel_of, next_action
from serving.engine import Engine
from serving.keeping import at_once
from serving.pipeline import Answer
from serving.strict import nearest
from serving.timing import CAPPED, HOLDOUT, OPTED_OUT, Ruling
from serving.wire import ActionRequest

MESSAGES = pa.schema(
    [(name, pa.string()) for name in
     (c.CUSTOMER_ID, c.DECISION_ID, "action", "title", "text", "url", "send_after", "send_before")]
)  # fmt: skip
"""One row a message that may be sent now, from `send_after` until before `send_before` (ISO 8601, UTC)."""
AUDIENCE = pa.schema([("identifier", pa.string())])
EXCLUDED = pa.schema([("identifier", pa.string()), ("reason", pa.string())])
NO_EFFECT = "no effect"
Hash = Literal["none", "sha256"]
_AT_ONCE = 256
Done = Callable[[int], None]


@dataclass(frozen=True)
class Identify:
    """How a customer is named in a file.

    Args:
        hashed: `sha256`: the SHA-256 of the normalised text in hex; `none`: as the shop writes it.
        attribute: one of the customer's attributes instead of the id, such as `email`; small letters, no blanks around.
    """

    hashed: Hash = "none"
    attribute: str | None = None

    def by_id(self, customer_id: str) -> str:
        """The customer's id, as a name in the file."""
        return self._told(unicodedata.normalize("NFC", customer_id.strip()))

    def of(self, case: Case, customer_id: str) -> str | None:
        """The customer's name in the file; None where the attribute is not known, or may not be read."""
        if self.attribute is None:
            return self.by_id(customer_id)
        value = case.now.query.person.attributes.get(self.attribute)
        text = "" if value is None else unicodedata.normalize("NFC", str(value).strip().lower())
        return self._told(text) if text else None

    def _told(self, text: str) -> str:
        return text if self.hashed == "none" else hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Summary:
    """What became of the customers: counts by decision, and by reason where there was one."""

    decisions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def all_customers(engine: Engine) -> list[str]:
    """Every customer that the shop knows, in order; who was erased is nobody."""
    found = set(erasure.customers_in(engine.store))
    if engine.live.histories is not None:
        found.update(subject[2:] for subject in engine.live.histories.subjects if subject.startswith("c:"))
    erased = engine.store.erased()
    return sorted(customer for customer in found if not erased.customer(customer))


def messages(
    engine: Engine, channel: str, customers: Sequence[str], now: int, *, identify: Identify = Identify(),
    done: Done = lambda count: None, summary: Summary | None = None,
) -> Iterator[pa.Table]:  # fmt: skip
    """Decide for customers on a channel, in pieces, which share their flushes to disk where the store is a file.

    Args:
        engine: of the shop, with a decision log.
        channel: its name.
        customers: ids.
        now: the moment of all decisions.
        identify: how customers are named.
        done: hears how many customers each piece decided.
        summary: takes the counts.

    Raises:
        RequestError: no such channel.
    """
    channel_of(engine.live, channel)
    counted = Summary() if summary is None else summary
    for start in range(0, len(customers), _AT_ONCE):
        piece = customers[start : start + _AT_ONCE]
        asked = [ActionRequest(channel=channel, user_id=customer) for customer in piece]
        answers = _one_by_one(engine, asked, now) if engine.store.database.shared else _together(engine, asked, now)
        rows = []
        for customer, answer in zip(piece, answers, strict=True):
            counted.decisions[answer["decision"]] += 1
            counted.reasons.update(_short(reason) for reason in answer["reasons"])
            if answer["decision"] == "now":
                rows.append(_message(identify.by_id(customer), answer))
        yield pa.Table.from_pylist(rows, schema=MESSAGES)
        done(len(piece))


def _together(engine: Engine, asked: Sequence[ActionRequest], now: int) -> list[Answer]:
    """Decide, and flush once for all."""

    async def decided() -> list[Answer]:
        return await asyncio.gather(*(next_action(engine, each, now, engine.store.keep) for each in asked))

    return asyncio.run(decided())


def _one_by_one(engine: Engine, asked: Sequence[ActionRequest], now: int) -> list[Answer]:
    """Decide where the store is a server.

    Without an event loop, since in one nobody waits for a server longer than a page may take; and each answer is kept
    apart, since no replica can keep anything while a group is written.
    """
    return [at_once(next_action(engine, each, now, engine.store.keep_at_once)) for each in asked]


def _message(customer: str, answer: Answer) -> dict[str, Any]:
    return {
        c.CUSTOMER_ID: customer, c.DECISION_ID: answer["decisionId"], "action": answer["actionId"],
        "title": answer.get("title"), "text": answer.get("text"), "url": answer.get("url"),
        "send_after": answer.get("sendAfter"), "send_before": answer.get("sendBefore"),
    }  # fmt: skip


def _short(reason: str) -> str:
    return reason.split(", until ")[0]


@dataclass
class Audience:
    """Who may be reached about something, and who must not be; neither is a contact, so nothing is logged or spent."""

    reached: list[str] = field(default_factory=list)
    excluded: list[tuple[str, str]] = field(default_factory=list)
    unnamed: int = 0
    """Customers without the attribute that names them."""
    unfit: int = 0
    """Customers whom nothing forbids to reach, and whom it does not fit now."""


def audience(
    engine: Engine, channel: str, about: str, customers: Sequence[str], now: int, *, num: int = 20,
    identify: Identify = Identify(), done: Done = lambda count: None,
) -> Audience:  # fmt: skip
    """The customers for one action or item of a channel.

    Args:
        engine, channel, customers, now, identify, done: as for `messages`.
        about: an action of the channel, or an item: then those among whose best `num` items it is.

    Raises:
        ConfigError: it is neither.
        RequestError: no such channel.
    """
    actions = channel_of(engine.live, channel).actions
    item = engine.live.bundle.items.find(about)
    if about not in actions and item is None:
        hint = f"an item id, or {nearest(about, list(actions))}"
        raise ConfigError("neither an action of this channel nor an item", where="--audience", got=about, hint=hint)
    found = Audience()
    for customer in customers:
        case = case_of(engine, ActionRequest(channel=channel, user_id=customer), now)
        why = _kept_out(case, about)
        if why:
            found.excluded.append((identify.of(case, customer) or identify.by_id(customer), why))
        elif why is None and (about in actions or _wants(engine, case, int(item or 0), num)):
            name = identify.of(case, customer)
            found.unnamed += name is None
            found.reached += [] if name is None else [name]
        else:
            found.unfit += 1
        done(1)
    return found


def _kept_out(case: Case, about: str) -> str | None:
    """Why a customer is on the list of whom not to reach; "" where it does not fit now, None where nothing is wrong."""
    for kind in (OPTED_OUT, HOLDOUT):
        if any(each.kind == kind for each in case.whole):
            return kind
    if any(each.until is None for each in case.whole):
        return ""
    if about not in case.slot.modules:
        against = [case.against(name) for name in case.slot.modules]
        return CAPPED if all(_is_capped(each) for each in against) else None
    found = case.against(about)
    if _is_capped(found):
        return CAPPED
    if case.draws is not None and case.draws.helps(case.slot, about) is False:
        return NO_EFFECT
    return "" if found else None


def _is_capped(found: Sequence[Ruling]) -> bool:
    return any(each.kind == CAPPED for each in found)


def _wants(engine: Engine, case: Case, item: int, num: int) -> bool:
    query = msgspec.structs.replace(case.now.query, num_results=num)
    return item in engine.live.ranker.rank(query).items.tolist()


def audience_tables(found: Audience) -> tuple[pa.Table, pa.Table]:
    """Whom to reach and whom not, each once, in the order of the names: that of customers says nothing about them.

    Where two customers have one name (an address that they share), the one who must not be reached counts.
    """
    first = dict(sorted(found.excluded, reverse=True))
    names = sorted(first)
    reached = sorted(set(found.reached).difference(first))
    without = {"identifier": names, "reason": [first[name] for name in names]}
    return pa.table({"identifier": reached}, schema=AUDIENCE), pa.table(without, schema=EXCLUDED)
