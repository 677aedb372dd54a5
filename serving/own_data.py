"""What a person sees of their own data and can do with it: consents, answers, orders, a copy of everything, erasure.

Reading one's own data needs no consent to personalization: it decides nothing, it shows what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.errors import RequestError
from features.history import History
from features.text import MAX_ID_LENGTH
from serving.engine import Engine
from serving.erase import erase, erase_visitor
from serving.export import export_customer, export_visitor
from serving.intake_people import purposes_of, take_answer, take_consent
from serving.person import Consents
from serving.query import Context, Query
from serving.saying import question_card
from serving.situation import Situation
from serving.strict import nearest
from serving.waiting import order_card
from serving.wire_people import AnswerRequest, ConsentRequest

SOURCE = "web"
"""Where a choice was made, as it is kept."""


def consents(engine: Engine, user_id: str | None, visitor_id: str | None) -> list[dict[str, Any]]:
    """Every purpose that something is done for, as (purpose, granted, at, assumed)."""
    live = engine.live
    told = engine.consents_of(live, user_id, visitor_id)
    return [_consent(purpose, told) for purpose in purposes_of(live.config)]


def _consent(purpose: str, told: Consents) -> dict[str, Any]:
    said = told.told.get(purpose)
    at = said.get("at") if isinstance(said, Mapping) else None
    assumed = said is None and purpose in told.assumed
    return {"purpose": purpose, "granted": told.to(purpose), "at": at, "assumed": assumed}


def choose(
    engine: Engine,
    user_id: str | None,
    visitor_id: str | None,
    granted: Mapping[str, bool],
    wording: Mapping[str, str],
    now: int,
) -> None:
    """Keep what was chosen, purpose by purpose, as `POST /v1/customers/consent` does.

    Raises:
        RequestError: a purpose that nothing is done for; those before it are kept.
    """
    for purpose, yes in granted.items():
        request = ConsentRequest(
            user_id=user_id, visitor_id=visitor_id, purpose=purpose[:MAX_ID_LENGTH], granted=yes,
            wording=wording.get(purpose), source=SOURCE,
        )  # fmt: skip
        take_consent(engine, engine.live, request, now)


def questions(engine: Engine, locale: str) -> dict[str, dict[str, Any]]:
    """All questions of the shop in a language, as on the wire."""
    return {name: question_card(name, each, locale) for name, each in engine.live.config.questions.items()}


def answer(
    engine: Engine, user_id: str | None, visitor_id: str | None, question: str, said: str | None, now: int
) -> None:
    """Keep an answer, or with None that the question was skipped, as `POST /v1/customers/answer` does.

    Raises:
        RequestError: the shop has no such question, or the question no such answer.
    """
    asked = engine.live.config.questions.get(question)
    if asked is None:
        hint = nearest(question, list(engine.live.config.questions))
        raise RequestError("the shop has no such question", where="question", got=question, hint=hint)
    if said is not None and asked.values and said not in asked.values:
        raise RequestError("the question has no such answer", where="answer", got=said)
    take_answer(engine, AnswerRequest(user_id=user_id, visitor_id=visitor_id, question=question, answer=said), now)


def forget(engine: Engine, user_id: str | None, visitor_id: str | None, question: str, now: int) -> None:
    """Forget an answer; that the question was asked is still known, so that it is not asked again."""
    change = {"answers": {question: None}}
    if user_id is not None:
        engine.store.put_customer(user_id, change, now)
    elif visitor_id is not None:
        engine.store.put_visitor(visitor_id, change, now)


def answers(engine: Engine, user_id: str | None, visitor_id: str | None, now: int) -> dict[str, str]:
    """Question -> answer."""
    return dict(engine.person_of(engine.live, user_id, visitor_id, now).answers)


def orders(engine: Engine, user_id: str, locale: str, now: int) -> list[dict[str, Any]]:
    """All order lines of a customer with their progress, the latest first."""
    person = engine.person_of(engine.live, user_id, None, now)
    query = Query(now=now, history=History.empty(), user_id=user_id, person=person, context=Context(locale=locale))
    situation = Situation(engine.live, query)
    return [order_card(situation, line) for line in reversed(person.orders)]


def export(engine: Engine, user_id: str | None, visitor_id: str | None) -> dict[str, Any]:
    """Everything that is kept of the subject.

    Raises:
        NotFoundError: nothing is.
    """
    if user_id is not None:
        return export_customer(engine, user_id)
    return export_visitor(engine, str(visitor_id))


def forget_all(engine: Engine, user_id: str | None, visitor_id: str | None, now: int) -> str:
    """Erase the subject; the id of the receipt."""
    if user_id is not None:
        receipt = erase(engine.shop, engine.store, user_id, now=now)
    else:
        receipt = erase_visitor(engine.shop, engine.store, str(visitor_id), now=now)
    return str(receipt["receiptId"])
