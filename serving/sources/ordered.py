"""Ordered sources: what comes next after the last items, and what goes with the session that is running now.

Both walk from items to those that usually follow them (directed weights, fitted by `training.sequence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.compiled import available, scratch
from features.history import History
from features.kinds import EventType
from features.moments import MINUTE
from serving.bundle import Bundle
from serving.candidates import Floats, Opinion, Rows
from serving.query import Query
from serving.recipe import SourceSpec
from serving.sources import kernels
from serving.sources.collaborative import Neighbours

Places = npt.NDArray[np.intp]
Followed = Literal["view", "click", "cart", "wishlist", "purchase", "review", "rating"]
FOLLOWED: tuple[Followed, ...] = ("view", "click", "cart", "wishlist", "purchase")
"""Types of events that make a sequence of items."""
Shown = Literal["view", "click", "cart", "wishlist", "purchase", "wishlist_remove", "cart_remove"]
SESSION_WEIGHTS: Mapping[Shown, float] = {
    "view": 1.0, "click": 1.0, "wishlist": 2.0, "cart": 3.0, "purchase": 1.0, "wishlist_remove": -2.0,
    "cart_remove": -3.0,
}  # fmt: skip
"""What an event of the running session says of the interest in its item."""


class Sequence(Neighbours):
    """The next item: score(j) = sum over the last items i of decay^(steps since i) x T[i, j].

    A step is all that happened at one instant, a basket for example, so the order of equal times does not matter. An
    item counts where it came last.
    """

    def __init__(self, spec: SourceSpec, bundle: Bundle) -> None:
        super().__init__(spec, bundle)
        self._types = _codes(spec.params.get("types", FOLLOWED))
        self._follows = np.isin(np.arange(128), self._types)
        self._last = int(spec.params.get("last", 5))
        self._fades = (float(spec.params.get("decay", 0.7)) ** np.arange(self._last)).astype(np.float32)

    def _past(self, query: Query) -> tuple[Rows, Floats]:
        return query.once(self, self._latest, query.history)

    def _latest(self, history: History) -> tuple[Rows, Floats]:
        """The items that came last, and the weight of each."""
        items, step = self._steps(history) if not available() else self._walked(history)
        return items, self._fades[step]

    def _steps(self, history: History) -> tuple[Rows, Places]:
        """The items of the last steps, ascending, and how many steps ago each came last."""
        past = history.of_types(*self._types)
        past = past.take(past.item >= 0)
        # Of the reversed events the first of an item is its latest.
        items, place = np.unique(past.item[::-1], return_index=True)
        _, step = np.unique(-past.time[::-1][place], return_inverse=True)
        recent = step < self._last
        return items[recent], step[recent]

    def _walked(self, history: History) -> tuple[Rows, Places]:
        """The same with a kernel, which reads no more of a long history than it needs."""
        marks = scratch("step_mark", len(self._indptr) // 64 + 1, np.uint64)
        items, step = np.empty(len(history), np.int32), np.empty(len(history), np.intp)
        count = kernels.last_steps(
            history.time, history.item, history.type, self._follows, self._last, marks, items, step
        )  # fmt: skip
        return items[:count], step[:count]


@dataclass(frozen=True, slots=True)
class Intent:
    """What a session is about.

    Args:
        items: int32[m], ascending: those that it has an interest in.
        interest: float32[m], above 0.
        bought: bool[m], whether the session ended in a purchase of it.
    """

    items: Rows
    interest: Floats
    bought: npt.NDArray[np.bool_]


_NO_INTENT = Intent(np.empty(0, np.int32), np.empty(0, np.float32), np.zeros(0, bool))


class Session(Neighbours):
    """Intent of the running session: its items, and what usually follows them, by weight of the event and its age.

    interest(i) = sum over events on i of weight(type) x 2^(-age / half_life_minutes)
    score(j)    = own x interest(j), where j was not bought, + sum over i of interest(i) x T[i, j]

    A session runs until nothing happens for `break_minutes`. What is left with no interest (a cart that was emptied)
    proposes nothing.
    """

    def __init__(self, spec: SourceSpec, bundle: Bundle) -> None:
        super().__init__(spec, bundle)
        weights: Mapping[str, float] = spec.params.get("weights", SESSION_WEIGHTS)
        self._says = np.zeros(128)
        self._says[list(_codes(tuple(weights)))] = list(weights.values())
        self._types = _codes(tuple(weights))
        self._break = MINUTE * float(spec.params.get("break_minutes", 30.0))
        self._half_life = MINUTE * float(spec.params.get("half_life_minutes", 10.0))
        self._own = float(spec.params.get("own", 1.0))

    def opine(self, query: Query) -> Opinion:
        """The session's items that are not bought yet, and what follows them."""
        if not query.anchors and not (self._runs(query) and len(self.intent(query).items)):
            return Opinion.none()
        near, intent = super().opine(query), self.intent(query)
        own, interest = self._open(query), intent.interest[~intent.bought]
        if not len(own):
            return near
        items, where = np.unique(np.concatenate([near.items, own]), return_inverse=True)
        said = np.concatenate([near.scores, np.float32(self._own) * interest])
        scores = np.bincount(where, weights=said, minlength=len(items)).astype(np.float32)
        return Opinion(items.astype(np.int32, copy=False), scores)

    def causes(self, query: Query, items: Rows) -> Rows:
        """The item itself where the session holds it unbought, else the item of the session that gives most to it."""
        return np.where(np.isin(items, self._open(query)), items, super().causes(query, items)).astype(np.int32)

    def intent(self, query: Query) -> Intent:
        """What the running session is about, read once a query."""
        return query.once(self, self._read, query)

    def running(self, query: Query) -> History:
        """Events of the session that runs now; none where the last lies longer ago than a break."""
        if not self._runs(query):
            return query.history.take(slice(0, 0))
        seen = query.history.of_types(*self._types)
        seen = seen.take(seen.item >= 0)
        breaks = np.flatnonzero(np.diff(seen.time, append=query.now) > self._break)
        return seen.take(slice(int(breaks[-1]) + 1 if len(breaks) else 0, None))

    def _runs(self, query: Query) -> bool:
        """Whether anything happened so lately that the session is not over."""
        moments = query.history.time
        return len(moments) > 0 and query.now - moments.item(-1) <= self._break

    def _read(self, query: Query) -> Intent:
        seen = self.running(query)
        if not len(seen):
            return _NO_INTENT
        items, where = np.unique(seen.item, return_inverse=True)
        weights = self._says[seen.type] * np.exp2(-(query.now - seen.time) / self._half_life)
        interest = np.bincount(where, weights=weights, minlength=len(items))
        left = interest > 0
        bought = np.isin(items[left], seen.of_types(EventType.PURCHASE).item)
        return Intent(items[left], interest[left].astype(np.float32), bought)

    def _past(self, query: Query) -> tuple[Rows, Floats]:
        found = self.intent(query)
        return found.items, found.interest

    def _open(self, query: Query) -> Rows:
        """What the session looks at and did not buy; nothing where the question is about other items."""
        if query.anchors or self._own <= 0:
            return np.empty(0, np.int32)
        found = self.intent(query)
        return found.items[~found.bought]


def _codes(types: npt.ArrayLike | tuple[str, ...]) -> tuple[int, ...]:
    return tuple(int(EventType[str(name).upper()]) for name in np.atleast_1d(types))
