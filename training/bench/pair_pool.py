"""Pools: what the methods of a pair benchmark propose to some customers, and what they all think of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from training.bench.pair_data import Known
from training.bench.pair_voices import Floats, Scores
from training.metrics import METRICS, Rows, hit_matrix
from training.split import Truth

Mask = npt.NDArray[np.bool_]
Which = npt.NDArray[np.intp]
PROPOSED = 200
"""Items that each method proposes to a customer."""
_BATCH = 256


@dataclass(frozen=True)
class Pool:
    """What S methods propose to n customers: the union, rows padded to the same width w.

    Args:
        names: of the methods.
        scores: float32[S, n, w], standardised by customer over all items.
        items: int32[n, w], ascending.
        there: bool[n, w]; False fills a row up, or the customer has the item already.
        popular: float32[n, w], how many have the item, beside the mean of all items: what is learned on a part of what
            is known must hold on all of it.
        owned: float32[n], how many items the customer has, beside the mean of all customers.
    """

    names: tuple[str, ...]
    scores: Floats
    items: Rows
    there: Mask
    popular: Floats
    owned: Floats

    @staticmethod
    def together(several: Sequence[Pool]) -> Pool:
        """All their customers, one after the other."""
        return Pool(
            several[0].names,
            np.concatenate([each.scores for each in several], axis=1),
            np.concatenate([each.items for each in several]),
            np.concatenate([each.there for each in several]),
            np.concatenate([each.popular for each in several]),
            np.concatenate([each.owned for each in several]),
        )

    def take(self, places: Which) -> Pool:
        """Some of the customers."""
        return Pool(
            self.names, self.scores[:, places], self.items[places], self.there[places], self.popular[places],
            self.owned[places],
        )  # fmt: skip

    def shown(self, scores: Floats, k: int) -> Rows:
        """int32[n, k]: the items in the order of float32[n, w] scores, -1 where there are no more."""
        left = np.where(self.there, scores, -np.inf)
        top = np.argpartition(-left, k - 1, axis=1)[:, :k] if left.shape[1] > k else np.argsort(-left, axis=1)
        order = np.argsort(-np.take_along_axis(left, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        return np.where(np.take_along_axis(self.there, top, axis=1), np.take_along_axis(self.items, top, axis=1), -1)


def standardised(scores: Floats) -> Floats:
    """Each row minus its mean, by its standard deviation over all items; a flat row is 0."""
    spread = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1), np.float32)


def pooled(heard: Mapping[str, Scores], known: Known, customers: Rows) -> Pool:
    """The union of the items that each method would show first, with every method's score of each."""
    return Pool.together([gathered(heard, known, which)[0] for which in batches(customers)])


def batches(customers: Rows) -> Iterator[Which]:
    """A few hundred rows at a time."""
    yield from (customers[start : start + _BATCH].astype(np.intp) for start in range(0, len(customers), _BATCH))


def gathered(heard: Mapping[str, Scores], known: Known, which: Which, width: int = 0) -> tuple[Pool, dict[str, Rows]]:
    """The pool of one batch of customers, and each method's own list of `width` items."""
    own, count = known.matrix[which], min(PROPOSED, known.matrix.shape[1])
    alike, tops = {}, {}
    for name, scores in heard.items():
        found = scores(which)
        alike[name], tops[name] = standardised(found), best(found, own, max(count, width))
    items = np.sort(np.concatenate([top[:, :count] for top in tops.values()], axis=1), axis=1)
    there = np.ones(items.shape, bool)
    there[:, 1:] = items[:, 1:] != items[:, :-1]
    there &= np.take_along_axis(own.toarray(), items, axis=1) == 0
    mine = np.stack([np.take_along_axis(each, items, axis=1) for each in alike.values()])
    usual_item, usual_customer = (known.matrix.nnz / max(size, 1) for size in known.matrix.shape[::-1])
    owned = (np.diff(own.indptr) / usual_customer).astype(np.float32)
    pool = Pool(tuple(heard), mine, items, there, known.popular[items] / np.float32(usual_item), owned)
    return pool, {name: top[:, :width] for name, top in tops.items()}


def best(scores: Floats, own: sp.csr_matrix, k: int) -> Rows:
    """int32[n, k]: the k highest items that the customer does not have, best first.

    Args:
        scores: float32[n, items]; of equal ones at the end of a list any may come, always the same.
        own: [n, items], what each customer has; beyond all others it fills a list that would be shorter.
        k: length of a list.
    """
    left = np.array(scores, np.float32)
    left[np.repeat(np.arange(len(left)), np.diff(own.indptr)), own.indices] = -np.inf
    top = np.sort(np.argpartition(-left, k - 1, axis=1)[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(left, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1).astype(np.int32)


def goal(truth: Truth, metrics: Sequence[str]) -> Callable[[Rows], float]:
    """What lists are worth: the mean of some metrics, e.g. `recall@20`, over the customers of a truth."""

    def worth(lists: Rows) -> float:
        hits, relevant = hit_matrix(lists, truth), truth.counts
        named = [name.split("@") for name in metrics]
        return float(np.mean([np.nanmean(METRICS[name](hits, relevant, int(k))) for name, k in named]))

    return worth
