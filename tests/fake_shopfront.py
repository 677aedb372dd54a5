"""A small shop that behaves: what tests of the storefront stand on instead of the engine.

It remembers events and decides pages by plain rules, so an event visibly changes the next page.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

CATALOGUE: tuple[tuple[str, str, str, float | None], ...] = (
    ("t1", "Sencha green tea, first flush 100 g", "Drinks > Tea", 12.3),
    ("t2", "Roasted hojicha, 40 bags", "Drinks > Tea", 6.5),
    ("t3", "Earl Grey with bergamot", "Drinks > Tea", 5.2),
    ("t4", "Genmaicha with toasted rice", "Drinks > Tea", 7.9),
    ("t5", "Peppermint infusion", "Drinks > Tea", 4.1),
    ("c1", "House blend coffee, whole bean 1 kg", "Drinks > Coffee", 16.0),
    ("c2", "Decaf espresso, ground", "Drinks > Coffee", 9.4),
    ("m1", "FLUID MILK WHITE ONLY 1/2 GAL", "GROCERY > FLUID MILK PRODUCTS", 2.19),
    ("m2", "Organic whole milk", "GROCERY > FLUID MILK PRODUCTS", 3.79),
    ("b1", "Sourdough loaf, stone baked", "Bakery > Bread", 4.8),
    ("b2", "Rye bread with caraway", "Bakery > Bread", 4.2),
    ("b3", "Six brioche buns", "Bakery > Bread", 3.6),
    ("v1", "Vine tomatoes 500 g", "Produce > Fruit & vegetables", 3.3),
    ("v2", "Hass avocado, ready to eat", "Produce > Fruit & vegetables", 1.4),
    ("v3", "Salad potatoes 1 kg", "Produce > Fruit & vegetables", 2.2),
    ("k1", "WHITE HANGING HEART T-LIGHT HOLDER", "Home > Candles", 2.95),
    ("k2", "Beeswax candle, hand dipped", "Home > Candles", 8.0),
    ("k3", "JUMBO BAG RED RETROSPOT", "Home > Bags", 2.08),
    ("k4", "Linen tote with inner pocket", "Home > Bags", 18.5),
    ("h1", "Hand soap, cedar", "Care > Soap", 5.6),
    ("h2", "Shampoo for dry hair", "Care > Hair care", 7.25),
    ("w1", "Riesling dry, Mosel", "Drinks > Wine", 11.9),
    ("w2", "Olive oil extra virgin 750 ml", "Pantry > Oil", 13.4),
    ("s1", "Tomato soup with basil", "Pantry > Soup", 2.6),
    ("s2", "White beans in brine", "Pantry > Canned", 1.1),
    ("s3", "Acacia honey 340 g", "Pantry > Spreads", 6.3),
    ("d1", "Dog food, lamb and rice 12 kg", "Pets > Dog", 49.0),
    ("g1", "Comté, aged 18 months", "Deli > Cheese", 7.7),
    ("g2", "Smoked ham, thin sliced", "Deli > Meat", 4.9),
    ("n1", "Notebook A5, dotted", "Paper > Stationery", 6.9),
    ("n2", "Wrapping paper and card set", "Paper > Stationery", None),
    ("f1", "Reading chair in oak", "Rooms > Furniture", 420.0),
)
JAPANESE: dict[str, tuple[str, str, float]] = {
    "t1": ("煎茶 一番摘み 100g", "飲料 > お茶", 1980.0),
    "t2": ("ほうじ茶 40袋", "飲料 > お茶", 648.0),
    "b1": ("石窯焼きサワードウ", "パン > 食パン", 580.0),
    "k2": ("みつろうキャンドル", "暮らし > 灯り", 1200.0),
    "h1": ("ハンドソープ 杉", "日用品 > 石鹸", 780.0),
}
TITLES = {
    "en": ("Because of your wishlist", "Buy again", "New for you", "Popular near you", "Goes with {item}"),
    "ja": ("お気に入りから", "またお求めですか", "あなたへのおすすめ", "お近くで人気", "{item} と一緒に"),
}
REASONS = {
    "en": ("Like “{item}” on your wishlist", "You buy it about every 12 days", "Others with your taste like it",
           "Often bought this week", "Often bought together"),
    "ja": ("お気に入りの「{item}」に近い品", "12日ごとにお求めです", "好みの近い方に人気", "今週よく売れています",
           "一緒によく買われています"),
}  # fmt: skip
KINDS = ("wishlist", "buy-again", "for-you", "popular", "related-to-last-view")
KNOWN = {"1609": ["m1", "b1", "v1", "h1", "c1", "g2"], "718": ["t1", "t3", "w1"], "2459": ["d1"]}


class FakeShopfront:
    """Implements `serving.web.Shopfront` over a dictionary.

    Args:
        locale: `en` in dollars or `ja` in yen.
        demo: whether the picker exists.
        titles: titles by item id that replace those of the catalogue.
    """

    def __init__(self, locale: str = "en", *, demo: bool = True, titles: dict[str, str] | None = None) -> None:
        self.locale, self.demo = locale, demo
        self.events: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.queries: list[tuple[int, str]] = []
        self.slots_override: list[dict[str, Any]] | None = None
        self.reject: str | None = None
        self.error: Exception | None = None
        self._numbers = itertools.count(1)
        self.items = {row[0]: self._row(row) for row in CATALOGUE}
        for item_id, title in (titles or {}).items():
            self.items[item_id]["title"] = title

    def _row(self, row: tuple[str, str, str, float | None]) -> dict[str, Any]:
        item_id, title, category, price = row
        if self.locale == "ja":
            title, category, price = JAPANESE.get(item_id, (title, category, None if price is None else price * 150))
        return {"itemId": item_id, "title": title, "category": category, "price": price, "imageUrl": None,
                "brand": "Kitano & Sons", "inStock": item_id != "n2"}  # fmt: skip

    async def page(
        self, page: str, user_id: str | None, visitor_id: str | None, session_id: str, context: dict[str, Any]
    ) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.requests.append({"page": page, "user_id": user_id, "visitor_id": visitor_id, "session_id": session_id,
                              "context": context})  # fmt: skip
        number = next(self._numbers)
        hello = {"en": "Good morning", "ja": "おはようございます"}[self.locale]
        slots = self._slots(user_id, visitor_id, number) if self.slots_override is None else self.slots_override
        known = bool(KNOWN.get(user_id or "")) or bool(self._of(user_id, visitor_id))
        return {
            "requestId": f"req-{number}",
            "page": page,
            "greeting": {"text": hello},
            "slots": slots,
            "bundleId": "20171201T000000Z-blend-1f3a",
            "fallback": None if known else "no history: popular items",
        }

    def _of(self, user_id: str | None, visitor_id: str | None) -> list[dict[str, Any]]:
        return [e for e in self.events if e.get("userId") == user_id and e.get("visitorId") == visitor_id]

    def _wishes(self, user_id: str | None, visitor_id: str | None) -> list[str]:
        wishes: dict[str, None] = {}
        for event in self._of(user_id, visitor_id):
            if event["type"] == "wishlist":
                wishes[event["itemId"]] = None
            elif event["type"] in ("wishlist_remove", "purchase"):
                wishes.pop(event["itemId"], None)
        return list(wishes)

    def _slots(self, user_id: str | None, visitor_id: str | None, number: int) -> list[dict[str, Any]]:
        mine, wishes = self._of(user_id, visitor_id), self._wishes(user_id, visitor_id)
        bought = list(KNOWN.get(user_id or "", [])) + [e["itemId"] for e in mine if e["type"] == "purchase"]
        viewed = [e["itemId"] for e in mine if e["type"] == "view"]
        wished = [j for i in reversed(wishes) for j in self._like(i)]
        popular = [
            i for i in ("k1", "m1", "v2", "b3", "s3", "w2", "n1", "k3", "h2", "c2", "g1", "t5") if i not in bought
        ]
        plan = (
            (4, self._like(viewed[-1]) if viewed else [], viewed[-1:]),
            (0, wished, wishes[-1:]),
            (1, list(dict.fromkeys(reversed(bought))), []),
            (2, [i for i in ("t4", "k2", "b2", "w1", "s1", "g1", "k4", "f1", "t2", "c1", "v3") if bought], []),
            (3, popular, []),
        )
        shown: set[str] = set()
        return [self._slot(name, *row, shown, wishes, number) for name, row in zip("abcde", plan, strict=True)]

    def _slot(
        self, name: str, kind: int, ids: list[str], about: list[str], shown: set[str], wishes: list[str], number: int
    ) -> dict[str, Any]:
        chosen = [i for i in dict.fromkeys(ids) if i not in shown][:8]
        shown.update(chosen)
        item = self.items[about[0]]["title"] if about and about[0] in self.items else ""
        reason = REASONS[self.locale][kind].format(item=item)
        items = [{**self.items[i], "wished": i in wishes, "reason": reason, "source": KINDS[kind]} for i in chosen]
        return {
            "slot": name,
            "decisionId": f"dec-{number}-{name}",
            "actionId": KINDS[kind],
            "kind": KINDS[kind],
            "title": TITLES[self.locale][kind].format(item=item),
            "text": "",
            "items": items,
            "reason": None if items else "fewer items than the module's minimum",
        }

    def _like(self, item_id: str) -> list[str]:
        if item_id not in self.items:
            return []
        wide = self.items[item_id]["category"].split(" > ")[0]
        return [i for i, row in self.items.items() if i != item_id and row["category"].split(" > ")[0] == wide]

    async def send_events(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        if self.reject is not None:
            return {"accepted": 0, "duplicates": 0, "rejected": [
                {"index": 0, "code": "invalid_request", "message": self.reject, "field": "type"}]}  # fmt: skip
        known = {e["eventId"] for e in self.events}
        fresh = [e for e in events if e["eventId"] not in known]
        self.events += fresh
        return {"accepted": len(fresh), "duplicates": len(events) - len(fresh), "rejected": []}

    async def customers(self, limit: int, query: str) -> list[dict[str, Any]]:
        self.queries.append((limit, query))
        seen = {"1609": "2017-11-30T18:22:00Z", "718": "2017-11-12T09:05:00Z"}
        rows = [{"userId": u, "events": 2811 - 700 * n, "lastSeen": seen.get(u)} for n, u in enumerate(KNOWN)]
        rows += [{"userId": str(i), "events": 700 - i % 97, "lastSeen": "2017-11-02T11:00:00Z"} for i in range(31, 43)]
        return [row for row in rows if query in row["userId"]][:limit]

    async def customer(self, user_id: str) -> dict[str, Any]:
        count = Counter(e.get("userId") for e in self.events)[user_id]
        known = len(KNOWN.get(user_id, ()))
        return {"userId": user_id, "events": known + count, "lastSeen": "2017-11-30T18:22:00Z" if known else None}

    async def item(self, item_id: str, user_id: str | None, visitor_id: str | None) -> dict[str, Any] | None:
        row = self.items.get(item_id)
        return None if row is None else {**row, "wished": item_id in self._wishes(user_id, visitor_id)}

    async def related(
        self, item_id: str, n: int, user_id: str | None, visitor_id: str | None, session_id: str
    ) -> dict[str, Any]:
        wishes = self._wishes(user_id, visitor_id)
        slot = self._slot("related", 4, self._like(item_id)[:n], [item_id], set(), wishes, next(self._numbers))
        return {**slot, "title": ""}

    async def shop(self) -> dict[str, Any]:
        return {
            "name": {"en": "Harbour Street Grocer", "ja": "みなと通り商店"}[self.locale],
            "currency": {"en": "USD", "ja": "JPY"}[self.locale],
            "locale": self.locale,
            "bundle_id": "20171201T000000Z-blend-1f3a",
            "as_of": "2017-12-01T00:00:00Z",
            "demo": self.demo,
            "regions": ["North", "South"],
        }
