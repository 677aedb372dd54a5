"""Candidate sources: each proposes items for a query from flat arrays that training fitted.

All share one contract: built from a `SourceSpec` and a bundle, `opine(query)` says what it thinks of which items, the
same for the same input, and nothing for a subject it knows nothing of. What it proposes are the best of that
opinion. Customers are folded in from their history at request time: no source holds anything about a person.
"""

from __future__ import annotations

from collections.abc import Callable

from features.errors import BundleError
from serving.bundle import Bundle
from serving.recipe import SourceSpec
from serving.shelf import Shelf
from serving.sources.collaborative import Factors, Neighbours
from serving.sources.context import ContextPopularity
from serving.sources.contract import Source, confidence_of
from serving.sources.ordered import Sequence, Session
from serving.sources.plain import PersonalFrequency, Popularity
from serving.sources.replenishment import Replenishment
from serving.sources.wishlist import Wishlist

__all__ = [
    "KINDS",
    "ContextPopularity",
    "Factors",
    "Neighbours",
    "PersonalFrequency",
    "Popularity",
    "Replenishment",
    "Sequence",
    "Session",
    "Source",
    "Wishlist",
    "build_sources",
    "confidence_of",
]

KINDS: dict[str, Callable[[SourceSpec, Bundle], Source]] = {
    "popularity": Popularity,
    "context-popularity": ContextPopularity,
    "personal-frequency": PersonalFrequency,
    "factors": Factors,
    "neighbours": Neighbours,
    "replenishment": Replenishment,
    "sequence": Sequence,
    "session": Session,
    "wishlist": Wishlist,
}


def build_sources(bundle: Bundle, shelf: Shelf | None = None) -> dict[str, Source]:
    """The sources of a bundle's recipe, by name.

    Args:
        bundle: what was fitted.
        shelf: where prices change after training; sources that read prices see its changes with the next request.

    Raises:
        BundleError: a kind that this program does not know, or arrays that are missing.
    """
    sources: dict[str, Source] = {}
    for spec in bundle.recipe.sources:
        if spec.kind not in KINDS:
            raise BundleError("unknown kind of candidate source", where=bundle.id, got=spec.kind, hint="update")
        try:
            sources[spec.name] = source = KINDS[spec.kind](spec, bundle)
        except KeyError as missing:
            raise BundleError(
                "an array of a source is missing", where=f"{bundle.id} {spec.name}", got=str(missing)
            ) from None
        if shelf is not None and isinstance(source, Wishlist):
            source.prices = shelf.price
    return sources
