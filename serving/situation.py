"""The situation of a request: what is true of its subject, its moment and its place, read once and only when asked for.

Conditions (`serving.settings.when`), texts and explanations all look at the same situation. What is personal in it
comes from the query's history and person, which are empty where the subject has not agreed to their use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np

from features.history import History
from features.journey import Stage, stage_of
from features.kinds import EventType
from features.moments import DAY, MINUTE, LocalTime, is_zone, local_time
from features.orders import FAILED, READY, OrderLine
from features.personal import wishlist
from serving.candidates import Rows
from serving.delivery import Expected
from serving.due import Due, due_items
from serving.live import Live
from serving.person import Project
from serving.projects import going_on
from serving.query import Query
from serving.questions import Rarity, rarity

T = TypeVar("T")
SESSION = 30 * MINUTE
"""Idle for longer, and another session begins."""
_LOOKS = (EventType.VIEW, EventType.CLICK, EventType.CART, EventType.SEARCH)


@dataclass
class Situation:
    """One query, looked at from all sides.

    Args:
        live: the shop as it serves.
        query: who asks, when, where from.
        used: kinds of personal data that were looked at so far, for explanations.
    """

    live: Live
    query: Query
    used: set[str] = field(default_factory=set)
    segments: frozenset[str] | None = None
    """Names of the segments that hold, once `serving.eligibility.segments_of` has looked."""

    @cached_property
    def zone(self) -> str:
        """The subject's time zone, else the request's, else the shop's; a wrong one is passed over."""
        own = self.query.person.time_zone
        known = own if own and is_zone(own) else None
        return known or self.query.context.time_zone or self.live.config.shop.time_zone

    @cached_property
    def local(self) -> LocalTime:
        """The moment on the subject's wall clock."""
        return local_time(self.query.now, self.zone, southern=self.live.config.shop.southern)

    @cached_property
    def minute(self) -> int:
        """Minutes since the local midnight, by the clock."""
        return self.local.hour * 60 + self.local.minute

    @property
    def region(self) -> str | None:
        """Where the request says it comes from, else where the customer's things are sent to."""
        return self.query.context.region or self._use("shipping region", self.query.person.region)

    @property
    def name(self) -> str | None:
        """How the subject wants to be greeted."""
        return self._use("name", self.query.person.name)

    @property
    def tier(self) -> str | None:
        """Of the loyalty programme."""
        return self._use("loyalty tier", self.query.person.tier)

    @property
    def answers(self) -> Mapping[str, str]:
        """Question -> what was answered."""
        return self._use("answers", self.query.person.answers)

    @property
    def history(self) -> History:
        """The subject's events."""
        return self._use("own events" if self.query.user_id else "this visitor's events", self.query.history)

    @property
    def locale(self) -> str:
        """Language of the words: the request's where the shop has words in it."""
        return self.live.language(self.query.context.locale)

    @cached_property
    def stage(self) -> Stage:
        """Of the journey."""
        rules = self.live.config.journey.rules
        return stage_of(self.history, self.lines, self.query.now, rules, category=self._categories)

    @cached_property
    def session(self) -> History:
        """The looks of the running session, oldest first."""
        looks = self.history.of_types(*_LOOKS)
        if not len(looks):
            return looks
        quiet = np.flatnonzero(np.diff(np.append(looks.time, self.query.now)) > SESSION)
        return looks.take(slice(int(quiet[-1]) + 1 if len(quiet) else 0, None))

    @cached_property
    def looking_at(self) -> frozenset[int]:
        """Codes of the categories of the page and of the running session."""
        context = self.query.context
        named = self.codes_under((context.category,)) if context.category else frozenset()
        rows = [self.row_of(context.item_id)] if context.item_id else []
        return named | self.codes_of([*rows, *self.session.item.tolist()])

    @cached_property
    def category_path(self) -> str:
        """Path of the category of the page, else of what was looked at last; empty where nothing was."""
        context = self.query.context
        if context.category:
            return context.category
        seen = [int(row) for row in self.session.item if row >= 0]
        rows = [self.row_of(context.item_id)] if context.item_id else seen[-1:]
        codes = [int(self._categories[row]) for row in rows if row >= 0]
        return self.live.bundle.text("category_path", codes[0]) if codes and codes[0] >= 0 else ""

    @cached_property
    def rarity(self) -> Rarity:
        """How usual it is to look at this, at this hour, on this device."""
        return rarity(self.live.hours, self.query.context.device, self.local.hour, self.category_path)

    @property
    def unusual(self) -> bool:
        """Whether something is looked at in an unusual moment."""
        return bool(self.category_path) and self.rarity.value <= self.live.config.shop.unusual

    @cached_property
    def bought(self) -> frozenset[int]:
        """Codes of the categories of what was bought."""
        ordered = (self.row_of(line.item_id) for line in self.lines if line.state not in FAILED)
        return self.codes_of([*self.history.of_types(EventType.PURCHASE).item.tolist(), *ordered])

    @cached_property
    def orders(self) -> int:
        """Orders so far: instants at which something was bought, and orders that only order lines tell of."""
        bought = np.unique(self.history.of_types(EventType.PURCHASE).time)
        near = self.live.config.journey.rules.occasion
        alone = {line.order_id for line in self.lines if not (np.abs(bought - line.ordered_at) < near).any()}
        return len(bought) + len(alone)

    @cached_property
    def wishes(self) -> Rows:
        """int32: items wished for, the latest first."""
        return self._wishes(self.history)

    @cached_property
    def hearts(self) -> frozenset[int]:
        """The same for the hearts of cards; nothing is chosen by them, so it counts as no use of what is personal."""
        return frozenset(self._wishes(self.query.history).tolist())

    def _wishes(self, history: History) -> Rows:
        return self.query.once(wishlist, wishlist, history)[0]

    @cached_property
    def wished(self) -> frozenset[int]:
        """Codes of the categories of open wishes."""
        return self.codes_of(self.wishes.tolist())

    @property
    def lines(self) -> tuple[OrderLine, ...]:
        """All order lines."""
        return self._use("orders", self.query.person.orders)

    @cached_property
    def awaited(self) -> tuple[OrderLine, ...]:
        """Order lines that are on their way, the latest order first."""
        if not self.lines:
            return ()
        longest = self.live.config.journey.rules.longest_wait
        return tuple(line for line in reversed(self.lines) if line.is_awaited(self.query.now, longest))

    def expected(self, line: OrderLine) -> Expected | None:
        """When an order line arrives, as the bundle has learned; None: nothing is known, or it lies ready."""
        if line.state == READY:
            return None
        row, known = self.row_of(line.item_id), self.live.deliveries
        category = int(self._categories[row]) if row >= 0 else -1
        return None if known is None else known.predict(line, row, category, self.query.now)

    @cached_property
    def due(self) -> Due | None:
        """What runs out first."""
        return next(iter(due_items(self.live, self.query)), None)

    @cached_property
    def awaiting(self) -> frozenset[int]:
        """Codes of the categories of what is on its way."""
        return self.codes_of(self.row_of(line.item_id) for line in self.awaited)

    @cached_property
    def late(self) -> bool:
        """Whether something that is on its way is late."""
        return any(line.is_late(self.query.now) for line in self.awaited)

    @cached_property
    def returned_lately(self) -> bool:
        """Whether something was sent back in the last two weeks."""
        since = self.query.now - 14 * DAY
        back = self.history.of_types(EventType.RETURN).time
        steps = (step for line in self.lines for step in line.steps if step.state == "returned")
        return bool((back >= since).any()) or any(step.at >= since for step in steps)

    @cached_property
    def lost_lately(self) -> bool:
        """Whether something got lost on its way in the last two weeks."""
        since = self.query.now - 14 * DAY
        return any(step.state == "lost" and step.at >= since for line in self.lines for step in line.steps)

    @cached_property
    def projects(self) -> tuple[Project, ...]:
        """Projects that are going on, the latest first."""
        self._use("projects", self.query.person.projects)
        return going_on(self.live.config.projects, self.query, self.codes_under, self._categories)

    def codes_under(self, paths: Iterable[str]) -> frozenset[int]:
        """Codes of the categories whose path begins with one of these."""
        return self.live.bundle.codes_under(tuple(paths))

    def codes_of(self, rows: Iterable[int]) -> frozenset[int]:
        """Codes of the categories of some items; what is unknown has none."""
        return frozenset(int(self._categories[row]) for row in set(rows) if row >= 0) - {-1}

    def row_of(self, item_id: str) -> int:
        """The item's row in the bundle, or -1."""
        row = self.live.bundle.items.find(item_id)
        return -1 if row is None else row

    def _use(self, kind: str, found: T) -> T:
        """Remember that something personal was looked at, where there is any."""
        if found is not None and (not isinstance(found, Sized) or len(found)):
            self.used.add(kind)
        return found

    @property
    def _categories(self) -> Rows:
        return self.live.bundle.shared.category
