"""Words, prices and dates of the storefront, by locale: one small table.

Texts that belong to the shop (greetings, titles of modules, reasons) come with the page, already in its language;
here stand only the storefront's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

EN: Final[dict[str, str]] = {
    "skip": "Skip to content",
    "home": "Your page",
    "welcome": "Welcome",
    "basket": "Basket",
    "basket.count": "Basket, {n} items",
    "basket.title": "Your basket",
    "basket.empty": "Your basket is empty.",
    "basket.total": "Total",
    "basket.unpriced": "plus items whose price is not known here",
    "basket.remove": "Remove",
    "basket.remove.label": "Remove {title} from the basket",
    "basket.order": "Buy all",
    "basket.back": "Keep looking",
    "nothing": "Nothing is chosen for this page yet. As soon as something fits, it appears here.",
    "nothing.title": "Still getting to know each other",
    "wish": "Wishlist",
    "wish.label": "Wishlist: {title}",
    "wish.add": "Add to wishlist",
    "wish.remove": "On your wishlist",
    "add": "Add to basket",
    "add.label": "Add {title} to the basket",
    "buy": "Buy now",
    "quantity": "Quantity",
    "back": "Back to your page",
    "stock.out": "Out of stock",
    "stock.in": "In stock",
    "brand": "Brand",
    "number": "Item number",
    "price.unknown": "Price at the till",
    "related": "Goes well with it",
    "said.wishlist": "Added to wishlist",
    "said.wishlist_remove": "Removed from wishlist",
    "said.cart": "Added to basket",
    "said.cart_remove": "Removed from basket",
    "said.purchase": "Bought, thank you",
    "said.order": "Order placed, thank you",
    "changed": "{what}: your page has changed",
    "demo": "Demo",
    "demo.customer": "Page of customer",
    "demo.visitor": "Page of an anonymous visitor",
    "demo.region": "from {region}",
    "demo.switch": "Change",
    "demo.switch.label": "Change whose page you see",
    "customers.title": "Whose page would you like to see?",
    "customers.note": "Every customer of this shop has a page of their own. This list exists in the demo only.",
    "customers.known": "A known customer",
    "customers.search": "Customer id",
    "customers.find": "Find",
    "customers.none": "No customer's id contains “{query}”.",
    "customers.as": "See the page of “{query}” as of an unknown customer",
    "customers.id": "Customer",
    "customers.events": "Events",
    "customers.seen": "Last seen",
    "customers.never": "never",
    "customers.visitor": "A new visitor",
    "customers.visitor.note": "Nobody knows them: no cookie, no history.",
    "customers.region": "Region",
    "customers.anywhere": "unknown",
    "customers.go": "Arrive as a new visitor",
    "why": "Why this page",
    "why.subject": "Subject",
    "why.visitor": "anonymous visitor",
    "why.events": "Events known",
    "why.seen": "Last seen",
    "why.bundle": "Bundle",
    "why.asof": "Learned up to",
    "why.request": "Request",
    "why.fallback": "Fallback",
    "why.action": "Action",
    "why.source": "Source",
    "why.decision": "Decision",
    "why.reason": "Reason",
    "why.null": "none",
    "why.empty": "left empty, not shown",
    "error.title": "That did not work",
    "error.gone": "There is no such page",
    "error.item": "There is no such product",
    "error.token": "This page is out of date",
    "error.token.hint": "Please reload it and try again. Cookies must be allowed for this site.",
    "error.shop": "The shop cannot answer just now",
    "error.shop.hint": "Nothing was lost. Please try again in a moment.",
    "error.full": "The basket is full",
    "error.network": "The shop could not be reached. Please try again.",
    "footer": "Everything on this page was chosen for this visit.",
}

JA: Final[dict[str, str]] = {
    "skip": "本文へ移動",
    "home": "あなたのページ",
    "welcome": "ようこそ",
    "basket": "カート",
    "basket.count": "カート、{n}点",
    "basket.title": "カートの中身",
    "basket.empty": "カートは空です。",
    "basket.total": "合計",
    "basket.unpriced": "価格未定の商品は含みません",
    "basket.remove": "削除",
    "basket.remove.label": "{title} をカートから削除",
    "basket.order": "まとめて購入",
    "basket.back": "買い物を続ける",
    "nothing": "まだおすすめがありません。合うものが見つかり次第、ここに表示します。",
    "nothing.title": "はじめまして",
    "wish": "お気に入り",
    "wish.label": "お気に入り：{title}",
    "wish.add": "お気に入りに追加",
    "wish.remove": "お気に入りに追加済み",
    "add": "カートに入れる",
    "add.label": "{title} をカートに入れる",
    "buy": "今すぐ購入",
    "quantity": "数量",
    "back": "あなたのページへ戻る",
    "stock.out": "在庫切れ",
    "stock.in": "在庫あり",
    "brand": "ブランド",
    "number": "商品番号",
    "price.unknown": "価格は店頭で",
    "related": "一緒におすすめ",
    "said.wishlist": "お気に入りに追加しました",
    "said.wishlist_remove": "お気に入りから外しました",
    "said.cart": "カートに入れました",
    "said.cart_remove": "カートから削除しました",
    "said.purchase": "ご購入ありがとうございます",
    "said.order": "ご注文ありがとうございます",
    "changed": "{what}。ページの内容が変わりました",
    "demo": "デモ",
    "demo.customer": "お客様のページ：",
    "demo.visitor": "匿名の訪問者のページ",
    "demo.region": "（{region}）",
    "demo.switch": "変更",
    "demo.switch.label": "表示するお客様を変更",
    "customers.title": "どなたのページを見ますか",
    "customers.note": "お客様一人ひとりに、その人だけのページがあります。この一覧はデモ専用です。",
    "customers.known": "登録のあるお客様",
    "customers.search": "お客様番号",
    "customers.find": "検索",
    "customers.none": "「{query}」を含むお客様番号はありません。",
    "customers.as": "「{query}」を未知のお客様として表示",
    "customers.id": "お客様",
    "customers.events": "行動数",
    "customers.seen": "最終利用",
    "customers.never": "なし",
    "customers.visitor": "新しい訪問者",
    "customers.visitor.note": "クッキーも履歴もない、初めての方です。",
    "customers.region": "地域",
    "customers.anywhere": "不明",
    "customers.go": "新しい訪問者として見る",
    "why": "このページの理由",
    "why.subject": "対象",
    "why.visitor": "匿名の訪問者",
    "why.events": "既知の行動数",
    "why.seen": "最終利用",
    "why.bundle": "バンドル",
    "why.asof": "学習した時点",
    "why.request": "リクエスト",
    "why.fallback": "代替",
    "why.action": "アクション",
    "why.source": "候補元",
    "why.decision": "決定",
    "why.reason": "理由",
    "why.null": "なし",
    "why.empty": "空のため非表示",
    "error.title": "うまくいきませんでした",
    "error.gone": "ページが見つかりません",
    "error.item": "商品が見つかりません",
    "error.token": "ページの有効期限が切れました",
    "error.token.hint": "再読み込みしてからもう一度お試しください。クッキーを許可する必要があります。",
    "error.shop": "ただいまお答えできません",
    "error.shop.hint": "何も失われていません。しばらくしてからもう一度お試しください。",
    "error.full": "カートがいっぱいです",
    "error.network": "接続できませんでした。もう一度お試しください。",
    "footer": "このページの内容は、今回のご訪問に合わせて選ばれています。",
}

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {"en": EN, "ja": JA}

_CURRENCIES: Final = {"JPY": ("¥", 0), "USD": ("$", 2), "EUR": ("€", 2), "GBP": ("£", 2), "CNY": ("CN¥", 2)}


class Words:
    """The table of one locale: `words("basket.count", n=2)`.

    Args:
        locale: such as `ja` or `ja-JP`; one we have no words for gets English.
    """

    __slots__ = ("_table", "locale")

    def __init__(self, locale: str) -> None:
        language = locale.replace("_", "-").split("-")[0].lower()
        self.locale = language if language in TEXTS else "en"
        self._table = TEXTS[self.locale]

    def __call__(self, key: str, /, **values: object) -> str:
        """The text of a key with its placeholders filled; a KeyError is a mistake of ours."""
        text = self._table[key]
        return text.format_map(values) if values else text


_WORDS: Final = {locale: Words(locale) for locale in TEXTS}


def words_of(locale: str) -> Words:
    """The (shared) words of a locale."""
    return _WORDS.get(locale) or _WORDS[Words(locale).locale]


def format_price(price: float | None, currency: str) -> str:
    """A price as the shop writes it; empty where it is not known.

    >>> format_price(1980, "JPY"), format_price(12.3, "USD"), format_price(4, "CHF"), format_price(None, "USD")
    ('¥1,980', '$12.30', 'CHF 4.00', '')
    """
    if price is None or not math.isfinite(price):
        return ""
    sign, digits = _CURRENCIES.get(currency, (f"{currency} ", 2))
    return f"{'-' if price < 0 else ''}{sign}{abs(price):,.{digits}f}"


def format_moment(moment: str | None) -> str:
    """An ISO 8601 moment in UTC, to the minute, for the operator.

    >>> format_moment("2017-12-01T00:00:00Z")
    '2017-12-01 00:00 UTC'
    """
    if not moment:
        return ""
    return f"{moment[:10]} {moment[11:16]} UTC" if moment[10:11] == "T" else moment
