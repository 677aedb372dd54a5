"""The selector: which of the scored candidates get the places of a slate, and in which order.

The value of item i behind the items that already stand above it is

    value(i) = relevance(i) x boost(i) x objective(i) x buyers(i)^-novelty
               x (1 - diversity)^same category above x (1 - diversity / 2)^same brand above

and the places are given greedily to the highest value, as maximal marginal relevance does (Carbonell & Goldstein 1998).
That a further item of one kind is worth a constant factor less is the gain of alpha-nDCG (Clarke et al. 2008, equation
1: (1 - alpha)^r), and the product form is that of xQuAD (Santos et al. 2010). buyers^-novelty is 2^(novelty x
self-information) up to a factor common to all items, the self-information being -log2(buyers / customers) as in Zhou
et al. 2010.

All is a product, so no scorer's unit matters: a probability, and a sum of scaled scores, are traded off alike. Taking
logarithms, by category alone the greedy list maximises sum(log worth) + log(1 - diversity) x (pairs of one category)
over all lists of its length, so a larger diversity never leaves more pairs of one category in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

from features.compiled import available
from serving.business import PLAIN, Business, Wanted
from serving.candidates import Floats, Rows
from serving.recipe import SelectionSpec
from serving.selecting_kernel import give_places
from serving.shelf import Shelf

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Group = tuple[npt.NDArray[np.int32], float, npt.NDArray[np.int32]]
"""Codes of the candidates, what each item of the same code above leaves of a value, and the codes that stand above."""
BRAND_SHARE = 0.5
"""A further item of the same brand costs this share of what one of the same category costs."""
NOTHING_ABOVE = np.empty(0, np.int32)
TOLD = ("relevance", "boost", "objective", "novelty", "diversity", "value")
"""What the kernel tells of each chosen item: the factors of a `Trace`, and the value."""
_UNWANTED = np.empty(0)


class Trace(msgspec.Struct, frozen=True, eq=False):
    """What the selector did to each item that it chose, in their new order.

    Args:
        before: int64[k], place by relevance alone, from 0.
        relevance: float32[k], the scorer's score.
        boost, objective, novelty, diversity: float32[k], the factors; their product with the relevance is the value.
        known: bool[k], whether what the item is worth is known (else the shop's median was taken).
    """

    before: Places
    relevance: Floats
    boost: Floats
    objective: Floats
    novelty: Floats
    diversity: Floats
    known: npt.NDArray[np.bool_]


class Selected(msgspec.Struct, frozen=True, eq=False):
    """The chosen candidates.

    Args:
        places: int64[k], among the candidates.
        values: float32[k], descending; where nothing is traded off these are the scores.
        trace: how they came about; None where nothing is traded off.
    """

    places: Places
    values: Floats
    trace: Trace | None = None


class Selector(msgspec.Struct, frozen=True, eq=False):
    """A recipe's trade-offs and the shop's wishes, over a shelf."""

    shelf: Shelf
    spec: SelectionSpec = PLAIN
    business: Business | None = None

    def select(
        self, items: Rows, scores: Floats, count: int, now: int, above: Rows = NOTHING_ABOVE,
        fits: frozenset[int] = frozenset(),
    ) -> Selected:  # fmt: skip
        """Choose from candidates that stand in the order of their scores.

        What the scorer gives nothing or less (a blend may) is no relevance that a factor could act on: it keeps its
        place behind the others.

        Args:
            items: int32[m], distinct, by descending score.
            scores: float32[m], finite.
            count: places to give.
            now: the moment of the request.
            above: items that stand above the first place, and are repeated by nobody.
            fits: numbers of the audiences that the subject belongs to.
        """
        wanted = None if self.business is None else self.business.factors(items, self.shelf.price[items], now, fits)
        if wanted is None and self.spec == PLAIN:
            return first(scores, count)
        if available():
            return self._compiled(items, scores, count, above, wanted)
        novelty = self._novelty(items)
        worth = scores.astype(np.float64) * novelty
        if wanted is not None:
            worth *= wanted.boost * wanted.objective
        positive = int(np.searchsorted(-scores, 0.0))
        places, values = greedy(worth[:positive], self._groups(items[:positive], above), count)
        diversity = np.divide(values, worth[places], out=np.ones(len(places)), where=worth[places] > 0)
        rest = np.arange(positive, min(len(items), positive + count - len(places)))
        places = np.concatenate([places, rest])
        chosen = np.concatenate([values, scores[rest]]).astype(np.float32)
        diversity = np.concatenate([diversity, np.ones(len(rest))])
        return Selected(places, chosen, _trace(places, scores, wanted, novelty, diversity))

    def _compiled(self, items: Rows, scores: Floats, count: int, above: Rows, wanted: Wanted | None) -> Selected:
        """`select` with a kernel."""
        shared, spec, size = self.shelf.bundle.shared, self.spec, min(count, len(items))
        places, told = np.empty(size, np.intp), np.empty((len(TOLD), size), np.float32)
        boost, objective = (_UNWANTED, _UNWANTED) if wanted is None else (wanted.boost, wanted.objective)
        give_places(
            items, np.ascontiguousarray(scores), shared.buyers, spec.novelty, shared.category, 1 - spec.diversity,
            shared.brand, 1 - BRAND_SHARE * spec.diversity, above, boost, objective, places, told,
        )  # fmt: skip
        known = _all_known(size) if wanted is None else wanted.known[places]
        relevance, boosts, objectives, novelty, diversity, values = told
        return Selected(places, values, Trace(places, relevance, boosts, objectives, novelty, diversity, known))

    def _novelty(self, items: Rows) -> Doubles:
        if not self.spec.novelty:
            return np.ones(len(items))
        buyers = np.nan_to_num(self.shelf.bundle.shared.buyers[items]).astype(np.float64)
        return np.asarray(np.maximum(buyers, 1.0) ** -self.spec.novelty)

    def _groups(self, items: Rows, above: Rows) -> list[Group]:
        if not self.spec.diversity:
            return []
        shared, weight = self.shelf.bundle.shared, self.spec.diversity
        kinds = ((shared.category, 1 - weight), (shared.brand, 1 - BRAND_SHARE * weight))
        return [(codes[items], keep, codes[above]) for codes, keep in kinds]


def first(scores: Floats, count: int) -> Selected:
    """The highest scores, which stand in front: nothing is traded off."""
    return Selected(np.arange(min(count, len(scores))), scores[:count])


def greedy(worth: Doubles, groups: Sequence[Group], count: int) -> tuple[Places, Doubles]:
    """Give places one by one to the highest value; equal values by their order.

    A value only ever falls as places are given, so the values of the places descend.

    Args:
        worth: float64[m], not negative: what each item is worth at the top of an empty list.
        groups: what makes items alike. Code -1 is like nothing.
        count: places to give.

    Returns:
        int64[k] and float64[k]: the places among the candidates, and the value each had when it was chosen.
    """
    count = min(count, len(worth))
    if not groups:
        places = np.argsort(-worth, kind="stable")[:count]
        return places, worth[places]
    left = worth.copy()
    for codes, keep, above in groups:
        if len(above):
            left *= keep ** ((codes[:, None] == above) & (above >= 0)).sum(axis=1)
    places, values = np.empty(count, np.intp), np.empty(count)
    for place in range(count):
        at = int(left.argmax())
        places[place], values[place] = at, left[at]
        left[at] = -np.inf  # it stands; a factor leaves minus infinity as it is
        for codes, keep, _ in groups:
            if codes[at] >= 0:
                np.multiply(left, keep, out=left, where=codes == codes[at])  # in place: no copy of a part and back
    return places, values


def joined(one: Trace | None, other: Trace | None) -> Trace | None:
    """The trace of a slate and of what fills it; the second's places come behind those of the first."""
    if one is None or other is None:
        return one or other
    moved = [other.before + len(one.before), *(getattr(other, name) for name in Trace.__struct_fields__[1:])]
    pairs = zip((getattr(one, name) for name in Trace.__struct_fields__), moved, strict=True)
    return Trace(*(np.concatenate(pair) for pair in pairs))


def taken(trace: Trace | None, places: Places) -> Trace | None:
    """The trace of some of its items in another order; place -1 is an item that nothing was traded off for."""
    if trace is None:
        return None
    new = places < 0
    told = [np.where(new, of_new, getattr(trace, name)[places]) for name, of_new in _OF_NEW.items()]
    return Trace(*(each.astype(getattr(trace, name).dtype) for each, name in zip(told, _OF_NEW, strict=True)))


_OF_NEW = {
    "before": -1, "relevance": 0, "boost": 1, "objective": 1, "novelty": 1, "diversity": 1, "known": True,
}  # fmt: skip


@lru_cache(maxsize=256)
def _all_known(size: int) -> npt.NDArray[np.bool_]:
    """bool[size], that nobody changes."""
    found = np.ones(size, np.bool_)
    found.flags.writeable = False
    return found


def _trace(places: Places, scores: Floats, wanted: Wanted | None, novelty: Doubles, diversity: Doubles) -> Trace:
    ones = np.ones(len(places))
    boost, objective = (ones, ones) if wanted is None else (wanted.boost[places], wanted.objective[places])
    known = ones > 0 if wanted is None else wanted.known[places]
    acts = scores[places] > 0

    def told(factor: Doubles) -> Floats:
        """Factors act on positive scores only."""
        return np.where(acts, factor, 1).astype(np.float32)

    return Trace(
        places, scores[places], told(boost), told(objective), told(novelty[places]), told(diversity), known
    )  # fmt: skip
