"""Actions as a page says them: the first variant of their words that fits, with what is known filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from features.moments import DAY, to_datetime, zone
from features.orders import READY, OrderLine
from serving.asking import PUT, put_before
from serving.eligibility import order_meant, why_no_action, why_not, why_silent
from serving.reasons import title_of
from serving.settings.actions import Action, Text
from serving.settings.asking import Question
from serving.situation import Situation
from serving.texts import ANSWERS, plain, rendered
from serving.waiting import expected_text, order_cards

UNSAYABLE = "its words need what is not known"
NO_ORDER = "no order is on its way"
SEASONS = {"winter": "冬", "spring": "春", "summer": "夏", "autumn": "秋"}


@dataclass(frozen=True)
class Said:
    """An action that may be shown now, in the subject's words.

    Args:
        action: what it is.
        title, text, image_url, alt, url: of the variant that fits.
        orders: of a `status`: the order lines on their way.
        question: of a `question`: what is asked.
        expires_at: of an offer: the instant until which it is kept.
    """

    action: Action
    title: str
    text: str
    image_url: str | None = None
    alt: str = ""
    url: str | None = None
    orders: tuple[dict[str, Any], ...] = ()
    question: dict[str, Any] | None = None
    expires_at: int | None = None


def say(action: Action, now: Situation, told: Fields, promised: int | None = None) -> Said | str:
    """An action as it would be shown, or why it cannot be.

    Args:
        action: of the shop's file.
        now: of the request.
        told: the fields of texts, as `Fields` has them.
        promised: until when it was promised to this subject: its dates and conditions do not count then.
    """
    why = why_no_action(action, now) if promised is None else why_silent(action, now)
    if why is not None:
        return why
    if action.kind == "status" and not now.awaited:
        return NO_ORDER
    if action.question is not None:
        why = why_not(now.live.config.questions[action.question].when, now)
        if why is not None or put_before(now.query.person, action.question):
            return why or PUT
    for text in variants(action, now):
        said = _said(text, told.about(order_meant((action.when, text.when), now)))
        if said is not None:
            title, words, image, alt, url = said
            orders = tuple(order_cards(now)) if action.kind == "status" else ()
            ends = now.query.now + int(action.promise_days * DAY) if promised is None else promised
            expires = ends if action.promise_days else None
            return Said(action, title, words, image, alt, url, orders, _question(action, now), expires)
    return UNSAYABLE


def variants(action: Action, now: Situation) -> Iterator[Text]:
    """The variants that are for this subject, those of its language first, those of any language after them."""
    for locale in dict.fromkeys((now.locale, None, now.live.config.shop.locale)):
        yield from (text for text in action.texts if text.locale == locale and why_not(text.when, now) is None)


def _said(text: Text, told: Mapping[str, str]) -> tuple[str, str, str | None, str, str | None] | None:
    title, words = rendered(text.title, told), rendered(text.text, told)
    image = None if text.image_url is None else rendered(text.image_url, told)
    url = None if text.url is None else rendered(text.url, told)
    if title is None or words is None or (text.image_url and image is None) or (text.url and url is None):
        return None
    return title, words, image, rendered(text.alt, told) or "", url


def question_card(name: str, asked: Question, locale: str) -> dict[str, Any]:
    """A question of the shop as on the wire, in the words of a language."""
    return {
        "question": name,
        "text": in_language(asked.text, locale),
        "why": in_language(asked.why, locale),
        "options": [{"value": each.value, "label": in_language(each.label, locale)} for each in asked.options],
    }


def _question(action: Action, now: Situation) -> dict[str, Any] | None:
    if action.question is None:
        return None
    return question_card(action.question, now.live.config.questions[action.question], now.locale)


def in_language(words: Mapping[str, str], locale: str) -> str:
    """The words of a language, else the first ones."""
    return words.get(locale) or next(iter(words.values()), "")


class Fields(Mapping[str, str]):
    """What the texts of a request may say, looked up only where a text asks; unknown fields are not there.

    Args:
        now: of the request.
        line: the order line that is spoken of; None: none is.
    """

    def __init__(self, now: Situation, line: OrderLine | None = None) -> None:
        self._now = now
        self._line = line
        self._known: dict[str, str | None] = {}

    def about(self, line: OrderLine | None) -> Fields:
        """The fields of the same request that speak of an order line."""
        return self if line is self._line else Fields(self._now, line)

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = self._find(name)
        found = self._known[name]
        if not found:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        names = [*_FINDERS, *_ORDER_FINDERS, *(ANSWERS + question for question in self._now.live.config.questions)]
        return (name for name in names if self.get(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _find(self, name: str) -> str | None:
        if name.startswith(ANSWERS):
            answer = self._now.answers.get(name.removeprefix(ANSWERS))
            return None if answer is None else plain(answer)
        of_order, finder = _ORDER_FINDERS.get(name), _FINDERS.get(name)
        if of_order is not None:
            found = None if self._line is None else of_order(self._now, self._line)
        else:
            found = None if finder is None else finder(self._now)
        return None if found is None else plain(found)


def _season(now: Situation) -> str:
    return SEASONS[now.local.season] if now.locale == "ja" else now.local.season


def _item(now: Situation) -> str | None:
    seen = [row for row in now.session.item.tolist() if row >= 0]
    return title_of(now.live.ranker, seen[-1]) if seen else None


def _order_item(now: Situation, line: OrderLine) -> str | None:
    row = now.row_of(line.item_id)
    return title_of(now.live.ranker, row) if row >= 0 else None


def _promised(now: Situation, line: OrderLine) -> str | None:
    return None if line.promised_at is None else _date(now, line.promised_at)


def _date(now: Situation, at: int) -> str:
    local = to_datetime(at).astimezone(zone(now.zone))
    return f"{local.month}月{local.day}日" if now.locale == "ja" else f"{local.day} {local:%B}"


def _ready(name: str) -> Callable[[Situation, OrderLine], str | None]:
    """Where and when something can be picked up: said only while it lies there."""

    def find(now: Situation, line: OrderLine) -> str | None:
        told = (found for step in reversed(line.steps) if (found := getattr(step, name)))
        return next(told, None) if line.state == READY else None

    return find


def _wish_item(now: Situation) -> str | None:
    return title_of(now.live.ranker, int(now.wishes[0])) if len(now.wishes) else None


def _wish_price(now: Situation) -> str | None:
    price = now.live.ranker.shelf.price_of(int(now.wishes[0])) if len(now.wishes) else None
    return None if price is None else f"{price:,.2f}"


def _due_item(now: Situation) -> str | None:
    return None if now.due is None else title_of(now.live.ranker, now.due.item)


def _due_days(now: Situation) -> str | None:
    return None if now.due is None else str(max(round((now.due.at - now.query.now) / DAY), 0))


def _project(now: Situation) -> str | None:
    if not now.projects:
        return None
    return in_language(now.live.config.projects[now.projects[0].kind].label, now.locale)


_FINDERS: dict[str, Callable[[Situation], str | None]] = {
    "name": lambda now: now.name,
    "shop": lambda now: now.live.config.shop.name,
    "region": lambda now: now.region,
    "season": _season,
    "tier": lambda now: now.tier,
    "points": lambda now: None if now.query.person.points is None else f"{now.query.person.points:,.0f}",
    "item": _item,
    "wish.item": _wish_item,
    "wish.price": _wish_price,
    "due.item": _due_item,
    "due.days": _due_days,
    "project": _project,
}
_ORDER_FINDERS: dict[str, Callable[[Situation, OrderLine], str | None]] = {
    "order.item": _order_item,
    "order.expected": expected_text,
    "order.promised": _promised,
    "order.state": lambda now, line: line.state.replace("_", " "),
    "order.place": _ready("place"),
    "order.hours": _ready("hours"),
}
"""Together they find each field of `serving.texts.FIELDS`."""
