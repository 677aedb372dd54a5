"""What a shop has that wrote nothing: modules, the status of orders, and a layout for every page."""

from __future__ import annotations

from serving.settings.actions import Action, Text
from serving.settings.pages import Module, Page, Slot
from serving.settings.when import When

DEFAULT_MODULES: dict[str, Module] = {
    "buy-again": Module("buy-again", {"en": "Buy again", "ja": "またお求めですか"}),
    "wishlist": Module("wishlist", {"en": "Because of your wishlist", "ja": "お気に入りから"}, minimum=1),
    "for-you": Module("for-you", {"en": "New for you", "ja": "あなたへのおすすめ"}),
    "popular": Module(
        "popular", {"en": "Popular near you", "ja": "お近くで人気"}, minimum=1,
        again={"en": "More that others like", "ja": "ほかにも人気の商品"},
    ),
    "related": Module("related-to-last-view", {"en": "Goes with {item}", "ja": "{item} と一緒に"}),
    "goes-with-order": Module(
        "goes-with-order", {"en": "Goes with your {item}", "ja": "ご注文の {item} と一緒に"}, minimum=1,
    ),
    "viewed": Module("viewed", {"en": "You looked at", "ja": "最近ご覧になった商品"}, minimum=1),
}  # fmt: skip
DEFAULT_ACTIONS: dict[str, Action] = {
    "order-status": Action(
        "status",
        (
            Text("Your {order.item} is ready", "Pick it up at {order.place}[, {order.hours}].", locale="en"),
            Text("Your {order.item} is on its way", "We expect it {order.expected}.", locale="en"),
            Text("Your order is on its way", locale="en"),
            Text("{order.item} をお受け取りいただけます", "受取場所：{order.place}[（{order.hours}）]", locale="ja"),
            Text("{order.item} をお届けする準備をしています", "お届けは{order.expected}の見込みです。", locale="ja"),
            Text("ご注文の状況", locale="ja"),
        ),
        When(stages=("waiting",)),
    ),
}
_SHELVES = ("for-you", "popular")
DEFAULT_PAGES: dict[str, Page] = {
    "home": Page(
        (
            Slot("first", ("order-status", "related", "wishlist", "buy-again", "for-you", "popular")),
            Slot("second", ("goes-with-order", "buy-again", "wishlist", "for-you", "popular")),
            Slot("third", ("wishlist", "for-you", "popular")),
            Slot("fourth", ("for-you", "popular")),
            Slot("last", ("popular",)),
        )
    ),
    "landing": Page((Slot("first", ("related", "wishlist", *_SHELVES)), Slot("second", ("buy-again", *_SHELVES)))),
    "category": Page((Slot("first", ("for-you", "popular")), Slot("second", ("viewed", "popular")))),
    "product": Page((Slot("first", ("related", *_SHELVES)), Slot("second", ("viewed", "popular")))),
    "basket": Page((Slot("first", ("related", "buy-again", *_SHELVES)),)),
    "wishlist": Page((Slot("first", ("wishlist", *_SHELVES)), Slot("second", ("for-you", "popular")))),
    "my-page": Page((Slot("first", ("order-status", "buy-again", *_SHELVES)), Slot("second", ("wishlist", *_SHELVES)))),
    "after-purchase": Page(
        (Slot("first", ("order-status", "goes-with-order", *_SHELVES)), Slot("second", ("goes-with-order", *_SHELVES)))
    ),
    "order-status": Page(
        (Slot("first", ("order-status", "goes-with-order", *_SHELVES)), Slot("second", ("goes-with-order", *_SHELVES)))
    ),
}
