"""Public data sets of customers and items without moments: what a model may see, and what it is judged on.

They are known by their published results. Each is split once more, so that parameters come from a part of what is
known and never from the test: the published rows were tuned on the test itself.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from features.errors import DataError
from training.split import Truth

Rows = npt.NDArray[np.int32]
Pairs = tuple[Rows, Rows]
"""Customers and items, side by side."""
SEED = 0


@dataclass(frozen=True)
class Known:
    """What a model may see.

    Args:
        matrix: float32[customers, items], 1 where the customer has the item.
        order: customers and items in the order in which they came, where that is known.
        wishes: float32[customers, items], 1 where it was marked as a favourite.
        attributes: float32[items, attributes], where items have some.
    """

    matrix: sp.csr_matrix
    order: Pairs | None = None
    wishes: sp.csr_matrix | None = None
    attributes: sp.csr_matrix | None = None

    @cached_property
    def popular(self) -> npt.NDArray[np.float32]:
        """float32[items]: how many customers have each item."""
        return np.asarray(self.matrix.sum(axis=0), np.float32).ravel()

    @cached_property
    def positions(self) -> Rows:
        """int32[pairs] of `order`: 0 for a customer's last item, 1 for the one before."""
        assert self.order is not None
        ends = np.cumsum(np.bincount(self.order[0], minlength=self.matrix.shape[0]))
        return (ends[self.order[0]] - 1 - np.arange(len(self.order[0]))).astype(np.int32)

    def profiles(self, decay: float) -> sp.csr_matrix:
        """float32[customers, items]: the last item weighs 1, the one before `decay`, and so on; 1 without an order."""
        if self.order is None or decay == 1:
            return self.matrix
        weights = np.power(decay, self.positions).astype(np.float32)
        return sp.csr_matrix((weights, self.order), shape=self.matrix.shape)


@dataclass(frozen=True)
class Split:
    """What is known, and what is to be found."""

    known: Known
    truth: Truth


@dataclass(frozen=True)
class PairTask:
    """A data set as a task.

    Args:
        name: of the rows.
        tuned: a part of what is known, held out: parameters come from here.
        test: the published split.
    """

    name: str
    tuned: Split
    test: Split


@dataclass(frozen=True)
class PairCase:
    """A data set with its protocol.

    Args:
        load: reads its folder.
        k: length of the lists.
        metrics: the two quoted ones, the first is the primary.
        published: method -> the two figures, tuned on the test by their authors.
        voices: the methods that are fitted (`training.bench.pair_voices.VOICES`), with their parameters.
    """

    load: Callable[[Path], list[PairTask]]
    k: int
    metrics: tuple[str, str]
    published: Mapping[str, tuple[float, float]]
    voices: Mapping[str, Mapping[str, float]]


def gowalla(folder: Path) -> list[PairTask]:
    """Check-ins as NGCF and LightGCN split them; of each customer's known items as large a share is held out."""
    train, test = (_listed(folder / f"{name}.txt.gz", base=0) for name in ("train", "test"))
    shape = _shape(train, test)
    known, held = _held_out(train, len(test[0]) / (len(train[0]) + len(test[0])))
    return [
        PairTask(
            "gowalla",
            Split(Known(_matrix(known, shape)), _truth(held)),
            Split(Known(_matrix(train, shape)), _truth(test)),
        )
    ]


def amazon_beauty(folder: Path) -> list[PairTask]:
    """Reviews in their order, leave one out: the last item is the test, the one before it is held out for tuning."""
    customers, items = _listed(folder / "Beauty.txt.gz", base=1)
    shape = _shape((customers, items))
    attributes = _attributes(folder / "Beauty_item2attributes.json.gz", shape[1])
    back = Known(_matrix((customers, items), shape), (customers, items)).positions

    def split(places: int) -> Split:
        before, at = back > places, back == places
        seen = customers[before], items[before]
        return Split(Known(_matrix(seen, shape), seen, attributes=attributes), _truth((customers[at], items[at])))

    return [PairTask("amazon-beauty", split(1), split(0))]


def tmall(folder: Path) -> list[PairTask]:
    """Purchases, without favourites and with them; `valid` is a part of `train` and is held out for tuning.

    Favourites on the very items that are to be found are a bound from above, without them a bound from below: the
    wishes that are dropped there are just those that came true.
    """
    train, valid, test, wished = (_pairs(folder / f"{name}.txt.gz") for name in ("train", "valid", "test", "collect"))
    shape = _shape(train, valid, test, wished)
    past = _without(train, valid, shape)

    def split(known: Pairs, held: Pairs, wishes: Pairs | None) -> Split:
        return Split(
            Known(_matrix(known, shape), wishes=None if wishes is None else _matrix(wishes, shape)), _truth(held)
        )

    return [
        PairTask("tmall", split(past, valid, None), split(train, test, None)),
        PairTask("tmall+wishes", split(past, valid, wished), split(train, test, wished)),
        PairTask(
            "tmall+other-wishes",
            split(past, valid, _without(wished, valid, shape)),
            split(train, test, _without(wished, test, shape)),
        ),
    ]


def _lines(path: Path) -> Iterator[tuple[int, list[int]]]:
    """Line numbers and the numbers of each line."""
    if not path.is_file():
        raise DataError("the file is not there", where=str(path), hint="--path names the folder that holds it")
    with gzip.open(path, "rt", encoding="ascii") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield number, [int(word) for word in line.split()]
            except ValueError:
                raise DataError("not a line of whole numbers", where=f"{path}:{number}", got=line[:60]) from None


