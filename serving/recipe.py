"""A recipe: what is fitted and how it is combined. It is what the gate compares and what a bundle carries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec


class SourceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One candidate source of a recipe.

    Args:
        name: unique in the recipe; it is what `itemList[].source` says.
        kind: one of `serving.sources.KINDS`, e.g. `popularity`, `factors`, `neighbours` or `replenishment`.
        method: how training fits it, e.g. `ials`, `bpr`, `cosine`, `ease`; empty where nothing is fitted.
        params: parameters of the fit and of the request.
    """

    name: str
    kind: str
    method: str = ""
    params: dict[str, Any] = {}


class RankerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trained order of candidates.

    Args:
        name: what its trees are called in a bundle.
        objective: `binary` learns the probability of a purchase, `lambdarank` the order alone.
        voices: the sources whose candidates it orders, and whose scores and ranks it reads.
        params: of the fit; what is not named has its default.
    """

    name: str
    objective: Literal["binary", "lambdarank"]
    voices: tuple[str, ...]
    params: dict[str, Any] = {}


class SelectionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a list gives up of relevance, for variety and for what few know; `serving.selecting` has the equations.

    Args:
        diversity: each item of a category that already stands above takes this share off the next one's value.
        novelty: an item that half as many customers buy counts 2^novelty times as much.
    """

    diversity: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    novelty: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


class Breadth(msgspec.Struct, frozen=True):
    """How far a request looks around; `kokyaku bench candidates` shows what other numbers do.

    Args:
        per_source: how many each source may propose; twice the length of the list where that is more.
        most: how many of what the filters left are ordered, the foremost of all lists (`serving.union`); a list that
            is longer than a quarter of it asks for four times its length. 0: all of them.
        past: of the items of the subject's past so many speak for others, those of the highest confidence
            (`features.confidence`). What a source was fitted on is not cut. 0: all of them.
    """

    per_source: Annotated[int, msgspec.Meta(ge=1)] = 100
    most: Annotated[int, msgspec.Meta(ge=0)] = 120
    past: Annotated[int, msgspec.Meta(ge=0)] = 100


USUAL = Breadth()
"""Of a new recipe."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Candidate sources, the weights that blend them, and the ranker that orders them where there is one.

    Args:
        name: e.g. `personal-frequency` or `blend`.
        sources: every source that serves; those without a weight only feed pages and related items.
        weights: source name -> weight in the blend of `/v1/recommendations`.
        new_weights: the same where what was bought before is excluded; empty means `weights`.
        candidates_per_source, candidates, past: `Breadth.per_source`, `Breadth.most` and `Breadth.past`.
        fill: the source that fills holes when the others have too little; it never displaces them.
        ranker: where it is named its trees order the candidates; the weights serve where it may not (the holdout, a
            customer without consent).
        selection: what is traded off when items are chosen by their scores; by default nothing.
        session_weight: what the running session counts beside all that orders (1), while one runs: `scoring.Beside`
            has the equation. Without a source of kind `session` it counts nothing.
    """

    name: str
    sources: tuple[SourceSpec, ...]
    weights: dict[str, float]
    new_weights: dict[str, float] = {}
    candidates_per_source: Annotated[int, msgspec.Meta(ge=1)] = USUAL.per_source
    candidates: Annotated[int, msgspec.Meta(ge=0)] = USUAL.most
    past: Annotated[int, msgspec.Meta(ge=0)] = USUAL.past
    fill: str = "popularity"
    ranker: RankerSpec | None = None
    selection: SelectionSpec = SelectionSpec()
    session_weight: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def spec(self, name: str) -> SourceSpec:
        """The source of that name."""
        return next(spec for spec in self.sources if spec.name == name)

    @property
    def breadth(self) -> Breadth:
        """How far a request looks around."""
        return Breadth(self.candidates_per_source, self.candidates, self.past)

    def broad(self, breadth: Breadth) -> Recipe:
        """The same recipe that looks so far."""
        return msgspec.structs.replace(
            self, candidates_per_source=breadth.per_source, candidates=breadth.most, past=breadth.past
        )

    @property
    def session(self) -> str | None:
        """The source that knows the running session; None where there is none."""
        return next((spec.name for spec in self.sources if spec.kind == "session"), None)


def as_json(recipe: Recipe) -> dict[str, Any]:
    """Plain data for a manifest."""
    data: dict[str, Any] = msgspec.to_builtins(recipe)
    return data


def from_json(data: Any) -> Recipe:
    """Read what `as_json` gave; a manifest of before there was a limit goes on without it, as it did."""
    return msgspec.convert({"candidates": 0, "past": 0, **data}, Recipe)
