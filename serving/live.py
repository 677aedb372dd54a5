"""What serves at a moment: one bundle, one history and one configuration, fixed for the whole way of a request."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import Unavailable
from features.history import Histories, History, customer_subject, visitor_subject
from features.pace import breathe
from features.shop import Shop
from serving.bundle import Bundle, open_bundle
from serving.business import Business
from serving.candidates import Rows
from serving.config import ShopConfig
from serving.delivery import Deliveries
from serving.effects import SlotPolicy
from serving.newer import Reach
from serving.profiles import People
from serving.questions import Hours, Learned, learned_of
from serving.ranker import Ranker
from serving.repurchase import Windows
from serving.shelf import Shelf
from serving.stops import NO_STOPS, Stops


@dataclass(frozen=True)
class Live:
    """Everything one request needs, fixed for its whole way."""

    config: ShopConfig
    shop_hash: str
    ranker: Ranker
    histories: Histories | None
    translation: npt.NDArray[np.int32]
    """int32[items of the histories]: their rows in the bundle."""
    history_seq: int
    """The histories hold the store's events up to this sequence number."""
    history_name: str | None
    config_stamp: tuple[int, int]
    policies: Mapping[str, SlotPolicy]
    """Learned policies that slots of the configuration name."""
    people: People | None = None
    """What the dataset knows of customers beside events; None before the first sync, and in a history that is older."""
    stops: Stops = NO_STOPS
    """What the shop took off everywhere."""
    blind: bool = False
    """The history that is to serve cannot be read, and none stands in for it: nobody knows which customer refused."""

    @property
    def bundle(self) -> Bundle:
        """The bundle that serves."""
        return self.ranker.bundle

    @cached_property
    def reach(self) -> Reach:
        """What the store holds up to these numbers is in the histories and the profiles."""
        return Reach(self.history_seq, *(self.people.after if self.people else (0, 0)))

    @cached_property
    def assumed(self) -> frozenset[str]:
        """Purposes for which the shop relies on another basis than consent."""
        return frozenset(self.config.consent.assumed)

    @cached_property
    def windows(self) -> Windows:
        """For how long each category rests after a purchase."""
        return Windows(self.bundle, self.config.repurchase)

    @cached_property
    def languages(self) -> frozenset[str]:
        """Those that the shop has words in."""
        config = self.config
        words = [*(each.title for each in config.modules.values()), *(each.text for each in config.questions.values())]
        texts = {text.locale for action in config.actions.values() for text in action.texts if text.locale}
        return frozenset({config.shop.locale, *texts, *(name for each in words for name in each)})

    def language(self, asked: str | None, known: Container[str] | None = None) -> str:
        """The language of a request's words: its own (`ja`, also where it says `ja-JP`), else the shop's.

        Args:
            asked: by the request.
            known: languages in which there are such words; default: those of the shop's file.
        """
        if not asked:
            return self.config.shop.locale
        known = self.languages if known is None else known
        for name in (asked, asked.replace("_", "-").split("-")[0].lower()):
            if name in known:
                return name
        return self.config.shop.locale

    @cached_property
    def hours(self) -> Hours | None:
        """When things are looked at; None where the bundle has not learned it."""
        return Hours.from_arrays(self.bundle.arrays)

    @cached_property
    def learned_questions(self) -> dict[str, Learned]:
        """What answers are worth, by question."""
        return learned_of(self.bundle.arrays)

    @cached_property
    def deliveries(self) -> Deliveries | None:
        """When orders arrive; None where the bundle has not learned it."""
        return Deliveries.of(self.bundle)

    def row_of(self, user_id: str | None, visitor_id: str | None) -> int | None:
        """The row of a subject in the histories and the profiles; None where it is not in them."""
        if self.histories is None:
            return None
        if user_id is not None:
            return self.histories.subjects.find(customer_subject(user_id))
        return None if visitor_id is None else self.histories.subjects.find(visitor_subject(visitor_id))

    def mapped(self, row: int | None) -> History:
        """What the subject in that row did up to the last sync, in the bundle's item rows."""
        if self.histories is None or row is None:
            return History.empty()
        return self.histories.at(row, self.translation)


def check_whole(live: Live) -> None:
    """Refuse to tell what is kept of somebody while the half of it cannot be seen.

    Raises:
        Unavailable: no history can be read.
    """
    if live.blind:
        raise Unavailable("the history cannot be read now", hint="kokyaku sync renews it; then ask again")


def item_card(live: Live, row: int) -> dict[str, Any]:
    """What a page shows of an item, as on the wire: the bundle's words, or what the shop changed since."""
    return item_cards(live, np.array([row], np.int32))[0]


def item_cards(live: Live, rows: Rows, ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """`item_card` of several items.

    Args:
        live: whose.
        rows: int32[m].
        ids: theirs, where they are read already.
    """
    bundle, shelf, paths = live.bundle, live.ranker.shelf, live.bundle.categories
    told = zip(
        bundle.ids_of(rows) if ids is None else ids, bundle.texts("title", rows), shelf.prices_of(rows),
        bundle.texts("image_url", rows), bundle.shared.category[rows].tolist(), strict=True,
    )  # fmt: skip
    cards: list[dict[str, Any]] = [
        {"itemId": item, "title": title or item, "price": price, "imageUrl": image or None,
         "category": paths[code] if code >= 0 else None}
        for item, title, price, image, code in told
    ]  # fmt: skip
    for card, row in zip(cards, rows.tolist(), strict=True) if shelf.texts else ():
        changed = shelf.texts.get(row, _UNCHANGED)
        card |= {name: new for name in ("title", "imageUrl") if (new := changed.get(name))}
    return cards


_UNCHANGED: Mapping[str, Any] = {}


def open_ranker(shop: Shop, name: str, config: ShopConfig) -> Ranker:
    """Map a bundle and make a ranker of it, ready for its first request.

    Raises:
        BundleError: it is damaged, or made by another program.
        ConfigError: the shop's wishes do not fit it.
    """
    bundle = open_bundle(shop.bundles / name)
    breathe()
    ranker = Ranker(bundle, Shelf(bundle), Business.of(bundle, config))
    breathe()
    ranker.prepare()
    return ranker


def translation_of(histories: Histories | None, bundle: Bundle) -> npt.NDArray[np.int32]:
    """int32[items of the histories]: their rows in the bundle."""
    return np.empty(0, np.int32) if histories is None else histories.items.translate_to(bundle.items)


def stamp_of(path: Path) -> tuple[int, int]:
    """By which a changed file is known: when it was written, and its size; (0, 0) where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
