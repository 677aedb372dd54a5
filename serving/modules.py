"""Modules: rows of products for the slots of a page, each from its own kind of source and without filling.

A module shows what its heading promises, or is not shown. What stands further down in it is ranked when a slot comes to
it: most often the first few items do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import filterfalse, islice

import msgspec
import numpy as np

from features.kinds import EventType
from serving.candidates import NOTHING, Candidates, Rows
from serving.filters import BOUGHT
from serving.live import Live
from serving.pipeline import anchor_weights
from serving.query import Filter, Query
from serving.ranker import FILL_SPARE, Voice
from serving.reasons import VIEWED, WISHLIST
from serving.recipe import SelectionSpec
from serving.settings.pages import Module
from serving.situation import Situation
from serving.slate import Slate
from serving.steps import Steps, finished

Parts = Iterator[Slate | None]
"""Lists of a module, with pauses between."""
_UNASKED = Candidates.of_best({}, 0)
"""What no source was asked for."""
_EMPTY = Slate(NOTHING, np.empty(0, np.float32), (), _UNASKED)
_NO_LIMITS = Filter()
_KEPT = 256
"""Lists that are alike for all and are remembered, of the hundred items or so that each was chosen from."""


@dataclass(eq=False)
class Filled:
    """A module with the items that it could show now.

    Args:
        module: whose.
        query: that they are ranked for.
        parts: lists of items, one below the other; each is ranked when it is asked for, with pauses between its stages
            (None). An item that stands in one of them does not stand in a later one once more.
        about: the item that the module relates to, for its heading.
    """

    module: Module
    query: Query
    parts: Parts
    about: int | None = None
    listed: dict[int, str] = field(default_factory=dict)
    """The items so far, best first, and the source of each."""
    _found: list[Slate] = field(default_factory=list)

    def further(self) -> bool:
        """Rank what stands further down; False where nothing does."""
        return finished(self.going_further())

    def going_further(self) -> Steps[bool]:
        """`further`, in steps."""
        for part in self.parts:
            if part is not None:
                self._take(part)
                return True
            yield
        return False

    def _take(self, part: Slate) -> None:
        self._found.append(part)
        told = zip(part.items.tolist(), part.sources, strict=True)
        self.listed |= ((row, source) for row, source in told if row not in self.listed) if self.listed else told

    def free(self, taken: Set[int], most: int | None) -> list[int]:
        """The items so far that are not taken, best first; at most so many."""
        return [*islice(filterfalse(taken.__contains__, self.listed), most)]

    def rank_all(self) -> None:
        """Rank what stands further down, to the end."""
        while self.further():
            pass

    @property
    def slate(self) -> Slate:
        """All that it could show, as one list."""
        self.rank_all()
        if len(self._found) != 1:
            self._found = [_joined(self._found)]
        return self._found[0]


def build(now: Situation, module: Module, slots: int) -> Steps[Filled]:
    """Rank a module's items: enough of them that other slots may take some away, and quotas may choose."""
    query = now.query
    if module.categories or module.within_days is not None or module.where is not None:
        limits = {"categories": module.categories, "within_days": module.within_days, "where": module.where}
        query = msgspec.structs.replace(query, filter=msgspec.structs.replace(query.filter, **limits))
    business = now.live.ranker.business
    spare = FILL_SPARE if business is not None and business.counts_modules else 0
    asked = msgspec.structs.replace(query, num_results=module.size * slots + spare)
    found = _BUILDERS[module.kind](now, asked, module)
    yield from found.going_further()
    return found


def _joined(parts: list[Slate]) -> Slate:
    """Lists one below the other; how they came about is told of the first that sources were asked for."""
    asked = next((each for each in parts if each.considered is not _UNASKED), _EMPTY)
    listed: dict[int, tuple[float, str]] = {}
    for part in parts:
        scores = part.scores if part is parts[0] else np.zeros(len(part.items))
        for row, score, source in zip(part.items.tolist(), scores.tolist(), part.sources, strict=True):
            listed.setdefault(row, (score, source))
    scores = np.array([score for score, _ in listed.values()], np.float32)
    sources = tuple(source for _, source in listed.values())
    return Slate(
        np.array([*listed], np.int32), scores, sources, asked.considered, asked.filled, asked.trace, asked.placed
    )  # fmt: skip


def _by_kind(live: Live, kind: str) -> dict[str, float]:
    return {spec.name: 1.0 for spec in live.bundle.recipe.sources if spec.kind == kind}


def _ranking(live: Live, query: Query, voice: Voice, selection: SelectionSpec | None = None) -> Steps[Slate]:
    """What one voice says, without filling; where there is none, nobody is asked."""
    return (yield from live.ranker.ranking(query, voice, filled=False, selection=selection)) if voice else _EMPTY


def _ranked(live: Live, query: Query, voice: Voice, selection: SelectionSpec | None = None) -> Parts:
    """The same as the one part of a module."""
    yield (yield from _ranking(live, query, voice, selection))