def _listed(path: Path, base: int) -> Pairs:
    """Lines of a customer and all their items; customers keep their number, both from `base`.

    Raises:
        DataError: the file is not there, or holds something else.
    """
    customers: list[int] = []
    items: list[int] = []
    for _, (customer, *those) in ((number, found) for number, found in _lines(path) if found):
        customers += [customer] * len(those)
        items += those
    return _based(path, customers, items, base)


def _pairs(path: Path) -> Pairs:
    """Lines of a customer and an item, both from 1."""
    found = [numbers for _, numbers in _lines(path)]
    if any(len(numbers) != 2 for numbers in found):
        line = next(at for at, numbers in enumerate(found, start=1) if len(numbers) != 2)
        raise DataError("a line must hold a customer and an item", where=f"{path}:{line}", got=found[line - 1])
    customers, items = zip(*found, strict=True)
    return _based(path, customers, items, 1)


def _based(path: Path, customers: object, items: object, base: int) -> Pairs:
    both = np.array([customers, items], np.int32) - base
    if both.size and both.min() < 0:
        raise DataError(f"numbers begin at {base}", where=str(path), got=int(both.min()) + base)
    return both[0], both[1]


def _attributes(path: Path, items: int) -> sp.csr_matrix:
    """float32[items, attributes] from a JSON object of item -> attributes, both from 1."""
    if not path.is_file():
        raise DataError("the file is not there", where=str(path), hint="--path names the folder that holds it")
    with gzip.open(path) as file:
        told = msgspec.json.decode(file.read(), type=dict[str, list[int]])
    rows = np.repeat([int(item) - 1 for item in told], [len(each) for each in told.values()])
    columns = np.concatenate([np.array(each, np.int64) for each in told.values()]) - 1
    kept = rows < items
    return _ones(rows[kept], columns[kept], (items, int(columns.max(initial=0)) + 1))


def _held_out(pairs: Pairs, share: float) -> tuple[Pairs, Pairs]:
    """All but a share of each customer's items, and that share; nobody is left without an item."""
    customers, items = pairs
    shuffled = np.random.default_rng(SEED).permutation(len(customers))
    order = shuffled[np.argsort(customers[shuffled], kind="stable")]
    counts = np.bincount(customers)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    out = np.zeros(len(order), bool)
    out[order] = place < np.minimum(np.round(counts * share), counts - 1)[customers[order]]
    return (customers[~out], items[~out]), (customers[out], items[out])


def _without(pairs: Pairs, others: Pairs, shape: tuple[int, int]) -> Pairs:
    """The pairs that are not among the others."""
    mine, theirs = (who.astype(np.int64) * shape[1] + what for who, what in (pairs, others))
    kept = ~np.isin(mine, theirs)
    return pairs[0][kept], pairs[1][kept]


def _shape(*several: Pairs) -> tuple[int, int]:
    customers, items = (max(int(pairs[axis].max(initial=-1)) for pairs in several) + 1 for axis in (0, 1))
    return customers, items


def _matrix(pairs: Pairs, shape: tuple[int, int]) -> sp.csr_matrix:
    return _ones(pairs[0], pairs[1], shape)


def _ones(
    rows: npt.NDArray[np.int_] | Rows, columns: npt.NDArray[np.int_] | Rows, shape: tuple[int, int]
) -> sp.csr_matrix:
    matrix = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.data[:] = 1  # what stands there twice counts once
    return matrix


def _truth(pairs: Pairs) -> Truth:
    """What each customer is to be found with."""
    keys = np.unique(np.stack(pairs, axis=1), axis=0)
    subjects, counts = np.unique(keys[:, 0], return_counts=True)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    return Truth(subjects.astype(np.int32), indptr, keys[:, 1].astype(np.int32), np.zeros(len(keys), bool))


CASES: Mapping[str, PairCase] = {
    "gowalla": PairCase(
        gowalla, 20, ("recall@20", "ndcg@20"),
        {
            "SimpleX": (0.1872, 0.1557), "UltraGCN": (0.1862, 0.1580), "GF-CF": (0.1849, 0.1518),
            "LightGCN": (0.1830, 0.1554), "EASE": (0.1765, 0.1467), "MF-BPR": (0.1627, 0.1378),
            "ItemCF": (0.1570, 0.1214),
        },
        {
            "popularity": {}, "ease": {"l2": 80.0}, "graph-filter": {"rank": 256, "strength": 0.3},
            "ials": {"factors": 256, "iterations": 15, "regularization": 30.0, "alpha": 60.0},
        },
    ),
    "amazon-beauty": PairCase(
        amazon_beauty, 10, ("hr@10", "ndcg@10"),
        {
            "S3-Rec": (0.0647, 0.0327), "SASRec": (0.0605, 0.0318), "HGN": (0.0512, 0.0266),
            "BERT4Rec": (0.0347, 0.0170), "PopRec": (0.0152, 0.0068),
        },
        {
            "popularity": {}, "ease": {"l2": 100.0, "decay": 0.6},
            "graph-filter": {"rank": 128, "strength": 0.3, "decay": 0.6},
            "ials": {"factors": 128, "iterations": 15, "regularization": 10.0, "alpha": 20.0},
            "sequence": {"decay": 0.5, "window": 20, "gap_power": 0.5, "shrink": 200.0}, "content": {"decay": 0.6},
        },
    ),
    "tmall": PairCase(
        tmall, 10, ("hr@10", "ndcg@10"), {},
        {
            "popularity": {}, "ease": {"l2": 100.0}, "graph-filter": {"rank": 128, "strength": 0.3},
            "ials": {"factors": 128, "iterations": 15, "regularization": 10.0, "alpha": 20.0},
            "wish-ease": {"l2": 100.0}, "wishes": {},
        },
    ),
}  # fmt: skip
"""Data sets by the name that `--data` takes. LightGCN's row on Tmall is left out: its protocol is not ours."""
