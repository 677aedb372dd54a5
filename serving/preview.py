"""A look at what somebody would get, at another moment, under another file or from another bundle, without a trace.

A preview stands where the engine does: pages, lists and actions are decided by the code that decides them for
everybody. It shares the engine's store, histories and bundles and writes to none of them: no exposure is logged, no
draw is held, no cap is spent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from features.errors import NotFoundError
from features.history import History
from serving import actions, pages, wire
from serving.artifact import MANIFEST, live_name
from serving.bundle import open_bundle
from serving.business import Business
from serving.caps import Tally
from serving.config import ShopConfig
from serving.decision_log import Discard
from serving.engine import Engine
from serving.keeping import at_once
from serving.live import Live
from serving.newer import Found
from serving.pipeline import Answer
from serving.policy_files import open_policies
from serving.ranker import Ranker
from serving.shelf import Shelf
from serving.store import Store

KEPT_OPEN = 3
"""Bundles beside the live one that stay mapped for previews."""


class Noted(Discard):
    """A decision log in memory: what was decided is read by who looks, and forgotten with the preview."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def append(self, records: Sequence[bytes]) -> bool:
        """Note the decisions for the one who looks."""
        self.rows += [orjson.loads(record) for record in records]
        return True


class Past(Store):
    """The store as a look at a moment sees it: of one person's showings only those before it are counted.

    What was given out of a limited action over all people is not known for the past: it counts as it is now.

    Args:
        store: what it reads.
        moment: microseconds.
    """

    def __init__(self, store: Store, moment: int) -> None:
        vars(self).update(vars(store))
        self._moment = moment

    def tally_of(self, subject: str | None, finite: Sequence[str], now: int) -> Tally:
        """What stood against the limits of a request at the moment."""
        tally = super().tally_of(subject, finite, now)
        return Tally([row for row in tally.rows if row.decided_at < self._moment], tally.used)


class Preview(Engine):
    """An engine for one look.

    Args:
        engine: whose store, histories and bundle are shared.
        live: what decides; default: what serves.
        moment: the moment that is looked at; later events are not seen. None: all that is known.
        request_id: of a request that is rebuilt: where nobody is named, what is drawn hangs on it.
    """

    def __init__(
        self, engine: Engine, live: Live | None = None, moment: int | None = None, request_id: str | None = None
    ) -> None:
        vars(self).update(vars(engine))  # all that it shares, whatever an engine consists of
        self.preview = True
        self.decisions: Noted = Noted()
        self.live = live or engine.live
        self.moment = moment
        if moment is not None:
            self.store = Past(engine.store, moment)
        self.request_id = request_id

    def history_of(
        self, live: Live, user_id: str | None, visitor_id: str | None, found: Found | None = None
    ) -> History:  # fmt: skip
        """What one subject did up to the moment that is looked at."""
        history = super().history_of(live, user_id, visitor_id, found)
        return history if self.moment is None else history.as_of(self.moment)

    def stored_history_of(self, live: Live, user_id: str | None, visitor_id: str | None) -> History:
        """What the store alone knows of it."""
        history = super().stored_history_of(live, user_id, visitor_id)
        return history if self.moment is None else history.as_of(self.moment)

    def refresh(self) -> bool:
        """A look takes up nothing."""
        return False

    def close(self) -> None:
        """What it shares belongs to the engine."""


@dataclass(frozen=True)
class Look:
    """What somebody would get.

    Args:
        answer: of `POST /v1/pages` or `POST /v1/actions`.
        decisions: as they would be logged, in the order of the slots.
        live: what decided.
        now: the moment.
    """

    answer: Answer
    decisions: list[dict[str, Any]]
    live: Live
    now: int


def look_at_page(
    engine: Engine, request: wire.PageRequest, now: int, live: Live | None = None, request_id: str | None = None
) -> Look:
    """A page as it would be at a moment, past or to come, with all its explanations.

    What depends on time follows the moment: stage, expected delivery, quiet hours, epochs, boosts, dates. Fields and
    consents are those that were told last, so that a look back shows nothing that was refused since.

    Args:
        engine: of the shop.
        request: who, where, which page.
        now: the moment.
        live: another file or bundle (`Openings`); default: what serves.
        request_id: of the request that is rebuilt, so that what was drawn for nobody in particular is drawn again.

    Raises:
        RequestError: the shop has no such page.
    """
    preview = Preview(engine, live, now, request_id)
    answer = pages.page(preview, request, now)
    return Look(answer, preview.decisions.rows, preview.live, now)


def look_at_action(
    engine: Engine, request: wire.ActionRequest, now: int, live: Live | None = None, request_id: str | None = None
) -> Look:
    """What a channel would send somebody at a moment.

    Raises:
        RequestError: no such channel, or nobody is named.
    """
    preview = Preview(engine, live, now, request_id)
    answer = at_once(actions.next_action(preview, request, now, preview.store.keep_at_once))
    return Look(answer, preview.decisions.rows, preview.live, now)


@dataclass
class Openings:
    """Other states of the shop, opened when they are asked for: drafts of its file, and its other bundles.

    Args:
        engine: of the shop.
    """

    engine: Engine
    _bundles: OrderedDict[str, tuple[Ranker, int]] = field(default_factory=OrderedDict)
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def live(self, config: ShopConfig | None = None, bundle: str | None = None) -> Live:
        """What serves, but under another file, from another bundle, or both.

        Args:
            config: a draft; None: the shop's file as it serves.
            bundle: name of a bundle; None: the one that serves.

        Raises:
            NotFoundError: the shop has no such bundle.
            BundleError: it cannot be opened.
            ConfigError: the draft does not fit the bundle, or names a policy that cannot be used.
        """
        live = self.engine.live
        settings = config or live.config
        ranker = live.ranker if bundle in (None, live.bundle.id) else self._opened(bundle or "")
        if config is not None or ranker is not live.ranker:
            ranker = ranker.with_business(Business.of(ranker.bundle, settings))
        policies = live.policies if config is None else open_policies(self.engine.shop.policies, config)
        translation = live.translation
        if ranker.bundle is not live.bundle and live.histories is not None:
            translation = live.histories.items.translate_to(ranker.bundle.items)
        return replace(
            live, config=settings, shop_hash=settings.hash, ranker=ranker, policies=policies, translation=translation
        )

    def names(self) -> list[str]:
        """The shop's bundles, the one that serves first, then the newest."""
        parent = self.engine.shop.bundles
        found = sorted((path.parent.name for path in parent.glob(f"*/{MANIFEST}")), reverse=True)
        serving = live_name(parent)
        others = [name for name in found if not name.startswith(".") and name != serving]
        return ([serving] if serving in found else []) + others

    def _opened(self, name: str) -> Ranker:
        with self._opening:  # several may compare at once
            return self._ranker(name)

    def _ranker(self, name: str) -> Ranker:
        """A bundle's ranker with what the shop changed and stopped since."""
        if name not in self.names():
            raise NotFoundError("the shop has no such bundle", where="bundle", got=name, hint="choose one of the list")
        store = self.engine.store
        ranker, seen = self._bundles.pop(name, (None, 0))
        if ranker is None:
            bundle = open_bundle(self.engine.shop.bundles / name, verify=False)
            ranker = Ranker(bundle, Shelf(bundle))
        changes, seen = store.item_changes(seen)
        ranker.shelf.apply(changes)
        ranker.shelf.stop(self.engine.live.stops.items)
        self._bundles[name] = ranker, seen
        while len(self._bundles) > KEPT_OPEN:
            self._bundles.popitem(last=False)
        return ranker