def _common(live: Live, query: Query, voice: Mapping[str, float]) -> Steps[Slate]:
    """`_ranking` by sources that read nothing of the subject: alike for all whom nothing is kept from.

    What the shop wishes changes with dates and audiences, so then it is ranked each time.
    """
    ranker, kept = live.ranker, live.ranker.shelf.kept
    if query.barred or query.anchors or query.filter != _NO_LIMITS or ranker.business is not None:
        return (yield from _ranking(live, query, voice))
    key = (_common, query.num_results, *((name, ranker.opinion(name, query)) for name in voice))
    found: Slate | None = kept.get(key)
    if found is None:
        found = yield from _ranking(live, query, voice)
        if len(kept) >= _KEPT:  # some of them of seasons and hours that are over
            kept.clear()
        kept[key] = found
    return found


def _listed(rows: Rows, source: str) -> Slate:
    """Items in an order of their own."""
    return Slate(rows, np.ones(len(rows), np.float32), (source,) * len(rows), _UNASKED)


def _near(live: Live, query: Query) -> Parts:
    """What goes with the anchors of a query; nothing where it has none."""
    return _ranked(live, query, anchor_weights(live) if query.anchors else {})


def _anchored(query: Query, rows: Iterable[int]) -> Query:
    return msgspec.structs.replace(query, anchors=tuple(rows))


def _buy_again(now: Situation, query: Query, module: Module) -> Filled:
    return Filled(module, query, _ranked(now.live, query, _by_kind(now.live, "personal-frequency")))


def _for_you(now: Situation, query: Query, module: Module) -> Filled:
    live, recipe = now.live, now.live.bundle.recipe
    exclude = tuple({*query.filter.exclude, BOUGHT})
    query = msgspec.structs.replace(query, filter=msgspec.structs.replace(query.filter, exclude=exclude))
    if recipe.ranker is not None and len(query.history):
        voice: Voice = recipe.ranker
    else:
        weights = live.ranker.weights_for(query)
        voice = {name: weight for name, weight in weights.items() if live.ranker.sources[name].personal}
    return Filled(module, query, _ranked(live, query, voice, recipe.selection))


def _popular(now: Situation, query: Query, module: Module) -> Filled:
    """What sells where and when the request comes from, as far as that is known; then what sells at all.

    It fills every slot that nothing else can, so it ends in all that the shop sells.
    """
    live, near = now.live, _by_kind(now.live, "popularity")

    def parts() -> Parts:
        known: set[int] = set()
        for voice in (_by_kind(live, "context-popularity"), near):
            if voice:
                found = yield from _common(live, query, voice)
                known.update(found.items.tolist())
                yield found
        if len(known) < query.num_results and query.context.region is not None:
            anywhere = msgspec.structs.replace(query.context, region=None)
            yield (yield from _common(live, msgspec.structs.replace(query, context=anywhere), near))

    return Filled(module, query, parts())


def _wishlist(now: Situation, query: Query, module: Module) -> Filled:
    """What is wished, latest first, then what goes with it."""
    near = _anchored(query, now.wishes[:20].tolist())

    def parts() -> Parts:
        yield _listed(_showable(now, query, now.wishes), WISHLIST)
        yield from _near(now.live, near)

    return Filled(module, near, parts())


def _related(now: Situation, query: Query, module: Module) -> Filled:
    """What goes with the product of the page, else with the item viewed last."""
    about = None if query.context.item_id is None else now.live.bundle.items.find(query.context.item_id)
    if about is None:
        viewed = _touched(query, EventType.VIEW)
        about = int(viewed[-1]) if len(viewed) else None
    near = _anchored(query, () if about is None else (about,))
    return Filled(module, near, _near(now.live, near), about)


def _goes_with_order(now: Situation, query: Query, module: Module) -> Filled:
    """What goes with what is on its way; its own category is never offered (`serving.repurchase`)."""
    rows = [row for line in now.awaited if (row := now.row_of(line.item_id)) >= 0]
    near = _anchored(query, rows[:20])
    return Filled(module, near, _near(now.live, near), rows[0] if rows else None)


def _viewed(now: Situation, query: Query, module: Module) -> Filled:
    """What was looked at, the latest first, and not bought since."""
    bought = {*_touched(query, EventType.PURCHASE).tolist()}
    seen = dict.fromkeys(_touched(query, EventType.VIEW)[::-1].tolist())
    rows = [row for row in seen if row not in bought][: query.num_results]
    return Filled(module, query, iter([_listed(_showable(now, query, np.array(rows, np.int32)), VIEWED)]))


def _session(now: Situation, query: Query, module: Module) -> Filled:
    """What goes with what the subject looks at now; nothing where no session runs."""
    return Filled(module, query, _ranked(now.live, query, _by_kind(now.live, "session")))


def _touched(query: Query, kind: int) -> Rows:
    """int32: the items of the subject's events of a kind, oldest first."""
    # A plain number: numpy takes four times as long with an enumeration's.
    rows: Rows = query.history.item[query.history.type == int(kind)]
    return rows[rows >= 0]


def _showable(now: Situation, query: Query, rows: Rows) -> Rows:
    """Those of some distinct items that filters leave, in their order."""
    return now.live.ranker.allowed(query, rows) if len(rows) else rows


_BUILDERS: dict[str, Callable[[Situation, Query, Module], Filled]] = {
    "buy-again": _buy_again,
    "wishlist": _wishlist,
    "for-you": _for_you,
    "popular": _popular,
    "related-to-last-view": _related,
    "session": _session,
    "goes-with-order": _goes_with_order,
    "viewed": _viewed,
}
