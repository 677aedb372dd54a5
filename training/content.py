"""Content neighbours: items alike by title, category, brand and price, also before their first event."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from msgspec import Meta

from features.confidence import ConfidenceParams
from features.errors import DataError
from features.text import fold
from features.tokens import title_tokens
from training.collaborative import nearest
from training.interactions import Fitted, Progress, silent

Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0)]
MARK = "\0"
"""Begins tokens that are no words: nothing in a title looks like one."""


@dataclass(frozen=True, slots=True)
class ItemTexts:
    """What is written of items, as of a moment.

    Args:
        titles: one an item row; empty where unknown, as brands.
        categories: one path an item row, widest first; empty where unknown.
        brands: one an item row.
        prices: float32[n_items]; NaN where unknown.
    """

    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    brands: tuple[str, ...]
    prices: npt.NDArray[np.float32]


class ContentParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content neighbours; `confidence` serves the request."""

    neighbours: Positive = 50
    category: Share = 1.0
    """Weight of each step of the category path beside a word of the title."""
    brand: Share = 1.0
    price: Share = 0.5
    """Weight of the price band; a band is half an octave."""
    pairs: Positive = 300_000_000
    """Pairs of items to compare at most: the commonest tokens, which tell least, are left out beyond it."""
    binary: bool = False
    """Whether a request weighs each item of the past alike."""
    confidence: ConfidenceParams = ConfidenceParams(half_life_days=60.0)


def fit_content(
    texts: ItemTexts | None, params: ContentParams, *, threads: int = 0, progress: Progress = silent
) -> Fitted:
    """Neighbours by the cosine of tf-idf vectors (Salton & Buckley 1988): (1 + ln tf) x ln(n / df) x weight.

    Args:
        texts: of all items, with events or without.
        params: of the fit.
        threads: 0 is all cores.
        progress: hears of the start and the end.

    Returns:
        `indptr`, `indices`, `weights` over all items.

    Raises:
        DataError: there are no texts, or no two items share a word that tells them from the others.
    """
    if texts is None or not (any(texts.titles) or any(texts.categories) or any(texts.brands)):
        raise DataError("no item texts to learn from", where="content", hint="import items with titles or categories")
    vectors = _vectors(texts, params)
    if not vectors.nnz:
        raise DataError("no two items share a telling word", where="content", hint="give titles or categories")
    found = nearest(vectors.T, params.neighbours, threads, progress)
    described = np.diff(vectors.indptr) > 0
    return Fitted(found.arrays, {"items": float(described.sum()), "tokens": float(vectors.shape[1])})


def _vectors(texts: ItemTexts, params: ContentParams) -> sp.csr_matrix:
    """float64[items, tokens], rows of length 1 (or 0)."""
    places: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for row in range(len(texts.titles)):
        for token, weight in _weighted(texts, params, row):
            rows.append(row)
            columns.append(places.setdefault(token, len(places)))
            values.append(weight)
    n = len(texts.titles)
    matrix = sp.csr_matrix((values, (rows, columns)), shape=(n, len(places)), dtype=np.float64)
    common = np.bincount(matrix.indices, minlength=len(places))
    kept = _telling(common, n, params.pairs)
    return rare_first(matrix[:, kept], common[kept])


def rare_first(matrix: sp.csr_matrix, common: npt.NDArray[np.int64]) -> sp.csr_matrix:
    """Rows of length 1 (or 0), each column weighed by ln(n / df).

    Args:
        matrix: [n, columns], weights of what each item has.
        common: int64[columns], df: how many items have it, at least one.
    """
    weighed = (matrix @ sp.diags(np.log(matrix.shape[0] / common))).tocsr()
    length = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    return (sp.diags(1 / np.where(length > 0, length, 1)) @ weighed).tocsr()


def _weighted(texts: ItemTexts, params: ContentParams, row: int) -> Iterator[tuple[str, float]]:
    """The tokens of an item, each once, with (1 + ln tf) x weight."""
    for token, times in Counter(title_tokens(texts.titles[row])).items():
        yield token, 1 + math.log(times)
    path = [fold(step) for step in texts.categories[row]]
    for depth in range(1, len(path) + 1):
        yield f"{MARK}c{MARK.join(path[:depth])}", params.category
    if texts.brands[row]:
        yield f"{MARK}b{fold(texts.brands[row])}", params.brand
    price = float(texts.prices[row])
    if math.isfinite(price) and price > 0:
        yield f"{MARK}p{math.floor(2 * math.log2(price))}", params.price


def _telling(common: npt.NDArray[np.int64], n: int, pairs: int) -> npt.NDArray[np.intp]:
    """Columns that some but not all items have, rarest first until their items make too many pairs; ascending."""
    usable = np.flatnonzero((common > 1) & (common < n))
    order = usable[np.argsort(common[usable], kind="stable")]
    made = np.cumsum(common[order].astype(np.float64) ** 2)
    return np.sort(order[made <= pairs])
