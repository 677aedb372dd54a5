"""Fitting: recipes become bundles, as of a moment.

A `Cut` is what was known at that moment. It remembers what it fitted, so that many recipes over the same sources cost
one fit each source. Nothing after the moment is looked at, and the moment is an argument.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from features import columns as c
from features.assemble import CODED, FINGERPRINT, SHARED_NAMES
from features.confidence import ConfidenceParams
from features.covariates import LOOKS
from features.dataset import Dataset
from features.errors import ConfigError
from features.history import Histories
from features.ids import Array
from features.moments import to_datetime
from serving.bundle import Bundle, text_arrays, text_of
from serving.recipe import Recipe, SourceSpec, as_json
from serving.sources.edges import with_edges
from serving.sources.index import LEAST_ITEMS
from training.catalogue import item_arrays, item_texts
from training.content import ItemTexts
from training.indexing import with_index
from training.interactions import Fitted, Progress, preference_matrix, silent, trainable
from training.known import Dimension, Prices, contexts_of, prices_of, told_of
from training.methods import Method, parsed, resolved_recipe
from training.popularity import PopularityParams, fit_frequency, fit_popularity
from training.split import MIN_CUSTOMERS, buyers
from training.unfinished import Unfinished

Mask = npt.NDArray[np.bool_]
_LONG = ("known", "contexts", "looked_on")
"""Properties of a `Cut` that have an entry an event, or may."""


class Cut:
    """What was known at a moment, and what was fitted on it so far.

    Args:
        histories: of all subjects; what happens at `as_of` or later, or is recorded later, is left out.
        as_of: microseconds.
        min_customers: items that fewer customers bought are not in the catalogue.
        regions: subject row -> region, where known.
        threads: of the libraries; 0 is all cores.
        dataset: where items are described; without it only their ids and buyers are known.
        texts: of all items as of `as_of`; default: those of the dataset.
        unfinished: where fits outlast a training that is cut off; default: nowhere.
    """

    def __init__(
        self,
        histories: Histories,
        as_of: int,
        *,
        min_customers: int = MIN_CUSTOMERS,
        regions: Mapping[int, str] | None = None,
        threads: int = 0,
        dataset: Dataset | None = None,
        texts: ItemTexts | None = None,
        unfinished: Unfinished | None = None,
    ) -> None:
        self.as_of, self.regions, self.threads = as_of, regions or {}, threads
        self._histories, self._dataset, self._texts = histories, dataset, texts
        self._min_customers, self._unfinished = max(min_customers, 1), unfinished
        self._fitted: dict[bytes, Fitted] = {}
        self._indexed: dict[bytes, Fitted] = {}
        self._matrices: dict[bytes, sp.csr_matrix] = {}

    @cached_property
    def known(self) -> Histories:
        """The events that were known then."""
        return self._histories.as_of(self.as_of)

    def rest(self) -> None:
        """Give back the memory of all that is as long as the past: it is made again where it is asked for.

        What was fitted stays. A run has half a dozen of these moments, and works on one after the other.
        """
        for name in _LONG:
            self.__dict__.pop(name, None)
        self._matrices.clear()

    @cached_property
    def buyers(self) -> npt.NDArray[np.int64]:
        """int64[n_items]: distinct customers who bought each item."""
        return buyers(self.known, before=self.as_of)

    @cached_property
    def listed(self) -> Mask:
        """bool[n_items]: the catalogue, what may be recommended."""
        return self.buyers >= self._min_customers

    @cached_property
    def items(self) -> Mapping[str, Array]:
        """What was known of the items: ids, shared statistics, texts, prices."""
        if self._dataset is None:
            return bare_items(self)
        return item_arrays(self._dataset, self.known.items, self.as_of)

    @cached_property
    def texts(self) -> ItemTexts | None:
        """What was written of all items, where anything was."""
        if self._texts is None and self._dataset is not None:
            return item_texts(self._dataset, self.known.items, self.as_of)
        return self._texts

    @cached_property
    def prices(self) -> Prices:
        """Listed prices of the past; none without a dataset."""
        return prices_of(self._dataset, self.known.items, self.as_of)

    @cached_property
    def contexts(self) -> Mapping[str, Dimension]:
        """Where purchases came from: `region`, `traffic_source`, `device`, those that at least one tells."""
        return contexts_of(self._dataset, self.known, self.regions, self.as_of)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The path of each category code of the items."""
        count = int(np.asarray(self.items["shared.category"]).max(initial=-1)) + 1
        return tuple(text_of(self.items, "category_path", code) for code in range(count))

    @cached_property
    def looked_on(self) -> Dimension | None:
        """The device of each look (`features.covariates.LOOKS`), where any is told."""
        return told_of(self._dataset, self.known, self.as_of, (c.DEVICE,), LOOKS).get(c.DEVICE)

    def fit(self, spec: SourceSpec, progress: Progress = silent) -> Fitted:
        """Fit a source, or take what was fitted for the same method and parameters.

        Raises:
            ConfigError: an unknown method, or parameters that it does not have.
            DataError: there is too little or too much to learn from, or the fit diverged.
        """
        method, params = parsed(spec)
        key = _key(spec, params)
        if key not in self._fitted:
            self._fitted[key] = self._lasting(b"fit", key, lambda: self._timed(method, params, progress))
        return self._fitted[key]

    def _timed(self, method: Method, params: Any, progress: Progress) -> Fitted:
        start = time.perf_counter()
        found = self._fit(method, params, progress)
        return Fitted(with_edges(found.arrays), found.figures, time.perf_counter() - start)

    def _lasting(self, what: bytes, key: bytes, fit: Callable[[], Fitted]) -> Fitted:
        if self._unfinished is None:
            return fit()
        return self._unfinished.fitted(what, key, self.as_of, self._min_customers, fit=fit)

    def forget(self, spec: SourceSpec) -> None:
        """Drop what was fitted for a source, and the matrix that it read: a search over parameters fits hundreds."""
        _, params = parsed(spec)
        for found in (self._fitted, self._indexed):
            found.pop(_key(spec, params), None)
        if (confidence := getattr(params, "confidence", None)) is not None:
            self._matrices.pop(msgspec.json.encode(confidence, order="sorted"), None)

    def _fit(self, method: Method, params: Any, progress: Progress) -> Fitted:
        if isinstance(params, PopularityParams):
            return fit_popularity(self.known, self.as_of, self.listed, params, self.regions)
        if method.learn is None:
            return fit_frequency(self.known, self.as_of, self.listed)
        if method.reads != "matrix":
            told = {"histories": self.known, "cut": self, "texts": self.texts if method.reads == "texts" else None}
            return method.learn(told[method.reads], params, threads=self.threads, progress=progress)
        found = method.learn(self._matrix(params.confidence), params, threads=self.threads, progress=progress)
        arrays = _over_all_items(found.arrays, np.flatnonzero(self.listed), len(self.known.items))
        return Fitted(arrays, found.figures)

    def indexed(self, spec: SourceSpec, progress: Progress = silent) -> Fitted:
        """`fit`, with an index beside the vectors, where there are any and an index is of use.

        Raises:
            ConfigError, DataError: as `fit`.
        """
        found = self.fit(spec, progress)
        if "item_factors" not in found.arrays or np.count_nonzero(self.listed) < LEAST_ITEMS:
            return found
        _, params = parsed(spec)
        key = _key(spec, params)
        if key not in self._indexed:
            self._indexed[key] = self._lasting(b"index", key, lambda: with_index(
                found, self.listed, self._matrix(params.confidence), params.alpha, params.regularization
            ))  # fmt: skip
        return self._indexed[key]

    def _matrix(self, params: ConfidenceParams) -> sp.csr_matrix:
        """Subjects x catalogue; rows without anything are not there."""
        key = msgspec.json.encode(params, order="sorted")
        if key not in self._matrices:
            whole = preference_matrix(self.known, self.as_of, params)
            self._matrices[key] = trainable(whole[:, np.flatnonzero(self.listed)].tocsr())
        return self._matrices[key]


