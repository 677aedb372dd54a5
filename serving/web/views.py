"""From the engine's JSON to what templates show: prices written, pictures drawn, buttons made, empty slots gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from serving.web import art
from serving.web.actions import NOWHERE, Origin, deed_tail, quoted
from serving.web.order_views import OrderView, order_view, picture
from serving.web.shopfront import CustomerJson, ItemJson, OrderJson, PageJson, QuestionJson, ShopJson, SlotJson
from serving.web.strings import Words, format_moment, format_price, words_of

KINDS: Final = ("buy-again", "wishlist", "for-you", "popular", "related")
"""Kinds of products that the style sheet knows; any other looks plain."""
ACTIONS: Final = frozenset(
    {"content", "guide", "video", "tip", "offer", "exclusive", "early_access", "event", "invite"}
)
"""Kinds of actions that are a picture, words and a link; `status` and `question` look like nothing else."""


@dataclass(frozen=True, slots=True)
class Card:
    """One product, ready to be shown."""

    item_id: str
    title: str
    category: str
    brand: str
    price: str
    amount: float | None
    reason: str
    wished: bool
    in_stock: bool
    image: str
    art: Markup
    tone: int
    href: str
    wish: str
    cart: str
    buy: str


@dataclass(frozen=True, slots=True)
class QuestionView:
    """One question as a small form; without options the answer is free text."""

    question: str
    text: str
    why: str
    options: tuple[tuple[str, str], ...]
    answer: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class SlotView:
    """One slot: cards under a heading, or an action: a hero with a picture, a note, progress of orders, a question.

    Args:
        name, kind: of the slot, and its look.
        title, text: words of the shop.
        cards: products.
        label: what kind of action it is, in a word.
        image, alt: its picture; empty where there is none.
        href, more: where it leads, and how the link is called.
        orders: order lines with their progress.
        question: what is asked.
    """

    name: str
    kind: str
    title: str
    text: str
    cards: tuple[Card, ...] = ()
    label: str = ""
    image: str = ""
    alt: str = ""
    href: str = ""
    more: str = ""
    orders: tuple[OrderView, ...] = ()
    question: QuestionView | None = None


@dataclass(frozen=True, slots=True)
class WhyRow:
    """What the operator's panel says about one slot, shown or left empty."""

    slot: str
    title: str
    action: str
    source: str
    decision: str
    reason: str
    shown: bool


@dataclass(frozen=True, slots=True)
class Why:
    """The operator's panel."""

    facts: tuple[tuple[str, str], ...]
    rows: tuple[WhyRow, ...]


