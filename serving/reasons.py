"""Why an item is shown, in words that a shopper understands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from features.moments import DAY
from features.schemas import EventType
from serving.query import Query
from serving.ranker import Ranker

Rows = npt.NDArray[np.int32]

WISHLIST = "wishlist"
"""Not a candidate source but the wishes themselves."""
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
    },
}


def item_reasons(ranker: Ranker, query: Query, items: Rows, sources: Sequence[str], locale: str) -> list[str]:
    """One sentence an item, from the source that speaks most for it.

    Args:
        ranker: the bundle's sources.
        query: the subject and the context.
        items: int32[m], the items shown.
        sources: for each the name of its source.
        locale: `en` or `ja`.
    """
    words = WORDS[locale]
    names = np.array(sources, dtype=object)
    out = [""] * len(items)
    for name in dict.fromkeys(sources):
        mine = np.flatnonzero(names == name)
        kind = name if name == WISHLIST else ranker.bundle.recipe.spec(name).kind
        texts = _TELL[kind](ranker, query, items[mine], name, words)
        for place, text in zip(mine, texts, strict=True):
            out[place] = text
    return out


def _tell_popular(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    region = query.context.region
    text = words["popular-in"].format(region=region) if region else words["popular"]
    return [text] * len(items)


def _tell_bought(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    past = query.history.of_types(EventType.PURCHASE)
    texts = []
    for item in items:
        when = past.time[past.item == item]
        days = int((query.now - when[-1]) // DAY) if len(when) else 0
        key = "bought-today" if days == 0 else "bought-once" if len(when) == 1 else "bought-often"
        texts.append(words[key].format(times=len(when), days=days))
    return texts


def _tell_cause(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    causes = ranker.sources[name].causes(query, items)
    key = "goes-with" if query.anchors else "because"
    return [
        words["for-you"] if cause < 0 or cause == item else words[key].format(item=title_of(ranker, int(cause)))
        for item, cause in zip(items, causes, strict=True)
    ]


def _tell_wished(ranker: Ranker, query: Query, items: Rows, name: str, words: Mapping[str, str]) -> list[str]:
    return [words["wished"]] * len(items)


_TELL = {
    WISHLIST: _tell_wished,
    "popularity": _tell_popular,
    "personal-frequency": _tell_bought,
    "factors": _tell_cause,
    "neighbours": _tell_cause,
}


def title_of(ranker: Ranker, row: int) -> str:
    """The item's title, or its id where it has none."""
    live: str | None = ranker.shelf.texts.get(row, {}).get("title")
    return live or ranker.bundle.text("title", row) or ranker.bundle.items[row]
