"""A small shop that behaves: what tests of the storefront stand on instead of the engine.

It remembers events and decides pages by plain rules, so an event visibly changes the next page.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from features.errors import NotFoundError, RequestError

PURPOSES = ("personalization", "marketing", "training")
QUESTION = {
    "en": {"text": "Do you live with a dog or a cat?", "why": "Food and advice on this page follow your answer.",
           "options": [{"value": "dog", "label": "a dog"}, {"value": "cat", "label": "a cat"}]},
    "ja": {"text": "わんちゃん、ねこちゃん、どちらと暮らしていますか",
           "why": "このページの商品とアドバイスに使います。",
           "options": [{"value": "dog", "label": "わんちゃん"}, {"value": "cat", "label": "ねこちゃん"}]},
}  # fmt: skip
NAMED = {
    "en": {"text": "What may we call you?", "why": "We use it to greet you, and for nothing else.", "options": []},
    "ja": {"text": "お名前を教えていただけますか", "why": "ごあいさつにのみ使います。", "options": []},
}  # fmt: skip
WORDS = {
    "en": {"hello": "Good morning", "status": "Your {item} is on its way", "expected": "between 10 and 16 December",
           "invite": "How does it look at your place?", "invite.text": "Show us a photo of your {item}.",
           "pet": "All for {pet}", "pet.text": "Chosen by your answer.",
           "basis": {"consent": "Chosen for everybody: you have not agreed to a personal page.",
                     "context": "Chosen by what sells now; we do not know you yet.",
                     "history": "Chosen by what you bought, wished and looked at."}},
    "ja": {"hello": "おはようございます", "status": "{item} をお届けする準備をしています",
           "expected": "12月10日〜16日ごろ",
           "invite": "お部屋でのご様子はいかがですか", "invite.text": "{item} の写真をお寄せください。",
           "pet": "{pet}のために", "pet.text": "ご回答に合わせました。",
           "basis": {"consent": "すべてのお客様に共通の内容です。", "context": "いま人気の商品から選びました。",
                     "history": "お買い上げ、お気に入り、閲覧の履歴から選びました。"}},
}  # fmt: skip
START = datetime(2017, 12, 3, 9, 30, tzinfo=UTC)

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
        assumed: purposes that need not be asked about.
        pet: whether a new visitor is asked for a pet.
    """

    def __init__(
        self, locale: str = "en", *, demo: bool = True, titles: dict[str, str] | None = None,
        assumed: Sequence[str] = ("personalization",), pet: bool = False,
    ) -> None:  # fmt: skip
        self.locale, self.demo, self.assumed, self.pet = locale, demo, assumed, pet
        self.events: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.queries: list[tuple[int, str]] = []
        self.slots_override: list[dict[str, Any]] | None = None
        self.reject: str | None = None
        self.error: Exception | None = None
        self.now = START
        self.told: dict[Any, dict[str, Any]] = {}
        self.order_lines: dict[tuple[str, str], dict[str, Any]] = {}
        self.receipts: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self.items = {row[0]: self._row(row) for row in CATALOGUE}
        self.items["f1"]["leadDays"] = 14.0
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
        number, locale = next(self._numbers), context.get("locale", self.locale)
        words, personal = WORDS[locale], self._agreed(user_id, visitor_id)
        who = (user_id, visitor_id) if personal else (None, "nobody at all")
        slots = self._slots(*who, number) if self.slots_override is None else self.slots_override
        if self.slots_override is None:
            slots = [*self._actions(*who, number, locale), *slots]
        known = bool(KNOWN.get(who[0] or "")) or bool(self._of(*who))
        kind = "consent" if not personal else "history" if known else "context"
        name = self._told(*who)["answers"].get("name")
        return {
            "requestId": f"req-{number}",
            "page": page,
            "greeting": {"text": f"{words['hello']}, {name}" if name else words["hello"]},
            "slots": slots,
            "bundleId": "20171201T000000Z-blend-1f3a",
            "fallback": None if known else "no history: popular items",
            "basis": {"kind": kind, "text": words["basis"][kind]},
        }

    def _agreed(self, user_id: str | None, visitor_id: str | None) -> bool:
        told = self._told(user_id, visitor_id)["consents"].get("personalization")
        return told["granted"] if told else "personalization" in self.assumed

    def _told(self, user_id: str | None, visitor_id: str | None) -> dict[str, Any]:
        return self.told.setdefault((user_id, visitor_id), {"answers": {}, "asked": set(), "consents": {}})

    def _actions(self, user_id: str | None, visitor_id: str | None, number: int, locale: str) -> list[dict[str, Any]]:
        words, told = WORDS[locale], self._told(user_id, visitor_id)
        mine = [self._order(key, locale) for key, order in self.order_lines.items() if order["userId"] == user_id]
        found = []
        if waiting := [order for order in mine if order["state"] not in ("delivered", "returned")]:
            found.append(("status", "order-status", {"title": words["status"].format(item=waiting[0]["title"]),
                                                     "text": "", "orders": waiting}))  # fmt: skip
        elif mine and mine[0]["state"] == "delivered" and not mine[0]["late"]:
            found.append(("invite", "photo", {"title": words["invite"], "url": "/web/me",
                                              "text": words["invite.text"].format(item=mine[0]["title"])}))  # fmt: skip
        if self.pet and not {"pet", "name"} & told["asked"]:
            found.append(("question", "ask-pet", {"title": "", "text": "", "question": self._question("pet", locale)}))
        if self.pet and "pet" in told["asked"] and "name" not in told["asked"]:
            found.append(
                ("question", "ask-name", {"title": "", "text": "", "question": self._question("name", locale)})
            )
        if pet := told["answers"].get("pet"):
            label = next(o["label"] for o in QUESTION[locale]["options"] if o["value"] == pet)
            found.append(("content", "hero-pet", {"title": words["pet"].format(pet=label), "alt": label,
                                                  "text": words["pet.text"], "imageUrl": f"/img/{pet}.svg",
                                                  "url": "/web/category?path=Pets"}))  # fmt: skip
        return [
            {"slot": f"top-{n}", "decisionId": f"dec-{number}-top-{n}", "actionId": name, "kind": kind, "items": [],
             "reason": None, **body}
            for n, (kind, name, body) in enumerate(found)
        ]  # fmt: skip

    def _question(self, name: str, locale: str) -> dict[str, Any]:
        return {"question": name, **{"pet": QUESTION, "name": NAMED}[name][locale]}

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

    # ---- people

    async def wishlist(self, user_id: str | None, visitor_id: str | None) -> list[dict[str, Any]]:
        return [self.items[i] for i in reversed(self._wishes(user_id, visitor_id)) if i in self.items]

    async def departments(self, path: str) -> list[tuple[str, int]]:
        start = f"{path} > " if path else ""
        below = Counter(
            start + row["category"].removeprefix(start).split(" > ")[0]
            for row in self.items.values() if row["category"].startswith(start) and row["category"] != path
        )  # fmt: skip
        return below.most_common()

    async def listing(
        self, path: str, n: int, user_id: str | None, visitor_id: str | None
    ) -> list[dict[str, Any]]:  # fmt: skip
        return [row for row in self.items.values() if f"{row['category']} > ".startswith(f"{path} > ")][:n]

    async def search(
        self, query: str, n: int, user_id: str | None, visitor_id: str | None
    ) -> list[dict[str, Any]]:  # fmt: skip
        words = query.lower().split()
        return [row for row in self.items.values() if all(word in row["title"].lower() for word in words)][:n]

    async def send_orders(self, orders: list[dict[str, Any]]) -> dict[str, Any]:
        for told in orders:
            key = told["orderId"], told["line"]
            line = self.order_lines.setdefault(key, {**told, "orderedAt": self._now(), "steps": []})
            if line["userId"] != told["userId"]:
                return {"accepted": 0, "duplicates": 0, "rejected": [{"index": 0, "code": "collision",
                        "message": "this order line is another customer's", "field": "userId"}]}  # fmt: skip
            step = {"at": self._now(), "state": told.get("shipmentState", "")}
            named = ("text", "imageUrl", "trackingUrl", "promisedAt", "pickupPlace", "pickupHours", "confirmedFor")
            line["steps"].append(step | {name: told[name] for name in named if name in told})
        return {"accepted": len(orders), "duplicates": 0, "rejected": []}

    def _order(self, key: tuple[str, str], locale: str) -> dict[str, Any]:
        line = self.order_lines[key]
        promised = [step["promisedAt"] for step in line["steps"] if "promisedAt" in step]
        state = [step["state"] for step in line["steps"] if step["state"]][-1]
        over = next((step["at"] for step in line["steps"] if step["state"] == "delivered"), self._now())
        item = self.items.get(line["itemId"]) or {"title": line["itemId"]}
        return {
            "orderId": key[0], "line": key[1], "itemId": line["itemId"], "title": item["title"], "imageUrl": None,
            "quantity": line["quantity"], "orderedAt": line["orderedAt"], "state": state,
            "promisedAt": promised[-1] if promised else None, "late": bool(promised) and over > promised[0],
            "expected": {"text": WORDS[locale]["expected"]} if promised else None, "steps": list(line["steps"]),
        }  # fmt: skip

    async def orders(self, user_id: str, locale: str) -> list[dict[str, Any]]:
        mine = [self._order(key, locale) for key, order in self.order_lines.items() if order["userId"] == user_id]
        return mine[::-1]

    async def answer(self, user_id: str | None, visitor_id: str | None, question: str, answer: str | None) -> None:
        if question not in ("pet", "name"):
            raise RequestError("the shop has no such question", where="question", got=question)
        if question == "pet" and answer not in (None, "dog", "cat"):
            raise RequestError("the question has no such answer", where="answer", got=answer)
        told = self._told(user_id, visitor_id)
        told["asked"].add(question)
        if answer is not None:
            told["answers"][question] = answer

    async def forget(self, user_id: str | None, visitor_id: str | None, question: str) -> None:
        self._told(user_id, visitor_id)["answers"].pop(question, None)

    async def consent(
        self, user_id: str | None, visitor_id: str | None, granted: Mapping[str, bool], wording: Mapping[str, str]
    ) -> None:
        for purpose, yes in granted.items():
            if purpose not in PURPOSES:
                raise RequestError("unknown purpose", where="purpose", got=purpose)
            entry = {"granted": yes, "wording": wording[purpose], "at": self._now()}
            self._told(user_id, visitor_id)["consents"][purpose] = entry

    async def consents(self, user_id: str | None, visitor_id: str | None) -> list[dict[str, Any]]:
        told = self._told(user_id, visitor_id)["consents"]
        return [
            {"purpose": each, "granted": told[each]["granted"] if each in told else each in self.assumed,
             "at": told[each]["at"] if each in told else None, "assumed": each not in told and each in self.assumed}
            for each in PURPOSES
        ]  # fmt: skip

    async def questions(self, locale: str) -> dict[str, dict[str, Any]]:
        return {name: self._question(name, locale) for name in ("pet", "name")}

    async def answers(self, user_id: str | None, visitor_id: str | None) -> dict[str, str]:
        return dict(self._told(user_id, visitor_id)["answers"])

    async def export(self, user_id: str | None, visitor_id: str | None) -> dict[str, Any]:
        return {"userId": user_id, "visitorId": visitor_id, "events": self._of(user_id, visitor_id),
                "answers": self._told(user_id, visitor_id)["answers"]}  # fmt: skip

    async def erase(self, user_id: str | None, visitor_id: str | None) -> str:
        mine = self._of(user_id, visitor_id)
        self.events = [event for event in self.events if event not in mine]
        self.told.pop((user_id, visitor_id), None)
        self.order_lines = {key: line for key, line in self.order_lines.items() if line["userId"] != user_id}
        receipt = f"receipt-{len(self.receipts) + 1}"
        self.receipts[receipt] = {
            "receiptId": receipt, "state": "erased", "erasedAt": self._now(), "removed": {"events": len(mine)},
            "says": {"now": "", "nextSync": "", "nextTraining": "", "backups": ""},
        }  # fmt: skip
        return receipt

    async def receipt(self, receipt_id: str) -> dict[str, Any]:
        if receipt_id not in self.receipts:
            raise NotFoundError("no such receipt", where="receiptId", got=receipt_id)
        return self.receipts[receipt_id]

    async def later(self, days: int) -> None:
        self.now += timedelta(days=days)

    def _now(self) -> str:
        self.now += timedelta(microseconds=1)
        return self.now.isoformat().replace("+00:00", "Z")

    async def shop(self) -> dict[str, Any]:
        return {
            "name": {"en": "Harbour Street Grocer", "ja": "みなと通り商店"}[self.locale],
            "currency": {"en": "USD", "ja": "JPY"}[self.locale],
            "locale": self.locale,
            "bundle_id": "20171201T000000Z-blend-1f3a",
            "as_of": "2017-12-01T00:00:00Z",
            "demo": self.demo,
            "regions": ["North", "South"],
            "now": self._now(),
            "timeZone": "UTC",
            "travels": self.demo,
        }
