"""Why an item is shown, in words that a shopper understands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

import numpy as np
import numpy.typing as npt

from features.by_item import bought_in
from features.kinds import EventType
from features.moments import DAY
from features.personal import open_wishes
from serving.placing import PIN
from serving.query import Query
from serving.ranker import Ranker
from serving.sources import ContextPopularity, Replenishment, Wishlist
from serving.sources.contract import past_of

Rows = npt.NDArray[np.int32]

WISHLIST = "wishlist"
"""The wishes themselves, whether a source of that kind proposes them or a page lists them."""
VIEWED = "viewed"
"""What was looked at before and a page lists again."""
_OWN_WORDS = (WISHLIST, VIEWED, PIN)
"""What is told alike, whichever source it comes from."""
LEAST_PERCENT = 1
"""A price that fell by less is not worth a word."""
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "bought-once": "You bought this {days} days ago",
        "bought-often": "You bought this {times} times, last {days} days ago",
        "bought-today": "You bought this today",
        "because": "Because you chose {item}",
        "goes-with": "Goes with {item}",
        "for-you": "Chosen by customers with a taste like yours",
        "popular": "Popular now",
        "popular-in": "Popular in {region}",
        "wished": "On your wishlist",
        "wished-since": "On your wishlist for {days} days",
        "wished-cheaper": "On your wishlist, now {percent} % cheaper than when you added it",
        "due": "You buy this about every {every}; the last time was {days} days ago",
        "due-once": "Customers buy this about every {every}; you bought it {days} days ago",
        "next": "Often chosen after {item}",
        "in-cart": "In your cart",
        "just-seen": "You looked at this just now",
        "goes-with-seen": "Goes with {item}, which you looked at just now",
        "viewed": "You looked at this",
        "shop": "Chosen by the shop",
        "popular-season": "Popular this {season}",
        "popular-in-season": "Popular in {region} this {season}",
        "day": "day",
        "days": "{n} days",
        "week": "week",
        "weeks": "{n} weeks",
        "months": "{n} months",
        "spring": "spring",
        "summer": "summer",
        "autumn": "autumn",
        "winter": "winter",
    },
    "ja": {
        "bought-once": "{days}日前にお買い上げ",
        "bought-often": "これまでに{times}回、前回は{days}日前にお買い上げ",
        "bought-today": "本日お買い上げ",
        "because": "「{item}」を選ばれた方に",
        "goes-with": "「{item}」と一緒に",
        "for-you": "好みの近いお客様が選んでいます",
        "popular": "いま人気です",
        "popular-in": "{region}で人気です",
        "wished": "お気に入りに入っています",
        "wished-since": "{days}日前からお気に入りに入っています",
        "wished-cheaper": "お気に入りの商品が、追加時より{percent}%お求めやすくなりました",
        "due": "およそ{every}ごとにお買い上げ、前回は{days}日前",
        "due-once": "およそ{every}ごとに買い足されている商品、前回は{days}日前",
        "next": "「{item}」の次によく選ばれています",
        "in-cart": "カートに入っています",
        "just-seen": "先ほどご覧になりました",
        "goes-with-seen": "先ほどご覧の「{item}」と一緒に",
        "viewed": "以前ご覧になりました",
        "shop": "当店のおすすめ",
        "popular-season": "この{season}人気です",
        "popular-in-season": "{region}でこの{season}人気です",
        "day": "1日",
        "days": "{n}日",
        "week": "1週間",
        "weeks": "{n}週間",
        "months": "{n}か月",
        "spring": "春",
        "summer": "夏",
        "autumn": "秋",
        "winter": "冬",
    },
}


def item_reasons(ranker: Ranker, query: Query, items: Rows, sources: Sequence[str], locale: str) -> list[str]:
    """One sentence an item, from the source that speaks most for it.

    Args:
        ranker: the bundle's sources.
        query: the subject and the context.
        items: int32[m], the items shown.
        sources: for each the name of its source.
        locale: `en` or `ja`; another one gets English.
    """
    words, kinds = WORDS.get(locale) or WORDS["en"], ranker.bundle.kinds
    told: list[str] = [""] * len(sources)
    places: dict[str, list[int]] = {}
    for place, name in enumerate(sources):
        places.setdefault(name, []).append(place)
    for name, mine in places.items():
        kind = name if name in _OWN_WORDS else kinds[name]
        texts: Iterable[str]
        if kind in _ALIKE:
            texts = repeat(_ALIKE[kind](ranker, query, name, words))
        else:
            texts = _TELL[kind](ranker, query, items if len(places) == 1 else items.take(mine), name, words)
        for place, text in zip(mine, texts, strict=False):
            told[place] = text
    return told


def _tell_popular(ranker: Ranker, query: Query, name: str, words: Mapping[str, str]) -> str:
    region = query.context.region
    return words["popular-in"].format(region=region) if region else words["popular"]


def _tell_bought(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    texts = []
    for times, last in zip(*(each.tolist() for each in bought_in(past_of(query), items)), strict=True):
        days = (query.now - last) // DAY if times else 0
        key = "bought-today" if days == 0 else "bought-once" if times == 1 else "bought-often"
        texts.append(words[key].format(times=times, days=days))
    return texts


def _tell_cause(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    causes = ranker.sources[name].causes(query, items).tolist()
    said, alike = words["goes-with" if query.anchors else "because"], words["for-you"]
    texts = {cause: said.replace("{item}", title_of(ranker, cause)) for cause in set(causes) if cause >= 0}
    return [
        alike if cause < 0 or cause == item else texts[cause]
        for item, cause in zip(items.tolist(), causes, strict=True)
    ]


def _tell_wished(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    """With the price that fell, where a wishlist source knows it; else with the age of the wish."""
    wishes, texts = _wishes(ranker, query, items), []
    for item in items.tolist():
        days, percent = wishes.get(item, (0, 0))
        key = "wished-cheaper" if percent >= LEAST_PERCENT else "wished-since" if days > 1 else "wished"
        texts.append(words[key].format(days=days, percent=percent))
    return texts


def _wishes(ranker: Ranker, query: Query, items: Rows) -> dict[int, tuple[int, int]]:
    """For those of some items that are wished: for how many days, and by how many percent the price fell since."""
    source = next((each for each in ranker.sources.values() if isinstance(each, Wishlist)), None)
    if source is not None:
        found = source.wishes(query)
        told = zip(found.items.tolist(), found.age.tolist(), found.drop.tolist(), strict=True)
        return {item: (int(age), int(100 * drop)) for item, age, drop in told}
    asked = zip(items.tolist(), *(each.tolist() for each in open_wishes(query.history, items)), strict=True)
    return {item: ((query.now - since) // DAY, 0) for item, still, since in asked if still}


def _tell_due(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    """The rhythm of the customer, or of the item where it was bought once."""
    source = ranker.sources[name]
    if not isinstance(source, Replenishment):
        return _tell_bought(ranker, query, items, name, words)
    found = source.due(query)
    texts, at = [], np.searchsorted(found.items, items)
    told = zip(*(each[at].tolist() for each in (found.since, found.own, found.median)), strict=True)
    for since, own, median in told:
        key = "bought-today" if int(since) == 0 else "due" if own else "due-once"
        texts.append(words[key].format(every=duration(median, words), days=int(since)))
    return texts


def _tell_next(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    """The item that it follows."""
    causes = ranker.sources[name].causes(query, items)
    return [
        words["for-you"] if cause < 0 else words["next"].format(item=title_of(ranker, cause))
        for cause in causes.tolist()
    ]


def _tell_session(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    """What the subject did with it just now, or the item of the session that it goes with."""
    if query.anchors:
        return _tell_cause(ranker, query, items, name, words)
    carts = query.history.of_types(EventType.CART, EventType.CART_REMOVE)
    texts = []
    for item, cause in zip(items.tolist(), ranker.sources[name].causes(query, items).tolist(), strict=True):
        held = carts.type[carts.item == item]
        in_cart = len(held) > 0 and held[-1] == EventType.CART
        key = "for-you" if cause < 0 else "goes-with-seen" if cause != item else "in-cart" if in_cart else "just-seen"
        texts.append(words[key].format(item=title_of(ranker, cause) if cause >= 0 else ""))
    return texts


def _tell_context(ranker: Ranker, query: Query, name: str, words: Mapping[str, str]) -> str:
    """Region and season of the list, where it is made for them."""
    source = ranker.sources[name]
    cell = source.cell(query) if isinstance(source, ContextPopularity) else {}
    parts = [part for part in ("region", "season") if part in cell]
    key = {"": "popular", "region": "popular-in", "season": "popular-season"}.get("".join(parts), "popular-in-season")
    season = words[cell["season"]] if "season" in cell else ""
    return words[key].format(region=cell.get("region", ""), season=season)


def duration(days: float, words: Mapping[str, str]) -> str:
    """A stretch of days as a shopper would say it: days up to a fortnight, then weeks, from two months on months.

    >>> [duration(days, WORDS["en"]) for days in (0.7, 3.4, 7.2, 29, 85)]
    ['day', '3 days', 'week', '4 weeks', '3 months']
    """
    if round(days) <= 1:
        return words["day"]
    if round(days) == 7:
        return words["week"]
    if days < 13.5:
        return words["days"].format(n=round(days))
    return words["weeks"].format(n=round(days / 7)) if days < 60 else words["months"].format(n=round(days / 30.4))


def _tell_viewed(ranker: Ranker, query: Query, name: str, words: Mapping[str, str]) -> str:
    return words["viewed"]


def _tell_pinned(ranker: Ranker, query: Query, name: str, words: Mapping[str, str]) -> str:
    return words["shop"]


_ALIKE = {
    PIN: _tell_pinned,
    VIEWED: _tell_viewed,
    "popularity": _tell_popular,
    "context-popularity": _tell_context,
}
"""What says the same of all its items."""
_TELL = {
    WISHLIST: _tell_wished,
    "personal-frequency": _tell_bought,
    "factors": _tell_cause,
    "neighbours": _tell_cause,
    "replenishment": _tell_due,
    "sequence": _tell_next,
    "session": _tell_session,
}
"""What says of each item something of its own."""


def title_of(ranker: Ranker, row: int) -> str:
    """The item's title, or its id where it has none."""
    changed = ranker.shelf.texts.get(row)
    return (changed and changed.get("title")) or ranker.bundle.title(row)
