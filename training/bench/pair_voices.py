"""The methods of the pair benchmarks: the models of training, asked for the scores of all items at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from features.errors import DataError
from serving.sources.folding import folded_in
from training.bench.pair_data import Known
from training.collaborative import IalsParams, fit_ials
from training.content import rare_first
from training.graph import GraphFilterParams, graph_filter
from training.linear import solve
from training.sequence import transition_matrix

Floats = npt.NDArray[np.float32]
Which = npt.NDArray[np.intp]
Scores = Callable[[Which], Floats]
"""float32[n, items] of n customers, by their rows."""
Fit = Callable[[Known, Mapping[str, float]], Scores]


def _popularity(known: Known, params: Mapping[str, float]) -> Scores:
    """How many have each item."""
    return lambda which: np.broadcast_to(known.popular, (len(which), len(known.popular)))


def _ease(known: Known, params: Mapping[str, float]) -> Scores:
    """EASE, exact."""
    profiles, model = known.profiles(params.get("decay", 1.0)), solve(known.matrix, params["l2"])
    if profiles is known.matrix:
        return lambda which: model.fitted(profiles, which)
    return lambda which: model.scores(profiles[which])


def _wish_ease(known: Known, params: Mapping[str, float]) -> Scores:
    """EASE on purchases and wishes alike."""
    both = known.matrix.maximum(_wished(known)).tocsr()
    model = solve(both, params["l2"])
    return lambda which: model.fitted(both, which)


def _wishes(known: Known, params: Mapping[str, float]) -> Scores:
    """What is on the list of favourites."""
    wished = _wished(known)
    return lambda which: np.asarray(wished[which].toarray(), np.float32)


def _graph_filter(known: Known, params: Mapping[str, float]) -> Scores:
    profiles = known.profiles(params.get("decay", 1.0))
    model = graph_filter(known.matrix, GraphFilterParams(rank=int(params["rank"]), strength=params["strength"]))
    return lambda which: model.applied(profiles[which])


def _ials(known: Known, params: Mapping[str, float]) -> Scores:
    """iALS, with the fold-in of the service."""
    told = IalsParams(
        factors=int(params["factors"]), iterations=int(params["iterations"]),
        regularization=params["regularization"], alpha=params["alpha"],
    )  # fmt: skip
    fitted, matrix = fit_ials(known.matrix, told).arrays, known.matrix
    factors = np.asarray(fitted["item_factors"], np.float32)
    gram = np.asarray(fitted["gram"], np.float32) + np.float32(told.regularization) * np.eye(
        told.factors, dtype=np.float32
    )

    def scores(which: Which) -> Floats:
        mine = (matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]] for row in which)
        with threadpool_limits(1, "blas"):  # each solve is small: more threads only wait for each other
            vectors = [folded_in(factors[items], np.full(len(items), told.alpha, np.float32), gram) for items in mine]
        return np.asarray(np.stack(vectors) @ factors.T, np.float32)

    return scores


def _sequence(known: Known, params: Mapping[str, float]) -> Scores:
    """What followed the customer's last items for others."""
    if known.order is None:
        raise DataError("a sequence needs the order of the items", where="sequence")
    profiles, (customers, items) = known.profiles(params["decay"]), known.order
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(customers, minlength=profiles.shape[0]))])
    follows = transition_matrix(
        offsets, items, profiles.shape[1], window=int(params["window"]), gap_power=params["gap_power"],
        shrink=params["shrink"],
    ).astype(np.float32)  # fmt: skip
    return lambda which: np.asarray((profiles[which] @ follows).toarray(), np.float32)


def _content(known: Known, params: Mapping[str, float]) -> Scores:
    """Items with the same attributes: the cosine of tf-idf vectors."""
    if known.attributes is None:
        raise DataError("content needs the attributes of the items", where="content")
    profiles, attributes = known.profiles(params.get("decay", 1.0)), known.attributes
    common = np.bincount(attributes.indices, minlength=attributes.shape[1])
    vectors = rare_first(attributes, np.maximum(common, 1)).astype(np.float32)
    return lambda which: np.asarray(((profiles[which] @ vectors) @ vectors.T).toarray(), np.float32)


def _wished(known: Known) -> sp.csr_matrix:
    if known.wishes is None:
        raise DataError("there are no favourites", where="wishes")
    return known.wishes


VOICES: Mapping[str, Fit] = {
    "popularity": _popularity,
    "ease": _ease,
    "graph-filter": _graph_filter,
    "ials": _ials,
    "sequence": _sequence,
    "content": _content,
    "wish-ease": _wish_ease,
    "wishes": _wishes,
}
"""Methods by name."""
