"""Modules: rows of products for the slots of a page, each from its own kind of source and without filling.

A module shows what its heading promises, or is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from features.kinds import EventType
from serving.candidates import Rows, among
from serving.live import Live
from serving.pipeline import anchor_weights
from serving.query import Query
from serving.ranker import FILL_SPARE, Voice
from serving.reasons import VIEWED, WISHLIST
from serving.recipe import SelectionSpec
from serving.settings.pages import Module
from serving.situation import Situation
from serving.slate import Slate


@dataclass(frozen=True)
class Filled:
    """A module with the items it could show now."""

    module: Module
    slate: Slate
    query: Query
    about: int | None = None
    """The item that the module relates to, for its heading."""


def build(now: Situation, module: Module, slots: int) -> Filled:
    """Rank a module's items: enough of them that other slots may take some away, and quotas may choose."""
    query = now.query
    if module.categories or module.within_days is not None or module.where is not None:
        limits = {"categories": module.categories, "within_days": module.within_days, "where": module.where}
        query = msgspec.structs.replace(query, filter=msgspec.structs.replace(query.filter, **limits))
    business = now.live.ranker.business
    spare = FILL_SPARE if business is not None and business.counts_modules else 0
    asked = msgspec.structs.replace(query, num_results=module.size * slots + spare)
    return _BUILDERS[module.kind](now, asked, module)


def _by_kind(live: Live, kind: str) -> dict[str, float]:
    return {spec.name: 1.0 for spec in live.bundle.recipe.sources if spec.kind == kind}


def _only(
    live: Live, query: Query, module: Module, voice: Voice, about: int | None = None,
    selection: SelectionSpec | None = None,
) -> Filled:  # fmt: skip
    """Rank by one voice and without filling."""
    slate = live.ranker.rank(query, voice, filled=False, selection=selection)
    return Filled(module, slate, query, about)


def _near(live: Live, query: Query, module: Module, rows: Iterable[int], about: int | None = None) -> Filled:
    """What goes with some items; nothing where there are none."""
    anchors = tuple(rows)
    near = msgspec.structs.replace(query, anchors=anchors)
    return _only(live, near, module, anchor_weights(live) if anchors else {}, about)


def _before(found: Filled, rows: Rows, source: str) -> Filled:
    """Some items, as far as they can be shown, in front of what else was found."""
    first = replace(
        found.slate, items=rows.astype(np.int32), scores=np.ones(len(rows), np.float32), sources=(source,) * len(rows),
        features=None,
    )  # fmt: skip
    return _then(replace(found, slate=first), found)


def _buy_again(now: Situation, query: Query, module: Module) -> Filled:
    return _only(now.live, query, module, _by_kind(now.live, "personal-frequency"))


def _for_you(now: Situation, query: Query, module: Module) -> Filled:
    live, recipe = now.live, now.live.bundle.recipe
    exclude = tuple({*query.filter.exclude, "purchased"})
    query = msgspec.structs.replace(query, filter=msgspec.structs.replace(query.filter, exclude=exclude))
    if recipe.ranker is not None and len(query.history):
        return _only(live, query, module, recipe.ranker, selection=recipe.selection)
    weights = live.ranker.weights_for(query)
    personal = {name: weight for name, weight in weights.items() if live.ranker.sources[name].personal}
    return _only(live, query, module, personal, selection=recipe.selection)


def _popular(now: Situation, query: Query, module: Module) -> Filled:
    """What sells where and when the request comes from, as far as that is known; then what sells at all.

    It fills every slot that nothing else can, so it ends in all that the shop sells.
    """
    live, near = now.live, _by_kind(now.live, "popularity")
    here = _by_kind(live, "context-popularity")
    found = _then(_only(live, query, module, here), _only(live, query, module, near)) if here else None
    found = found or _only(live, query, module, near)
    if len(found.slate.items) < query.num_results and query.context.region is not None:
        anywhere = msgspec.structs.replace(query, context=msgspec.structs.replace(query.context, region=None))
        found = _then(found, _only(live, anywhere, module, near))
    return found


def _then(first: Filled, second: Filled) -> Filled:
    """What the first found, and after it what only the second did."""
    if not len(second.slate.items):
        return first
    new = ~among(second.slate.items, np.sort(first.slate.items))
    slate = replace(
        first.slate,
        items=np.concatenate([first.slate.items, second.slate.items[new]]),
        scores=np.concatenate([first.slate.scores, np.zeros(int(new.sum()), np.float32)]),
        sources=(*first.slate.sources, *(name for name, left in zip(second.slate.sources, new, strict=True) if left)),
        features=None,
    )
    return replace(first, slate=slate)


def _wishlist(now: Situation, query: Query, module: Module) -> Filled:
    """What is wished, latest first, then what goes with it."""
    found = _near(now.live, query, module, now.wishes[:20].tolist())
    return _before(found, _showable(now, query, now.wishes), WISHLIST)


def _related(now: Situation, query: Query, module: Module) -> Filled:
    """What goes with the product of the page, else with the item viewed last."""
    about = None if query.context.item_id is None else now.live.bundle.items.find(query.context.item_id)
    if about is None:
        viewed = query.history.of_types(EventType.VIEW).item
        viewed = viewed[viewed >= 0]
        about = int(viewed[-1]) if len(viewed) else None
    return _near(now.live, query, module, () if about is None else (about,), about)


def _goes_with_order(now: Situation, query: Query, module: Module) -> Filled:
    """What goes with what is on its way; its own category is never offered (`serving.repurchase`)."""
    rows = [row for line in now.awaited if (row := now.row_of(line.item_id)) >= 0]
    return _near(now.live, query, module, rows[:20], rows[0] if rows else None)


def _viewed(now: Situation, query: Query, module: Module) -> Filled:
    """What was looked at, the latest first, and not bought since."""
    seen = query.history.of_types(EventType.VIEW)
    bought = query.history.of_types(EventType.PURCHASE)
    rows, last = np.unique(seen.item[::-1], return_index=True)
    rows = rows[np.argsort(last, kind="stable")]
    rows = rows[(rows >= 0) & ~among(rows, np.unique(bought.item))][: query.num_results]
    nothing = _only(now.live, query, module, {})
    return _before(nothing, _showable(now, query, rows.astype(np.int32)), VIEWED)


def _session(now: Situation, query: Query, module: Module) -> Filled:
    """What goes with what the subject looks at now; nothing where no session runs."""
    return _only(now.live, query, module, _by_kind(now.live, "session"))


def _showable(now: Situation, query: Query, rows: Rows) -> Rows:
    """Those of some items that filters leave, in their order."""
    kept = now.live.ranker.allowed(query, np.unique(rows))
    return rows[among(rows, kept)]


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