def _key(spec: SourceSpec, params: Any) -> bytes:
    """What is fitted alike for sources of one method and the same parameters."""
    return msgspec.json.encode((spec.method or spec.kind, params), order="sorted")


def fit_sources(
    cut: Cut, specs: Iterable[SourceSpec], progress: Callable[[str, int, int], None] = lambda name, done, total: None
) -> dict[str, Array]:
    """The arrays of sources, as a bundle names them.

    Args:
        cut: what was known.
        specs: the sources; names must differ.
        progress: hears `(source, done, total)`.

    Returns:
        `source.<name>.<array>` -> array.

    Raises:
        ConfigError, DataError: as `Cut.fit`.
    """
    arrays: dict[str, Array] = {}
    for spec in specs:
        name = spec.name
        found = cut.indexed(spec, lambda done, total, name=name: progress(name, done, total))  # type: ignore[misc]
        progress(name, 1, 1)
        arrays |= {f"source.{name}.{key}": array for key, array in found.arrays.items()}
    return arrays


def fit_bundle(
    cut: Cut,
    recipe: Recipe,
    *,
    items: Mapping[str, Array] | None = None,
    data_hash: str = "",
    created_at: str = "",
    metrics: Mapping[str, float] | None = None,
    rankers: Mapping[str, Array] | None = None,
    tables: Mapping[str, Array] | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Bundle:
    """A bundle in memory: what is evaluated, and what is published by writing it down.

    Args:
        cut: what was known.
        recipe: sources and weights; the bundle carries it with every parameter written out.
        items: arrays of the items (`training.catalogue.item_arrays`); default: those of the cut.
        data_hash: of the inputs; the same recipe on the same inputs as of the same moment has the same id.
        created_at: ISO 8601, for people.
        metrics: figures that go with it.
        rankers: arrays of trees (`training.rankers.Rankers.fit`), where a recipe has a ranker.
        tables: small tables that pages read beside the ranking (`training.questions`, `training.delivery`).
        progress: hears `(source, done, total)`.

    Raises:
        ConfigError: a weight names a source that the recipe does not have.
        ConfigError, DataError: as `Cut.fit`.
    """
    recipe = resolved_recipe(recipe)
    named = {spec.name for spec in recipe.sources}
    voices = recipe.ranker.voices if recipe.ranker else ()
    for name in (*recipe.weights, *recipe.new_weights, *voices, recipe.fill):
        if name not in named:
            raise ConfigError("no such source in the recipe", where=f"recipe {recipe.name}", got=name)
    arrays = {**(items if items is not None else cut.items), **(rankers or {}), **(tables or {})}
    arrays["item.catalogue"] = cut.listed
    arrays |= fit_sources(cut, recipe.sources, progress)
    manifest = {
        "bundle_id": _bundle_id(recipe, cut.as_of, data_hash),
        "as_of": cut.as_of,
        "recipe": as_json(recipe),
        "features": FINGERPRINT,
        "data_hash": data_hash,
        "created_at": created_at,
        "metrics": dict(metrics or {}),
        "sources": {spec.name: _told(cut.indexed(spec)) for spec in recipe.sources},
    }
    return Bundle(manifest, arrays)


def bare_items(cut: Cut) -> dict[str, Array]:
    """Arrays of items without a catalogue: ids and numbers of buyers, everything else unknown."""
    n = len(cut.known.items)
    arrays: dict[str, Array] = {f"shared.{name}": np.full(n, np.nan, np.float32) for name in SHARED_NAMES}
    arrays |= {f"shared.{name}": np.full(n, -1, np.int32) for name in CODED}
    arrays["shared.buyers"] = cut.buyers.astype(np.float32)
    for column in ("title", "brand", "image_url"):
        arrays |= text_arrays(column, [""] * n)
    arrays |= text_arrays("category_path", [])
    return {
        **arrays,
        **cut.known.items.arrays("items"),
        "item.price": np.full(n, np.nan, np.float32),
        "item.in_stock": np.ones(n, bool),
    }


def _over_all_items(arrays: Mapping[str, Array], places: npt.NDArray[np.intp], n: int) -> dict[str, Array]:
    """Arrays over the catalogue as arrays over all items: the others have no factors and no neighbours."""
    if "item_factors" in arrays:
        listed = arrays["item_factors"]
        factors = np.zeros((n, listed.shape[1]), np.float32)
        factors[places] = listed
        return {**arrays, "item_factors": factors}
    counts = np.zeros(n, np.int64)
    counts[places] = np.diff(arrays["indptr"].view(np.int64))
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return {**arrays, "indptr": indptr, "indices": places[arrays["indices"].view(np.int32)].astype(np.int32)}


def _bundle_id(recipe: Recipe, as_of: int, data_hash: str) -> str:
    content = msgspec.json.encode((as_json(recipe), as_of, data_hash, FINGERPRINT), order="sorted")
    moment = to_datetime(as_of).strftime("%Y%m%dT%H%M%SZ")
    return f"{moment}-{recipe.name}-{hashlib.sha256(content).hexdigest()[:8]}"


def _told(fitted: Fitted) -> dict[str, float]:
    return {"seconds": round(fitted.seconds, 3), **fitted.figures}
