"""Which question a page may put now: one a session, never twice, only where its answer is worth the asking."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from features.covariates import visit_values
from features.errors import Unavailable
from serving.held import Wishes
from serving.keeping import Keep
from serving.person import Person
from serving.prior import words_of
from serving.query import Query
from serving.questions import Question, best_question
from serving.settings import asking as settings
from serving.situation import SESSION, Situation
from serving.watch import lap

log = logging.getLogger("kokyaku")
ANOTHER = "another question is worth more now"
PUT = "put before"


def question_now(now: Situation, names: Sequence[str], able: Mapping[str, Sequence[str]]) -> tuple[str | None, str]:
    """The question to put, and why; None where none is.

    A question that is on the screen stays there until it is answered or skipped, or the session ends.

    Args:
        now: who, when, where.
        names: questions that may be put to this subject, in the order of the page.
        able: slot -> actions that may stand in it.
    """
    query = now.query
    if query.user_id is None and query.visitor_id is None:
        return None, "an answer could not be kept for anybody"
    person, start = query.person, session_start(now)
    answered = {*person.answers, *person.asked}
    for name in names:
        if person.shown.get(name, start - 1) >= start and name not in answered:
            return name, "it is on the screen"
    lately = [at for at in (*person.shown.values(), *person.asked.values()) if at >= start]
    asked = {*answered, *person.shown}
    questions = [_as_asked(name, now.live.config.questions[name]) for name in names]
    found = best_question(
        questions, asked, bool(lately), _gains(now, able), category=now.category_path, moment=now.rarity
    )
    if found.question is None:
        return None, "; ".join(found.reasons)
    return found.question.id, found.reasons[0]


async def note_questions(query: Query, slots: Sequence[Mapping[str, Any]], request_id: str, keep: Keep | None) -> None:
    """Remember which questions an answer puts for the first time, so that no other session puts them again.

    The answer waits for that as for its draws, beside the event loop and no longer: so the very next one finds the
    question on the screen. What cannot be remembered stops no answer: the next one puts the question once more.

    Args:
        query: who was asked, and when.
        slots: of the answer.
        request_id: of the answer.
        keep: `Store.keep` or `Store.keep_at_once`; None: a preview, or the store has just refused.
    """
    asked = [slot["question"]["question"] for slot in slots if slot.get("question") is not None]
    new = tuple(dict.fromkeys(name for name in asked if name not in query.person.shown))
    if keep is None or not new:
        return
    try:
        await keep(Wishes(query.user_id, query.visitor_id, request_id, query.now, (), questions=new))
    except Unavailable as error:
        log.warning("a question that was put is not remembered: %s", error.line())
    lap("log")


def session_start(now: Situation) -> int:
    """When the running session began: with its first look, or with a question that was put or answered before that."""
    looks, person = now.session, now.query.person
    start = min(int(looks.time[0]), now.query.now) if len(looks) else now.query.now
    for at in sorted((*person.shown.values(), *person.asked.values()), reverse=True):
        if start - SESSION <= at < start:
            start = at
    return start


def put_before(person: Person, name: str) -> bool:
    """Whether a question was answered or skipped."""
    return name in person.answers or name in person.asked


def _as_asked(name: str, question: settings.Question) -> Question:
    """The file's words as `serving.questions` reads them; its conditions were looked at before."""
    attribute = question.attribute or name
    return Question(name, attribute, question.values, unusual=question.unusual, cost=question.cost, gain=question.gain)


def _gains(now: Situation, able: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """question -> what was learned that its answer brings."""
    learned = now.live.learned_questions
    if not learned:
        return {}
    context, zone = now.query.context, now.live.config.shop.time_zone
    visit = visit_values(
        now.query.now, zone, device=context.device, traffic_source=context.traffic_source, region=now.region,
        known=now.query.user_id is not None,
    )  # fmt: skip
    words = words_of(visit)
    return {name: each.gain(words, able) for name, each in learned.items()}
