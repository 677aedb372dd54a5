"""What a page says of itself: a greeting, and what it is made from."""

from __future__ import annotations

from serving.pipeline import Answer
from serving.saying import Fields
from serving.situation import Situation
from serving.texts import rendered

GREETINGS = {
    "en": ("Welcome back[, {name}]", "Welcome[, {name}]"),
    "ja": ("[{name}様、]おかえりなさいませ", "[{name}様、]いらっしゃいませ"),
}


def greeting(now: Situation) -> Answer:
    """A natural sentence whether anything is known of the subject or not."""
    known = now.query.user_id is not None and len(now.query.history) > 0
    back, new = GREETINGS[now.live.language(now.query.context.locale, GREETINGS)]
    return {"text": rendered(back if known else new, Fields(now))}


LITTLE = 3
"""With fewer purchases and looks than this, a page says that it knows little."""
BASIS = {
    "en": {
        "trouble": "Chosen by what sells now; what we know of you cannot be looked up at the moment.",
        "consent": "Chosen for everybody: you have not agreed to a personal page.",
        "context": "Chosen by what sells now; we do not know you yet.",
        "little": "We know little of you yet, so the choice is wide.",
        "history": "Chosen by what you bought, wished and looked at.",
        "everybody": "Chosen by what sells now, the same for everybody.",
    },
    "ja": {
        "trouble": "ただいまお客様の情報を参照できないため、いま人気の商品から選びました。",
        "consent": "パーソナライズに同意いただいていないため、すべてのお客様に共通の内容です。",
        "context": "はじめてのお客様のため、いま人気の商品から選びました。",
        "little": "まだお客様のことを詳しく存じ上げないため、幅広く選びました。",
        "history": "お買い上げ、お気に入り、閲覧の履歴から選びました。",
        "everybody": "いま人気の商品から、すべてのお客様に共通の内容です。",
    },
}


def basis(now: Situation, holdout: bool) -> Answer:
    """What the page is made from, in words: thin data makes a wide page and says so, and so does the holdout's."""
    events = len(now.query.history)
    known = "little" if events < LITTLE else "history"
    kind = "consent" if not now.query.personal else known if events else "context"
    if holdout and now.query.personal:
        kind = "everybody"
    if now.query.trouble is not None and not events:
        kind = "trouble"
    words = BASIS[now.live.language(now.query.context.locale, BASIS)]
    return {"personalized": now.query.personal and not holdout, "basis": {"kind": kind, "text": words[kind]}}
