"""The engine: one shop's live state in a worker, and the swap of its parts.

A request takes one reference to `engine.live` at its start; a swap builds a new `Live` beside it and assigns one
attribute. So a request sees one bundle, one history and one configuration, whatever is published meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Any

from features.errors import BundleError, ConfigError, KokyakuError, Unavailable
from features.history import History
from features.pace import breathe
from features.shop import Shop
from serving import people
from serving.artifact import LIVE, live_name, others
from serving.bundle import Bundle
from serving.business import Business
from serving.clock import shop_clock
from serving.config import ShopConfig, load_config
from serving.decision_log import DecisionLog, Discard
from serving.erase import sweep_here
from serving.live import Live, open_ranker, stamp_of, translation_of
from serving.newer import Found, newer_of
from serving.news import News
from serving.past import NO_PAST, Past, open_past, stand_in, swept
from serving.person import Consents, Person
from serving.policy_files import open_policies
from serving.ranker import Ranker
from serving.stops import read_stops
from serving.store import Store
from serving.store_latest import latest_recorded
from serving.store_upkeep import store_id
from serving.subjects import subject_history

log = logging.getLogger("kokyaku")
_REFUSED_SECONDS = 30.0
_UNREAD = (-1, -1)
"""The stamp of a `shop.toml` that is to be read again whether it changed or not."""


class Engine:
    """A shop, opened for serving.

    Args:
        shop: whose it is.
        worker: name of this worker's decision log; None for a preview that logs nothing.
        whole: whether a damaged history is an error, or refused as a worker does; default: of a preview it is.

    Raises:
        BundleError: nothing was promoted yet, or what was is damaged; of a preview also a history that is.
        ConfigError: `shop.toml` makes no sense, or not with this bundle, or names a policy that cannot be used.
    """

    request_id: str | None = None
    """Stands for whom nobody named, in the draws of a request that is rebuilt; None: each request has a new one."""

    def __init__(self, shop: Shop, *, worker: str | None = "0", whole: bool | None = None) -> None:
        self.shop = shop
        self.store = Store.of(shop)
        self.clock = shop_clock(shop).not_before(latest_recorded(self.store))
        self.preview = worker is None
        """Nobody sees the answers: nothing is kept of them."""
        self.decisions = Discard() if worker is None else DecisionLog(shop.decision_logs, worker)
        self.refusals: dict[str, str] = {}
        self._refused_until = 0.0
        self.refused: Counter[str] = Counter()
        """How often a newer `bundle`, `history` or `settings` was refused."""
        self._reloading = threading.Lock()
        self._turning = threading.RLock()
        """Held by who changes `live` or its shelf, for a moment: a swap, a stop and a price may come together."""
        self._items_seen = 0
        self._unread: str | None = None
        self._swept: tuple[int, str | None] = (0, None)
        config, stamp = load_config(shop.config), stamp_of(shop.config)
        ranker = self._first_ranker(config)
        past = self._first_past(ranker.bundle, self.preview if whole is None else whole)
        policies = open_policies(shop.policies, config)
        self.live = Live(
            config, config.hash, ranker, past.histories, past.translation, past.seq, past.name, stamp, policies,
            past.people, blind=past.blind,
        )  # fmt: skip
        self._news = News(self.store.database, self.live.reach)
        self.refresh_shelf()
        self.refresh_stops()

    def find(self, live: Live, user_id: str | None, visitor_id: str | None) -> Found:
        """Where one subject stands: his row in the mapped history, and what the store holds beyond it this second.

        Raises:
            Unavailable: the store cannot be read now.
        """
        if user_id is not None and self._news.none_of(user_id, live.reach):
            return Found(live.row_of(user_id, None))
        newer = newer_of(self.store.database, user_id, visitor_id, live.reach)
        return Found(live.row_of(user_id, visitor_id), newer)

    def history_of(
        self, live: Live, user_id: str | None, visitor_id: str | None, found: Found | None = None
    ) -> History:  # fmt: skip
        """What one subject did up to this second, in the bundle's item rows.

        The mapped slice and the store's newer events are joined; an event that stands in both counts once.

        Args:
            live: the state that the request holds.
            user_id, visitor_id: who asks.
            found: where they stand, where that was looked for before.
        """
        found = found or self.find(live, user_id, visitor_id)
        if not found.newer.events:
            return live.mapped(found.row)
        return subject_history(
            self.store,
            live.histories,
            user_id,
            visitor_id,
            after_seq=live.history_seq,
            items=live.bundle.items,
            translation=live.translation,
        )

    def mapped_history_of(self, live: Live, user_id: str | None) -> History:
        """What a customer did up to the last sync, without a look at the store.

        A visitor's slice is left alone: by a sign-in since then it may have become somebody else's.
        """
        return live.mapped(live.row_of(user_id, None))

    def stored_history_of(self, live: Live, user_id: str | None, visitor_id: str | None) -> History:
        """What the store alone knows that one subject did, where the mapped history cannot be read.

        Raises:
            Unavailable: the store cannot be read either.
        """
        translation, items = live.translation, live.bundle.items
        return subject_history(
            self.store, None, user_id, visitor_id, after_seq=0, items=items, translation=translation
        )  # fmt: skip

    def note_unread(self, live: Live, error: BundleError) -> None:
        """Tell once of a history that requests cannot read their part of."""
        if live.history_name != self._unread:
            self._unread = live.history_name
            log.warning("the history %s cannot be read, the store stands in: %s", live.history_name, error.line())

    def consents_of(
        self, live: Live, user_id: str | None, visitor_id: str | None, found: Found | None = None
    ) -> Consents:  # fmt: skip
        """What somebody agreed to; nothing else is read of them.

        A customer's refusal may stand in the history alone. So while that cannot be read he agreed to nothing.
        """
        if live.blind and user_id is not None:
            return Consents()
        found = found or self.find(live, user_id, visitor_id)
        return people.consents_of(live, user_id, visitor_id, live.assumed, found)

    def person_of(
        self, live: Live, user_id: str | None, visitor_id: str | None, now: int, found: Found | None = None
    ) -> Person:
        """What the shop was told of somebody, as of now."""
        found = found or self.find(live, user_id, visitor_id)
        return people.person_of(self, live, user_id, visitor_id, now, found)

    def refresh(self) -> bool:
        """Take up a newly published bundle, history or `shop.toml`; what is broken is refused and named.

        Returns:
            Whether anything changed.

        Raises:
            KokyakuError: nothing did, and not everything could be looked at; the next call looks again.
        """
        with self._reloading:
            before, trouble = self.live, None
            # What the shop took off comes first, and what is broken in one part keeps none of the others back.
            for part in (
                self.refresh_stops, self.refresh_shelf, self._refresh_config, self._refresh_bundle,
                self._refresh_history, self._sweep,
            ):  # fmt: skip
                try:
                    part()
                except KokyakuError as error:
                    trouble = trouble or error
            if trouble is not None and self.live is before:
                raise trouble
            return self.live is not before

    def refresh_shelf(self) -> None:
        """Apply item changes that reached the store since the last look (from this worker or another)."""
        with self._turning:
            changes, self._items_seen = self.store.item_changes(self._items_seen)
            self.live.ranker.shelf.apply(changes)

    def refresh_stops(self) -> None:
        """Take up what was stopped or lifted since the last look (by this worker or another)."""
        with self._turning:
            stops = read_stops(self.store)
            if stops != self.live.stops:
                self.live.ranker.shelf.stop(stops.items)
                self.live = replace(self.live, stops=stops)

    def _sweep(self) -> None:
        """Overwrite on this machine whom another replica erased, and whom a newly copied history still holds."""
        if self.preview or not self.store.database.shared:
            return
        state = len(self.store.erased()), self.live.history_name
        if state[0] and state != self._swept:
            sweep_here(self.shop, self.store)
            self._swept = state

    def close(self) -> None:
        """Flush and close the store and the decision log."""
        self.decisions.close()
        self.store.close()

    def _refresh_config(self) -> None:
        stamp = stamp_of(self.shop.config)
        if stamp == self.live.config_stamp:
            return
        try:
            config = load_config(self.shop.config)
            ranker = self.live.ranker.with_business(Business.of(self.live.bundle, config))
            policies = open_policies(self.shop.policies, config)
        except ConfigError as error:
            self._refuse("shop.toml", error.line())
            self._turn(config_stamp=stamp)
            return
        # A bundle that the old settings did not fit is looked at again.
        self.refusals = {what: why for what, why in self.refusals.items() if what.startswith("history")}
        self._turn(config=config, shop_hash=config.hash, ranker=ranker, config_stamp=stamp, policies=policies)

    def _refresh_bundle(self) -> None:
        name = live_name(self.shop.bundles)
        if name is None or name == self.live.bundle.id or self._is_refused(f"bundle {name}"):
            return
        try:
            ranker = open_ranker(self.shop, name, self.live.config)
        except (BundleError, ConfigError) as error:
            self._refuse(f"bundle {name}", error.line())
            return
        self.refusals.pop(f"bundle {name}", None)
        translation = translation_of(self.live.histories, ranker.bundle)
        changes, seen = self.store.item_changes(0)
        for change in changes:
            ranker.shelf.apply([change])
            breathe()
        # Settings that the old bundle did not fit are looked at again.
        stamp = _UNREAD if "shop.toml" in self.refusals else self.live.config_stamp
        with self._turning:  # what came meanwhile went to the shelf of the old bundle
            changes, self._items_seen = self.store.item_changes(seen)
            ranker.shelf.apply(changes)
            ranker.shelf.stop(self.live.stops.items)
            self._turn(ranker=ranker, translation=translation, config_stamp=stamp)

    def _refresh_history(self) -> None:
        name = live_name(self.shop.histories)
        if name is None or name == self.live.history_name or self._is_refused(f"history {name}"):
            return
        try:
            if f"history {name}" in self.refusals:  # whoever was erased since may stand in it still
                swept(self.shop.histories / name, self.store)
            past = open_past(self.shop, name, store_id(self.store), self.live.bundle)
        except (BundleError, Unavailable) as error:
            self._refuse(f"history {name}", error.line())
            return
        self.refusals = {what: why for what, why in self.refusals.items() if not what.startswith("history")}
        self._turn(
            histories=past.histories, translation=past.translation, history_seq=past.seq, history_name=past.name,
            people=past.people, blind=past.blind,
        )  # fmt: skip
        self._news = News(self.store.database, self.live.reach)

    def _turn(self, **parts: Any) -> None:
        """From now on requests begin with these parts of `Live`."""
        with self._turning:
            self.live = replace(self.live, **parts)

    def _live_bundle_name(self) -> str:
        name = live_name(self.shop.bundles)
        if name is None:
            hint = f"train and promote one: kokyaku train --shop {self.shop.id}"
            raise BundleError("no bundle serves yet", where=str(self.shop.bundles), hint=hint)
        return name

    def _first_ranker(self, config: ShopConfig) -> Ranker:
        """Of the live bundle; where it is damaged a worker begins with the newest whole one and tries that again."""
        name = self._live_bundle_name()
        try:
            return open_ranker(self.shop, name, config)
        except BundleError as error:
            for other in [] if self.preview else others(self.shop.bundles, name):
                with suppress(BundleError, ConfigError):
                    ranker = open_ranker(self.shop, other, config)
                    self._refuse(f"bundle {name}", error.line())
                    return ranker
            raise

    def _first_past(self, bundle: Bundle, whole: bool) -> Past:
        """Of the live history; where it is damaged a worker begins with what stands in, and tries that one again."""
        name = LIVE
        try:
            name = live_name(self.shop.histories) or ""
            return open_past(self.shop, name, store_id(self.store), bundle) if name else NO_PAST
        except BundleError as error:
            if whole:
                raise
            past = stand_in(self.shop, name, self.store, bundle)
            self._refuse(f"history {name}", error.line())
            if past.blind:
                log.warning("no history serves: until a whole one is published nothing personal of customers is used")
            return past

    def _is_refused(self, what: str) -> bool:
        """Whether it was looked at just now; a disk that failed then, or a file that was mended, gets another look."""
        return what in self.refusals and time.monotonic() < self._refused_until

    def _refuse(self, what: str, why: str) -> None:
        self._refused_until = time.monotonic() + _REFUSED_SECONDS
        if self.refusals.get(what) != why:
            log.warning("refused %s, what there was before serves: %s", what, why)
        self.refusals[what] = why
        self.refused["settings" if what == "shop.toml" else what.split()[0]] += 1