class Viewer:
    """Makes views for one shop in its money and somebody's language.

    Args:
        shop: whose.
        locale: of the words; default: the shop's.
        sealed: makes the address that leads where an action points, from its address, decision and slot.
    """

    def __init__(
        self, shop: ShopJson, locale: str = "", sealed: Callable[[str, str, str], str] = lambda url, *_: url
    ) -> None:
        self.shop, self._sealed = shop, sealed
        self.words: Words = words_of(locale or shop["locale"])

    def card(self, item: ItemJson, origin: Origin = NOWHERE) -> Card:
        """One product; where it stood travels with its link and its buttons."""
        item_id = item["itemId"]
        path = category_path(item.get("category"))
        title = item.get("title") or item_id
        category = telling(path, title)
        amount, wished = item.get("price"), bool(item.get("wished"))
        deeds = deed_tail(item_id, origin)
        return Card(
            item_id=item_id,
            title=title,
            category=category,
            brand=item.get("brand") or "",
            price=format_price(amount, self.shop["currency"]),
            amount=amount if amount is not None and amount == amount else None,
            reason=item.get("reason") or "",
            wished=wished,
            in_stock=item.get("inStock") is not False,
            image=picture(item.get("imageUrl")),
            art=art.still_life(path, title),
            tone=art.tone(category),
            href=item_href(item_id, origin),
            wish=f"type=wishlist_remove&{deeds}" if wished else f"type=wishlist&{deeds}",
            cart=f"type=cart&{deeds}",
            buy=f"type=purchase&{deeds}",
        )

    def cards(self, items: Sequence[ItemJson]) -> tuple[Card, ...]:
        """Products that no decision chose."""
        return tuple(self.card(item) for item in items)

    def slot(self, slot: SlotJson) -> SlotView | None:
        """A slot to be shown; None when there is nothing in it."""
        name, decision, kind = slot["slot"], slot["decisionId"], slot.get("kind") or ""
        title, text = slot.get("title") or "", slot.get("text") or ""
        if kind == "status":
            orders = tuple(self.order(order) for order in slot.get("orders") or ())
            return SlotView(name, kind, title, text, orders=orders) if orders else None
        if kind == "question":
            asked = slot.get("question")
            return None if asked is None else SlotView(name, kind, title, text, question=question_view(asked))
        cards = tuple(self.card(item, Origin(decision, name, place)) for place, item in enumerate(slot["items"]))
        # A slot that should hold products and holds none is left out; a tip or an invitation is all words.
        if cards:
            return SlotView(name, look(kind), title, text, cards)
        if kind in ("", "products") or look(kind) != "plain" or not slot.get("actionId") or not (text or title):
            return None
        return self._action(slot, kind, title, text)

    def _action(self, slot: SlotJson, kind: str, title: str, text: str) -> SlotView:
        t, image, url = self.words, picture(slot.get("imageUrl")), picture(slot.get("url"))
        return SlotView(
            name=slot["slot"],
            kind="hero" if image else "note",
            title=title,
            text=text,
            label=t(f"kind.{kind}") if kind in ACTIONS else "",
            image=image,
            alt=slot.get("alt") or "",
            href=self._sealed(url, slot["decisionId"], slot["slot"]) if url else "",
            more=t(f"more.{kind}") if f"more.{kind}" in t else t("more"),
        )

    def order(self, order: OrderJson) -> OrderView:
        """One order line with its progress."""
        return order_view(order, self.shop, self.words)

    def slots(self, page: PageJson) -> tuple[SlotView, ...]:
        """The slots of a page that have something in them, in the order given."""
        views = (self.slot(slot) for slot in page["slots"])
        return tuple(view for view in views if view is not None)

    def why(self, page: PageJson, shown: Sequence[SlotView], customer: CustomerJson | None) -> Why:
        """The operator's panel of a page."""
        t = self.words
        facts = [(t("why.subject"), t("why.visitor") if customer is None else customer["userId"])]
        if customer is not None:
            facts.append((t("why.events"), f"{customer['events']:,}"))
            facts.append((t("why.seen"), format_moment(customer.get("lastSeen")) or t("customers.never")))
        facts.append((t("why.bundle"), page["bundleId"]))
        facts.append((t("why.asof"), format_moment(self.shop["as_of"])))
        facts.append((t("why.request"), page["requestId"]))
        facts.append((t("why.fallback"), _plain(page.get("fallback"))))
        names = {view.name for view in shown}
        rows = tuple(self.why_row(slot, shown=slot["slot"] in names) for slot in page["slots"])
        return Why(tuple(fact for fact in facts if fact[1]), rows)

    def why_row(self, slot: SlotJson, *, shown: bool) -> WhyRow:
        """One slot of the operator's panel."""
        sources = dict.fromkeys(item.get("source") or "" for item in slot["items"])
        return WhyRow(
            slot=slot["slot"],
            title=slot.get("title") or slot.get("kind") or "",
            action=slot.get("actionId") or self.words("why.null"),
            source=", ".join(filter(None, sources)) or slot.get("kind") or "",
            decision=slot["decisionId"],
            reason=slot.get("reason") or "",
            shown=shown,
        )


def category_path(category: str | Sequence[str] | None) -> tuple[str, ...]:
    """A category as its path, widest first.

    >>> category_path("Grocery > Tea"), category_path(["Grocery", "Tea"]), category_path(None)
    (('Grocery', 'Tea'), ('Grocery', 'Tea'), ())
    """
    if isinstance(category, str):
        category = category.split(" > ")
    return tuple(part for part in category or () if part)


def telling(path: tuple[str, ...], title: str) -> str:
    """The narrowest level that says more than the title already does; empty where none does.

    >>> telling(("MEAT", "BEEF", "PRIMAL"), "PRIMAL, 2 LB"), telling(("Tea",), "Sencha"), telling((), "Sencha")
    ('BEEF', 'Tea', '')
    """
    start = title.casefold()
    return next((level for level in reversed(path) if not start.startswith(level.casefold())), "")


def item_href(item_id: str, origin: Origin = NOWHERE, *, path: str = "/web/item") -> str:
    """The address of a product page and of how one got there. Ids travel in the query: they hold any character."""
    href = f"{path}?id={quoted(item_id)}"
    if origin.decision_id:
        href += f"&d={quoted(origin.decision_id)}&s={quoted(origin.slot)}"
        href += "" if origin.position is None else f"&p={origin.position}"
    return href


def total(amounts: Sequence[tuple[float | None, int]]) -> tuple[float, bool]:
    """Sum of price x pieces, and whether the price of some was not known.

    >>> total([(2.5, 2), (None, 1)])
    (5.0, True)
    """
    known = [price * pieces for price, pieces in amounts if price is not None]
    return sum(known), len(known) < len(amounts)


def question_view(asked: QuestionJson, answer: str = "") -> QuestionView:
    """A question, and how its answer reads where there is one."""
    options = tuple((option["value"], option["label"]) for option in asked["options"])
    return QuestionView(
        asked["question"], asked["text"], asked["why"], options, answer, dict(options).get(answer, answer)
    )


def look(kind: str) -> str:
    """The look of a kind of products."""
    return next((known for known in KINDS if kind.startswith(known)), "plain")


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    return "" if value in (None, False) else str(value)
