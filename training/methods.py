"""The methods that sources are fitted by, their parameters, and how a recipe names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from features.errors import ConfigError
from serving.recipe import Recipe, SourceSpec
from training.basket import CoPurchaseParams, fit_co_purchase
from training.collaborative import (
    BprParams,
    IalsParams,
    ItemItemParams,
    fit_bm25,
    fit_bpr,
    fit_cosine,
    fit_ials,
)
from training.content import ContentParams, fit_content
from training.context import ContextPopularityParams, fit_context_popularity
from training.graph import GraphFilterParams, fit_graph_filter
from training.interactions import Fitted
from training.linear import EaseParams, fit_ease
from training.popularity import FrequencyParams, PopularityParams
from training.replenishment import ReplenishmentParams, fit_replenishment
from training.sequence import SequenceParams, SessionParams, fit_sequence, fit_session
from training.wishes import WishlistParams, fit_wishlist


@dataclass(frozen=True, slots=True)
class Method:
    """How a kind of source is fitted.

    Args:
        kind: of the source in a bundle.
        params: the struct of its parameters.
        learn: fits it on what it reads; None where it needs neither.
        reads: the matrix of confidence over the catalogue; or all histories, texts or the whole cut, over all items.
    """

    kind: str
    params: type[Any]
    learn: Callable[..., Fitted] | None = None
    reads: Literal["matrix", "histories", "texts", "cut"] = "matrix"


METHODS: Mapping[str, Method] = {
    "popularity": Method("popularity", PopularityParams),
    "personal-frequency": Method("personal-frequency", FrequencyParams),
    "ials": Method("factors", IalsParams, fit_ials),
    "bpr": Method("factors", BprParams, fit_bpr),
    "cosine": Method("neighbours", ItemItemParams, fit_cosine),
    "bm25": Method("neighbours", ItemItemParams, fit_bm25),
    "ease": Method("neighbours", EaseParams, fit_ease),
    "graph-filter": Method("neighbours", GraphFilterParams, fit_graph_filter),
    "content": Method("neighbours", ContentParams, fit_content, "texts"),
    "co-purchase": Method("neighbours", CoPurchaseParams, fit_co_purchase, "histories"),
    "context-popularity": Method("context-popularity", ContextPopularityParams, fit_context_popularity, "cut"),
    "wishlist": Method("wishlist", WishlistParams, fit_wishlist, "cut"),
    "replenishment": Method("replenishment", ReplenishmentParams, fit_replenishment, "cut"),
    "sequence": Method("sequence", SequenceParams, fit_sequence, "cut"),
    "session": Method("session", SessionParams, fit_session, "cut"),
}
"""By `SourceSpec.method`; where that is empty the kind is the method."""


def resolved(spec: SourceSpec) -> SourceSpec:
    """The source with its method named and every parameter written out; what is resolved stays as it is.

    A request reads parameters of the fit (regularization, alpha, confidence), so none may be left to a default that
    another version might change.
    """
    _, params = parsed(spec)
    plain: dict[str, Any] = msgspec.to_builtins(params)
    return msgspec.structs.replace(spec, method=spec.method or spec.kind, params=plain)


def resolved_recipe(recipe: Recipe) -> Recipe:
    """The recipe with all its sources resolved."""
    return msgspec.structs.replace(recipe, sources=tuple(resolved(spec) for spec in recipe.sources))


def parsed(spec: SourceSpec) -> tuple[Method, Any]:
    """How a source is fitted, and its parameters as the method's struct.

    Raises:
        ConfigError: an unknown method, or parameters that it does not have.
    """
    name = spec.method or spec.kind
    method = METHODS.get(name)
    if method is None or method.kind != spec.kind:
        hint = f"methods: {', '.join(f'{key} ({each.kind})' for key, each in METHODS.items())}"
        raise ConfigError("no such method for this kind of source", where=spec.name, got=(spec.kind, name), hint=hint)
    try:
        return method, msgspec.convert(spec.params, method.params)
    except msgspec.ValidationError as error:
        valid = ", ".join(field.name for field in msgspec.structs.fields(method.params))
        raise ConfigError(str(error), where=f"parameters of {spec.name}", hint=f"valid: {valid}") from None
