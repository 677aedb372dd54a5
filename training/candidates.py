"""What can be tuned: a source, which competes alone, or a ranker over all sources; each staged with any parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from features.errors import DataError
from serving.bundle import Bundle
from serving.recipe import RankerSpec, Recipe, SourceSpec
from training.contest import Arena, Voices
from training.evaluate import TASKS, Task
from training.fitting import Cut
from training.material import Material
from training.methods import METHODS
from training.params import Named, overlaid
from training.rankers import OBJECTIVES, Rankers, ranked
from training.ranking import RankerParams
from training.recipes import FREQUENCY, POPULARITY, Menu, menu
from training.selection import voices_of_rankers
from training.session import Session, active_customers, bundle_of, fit_each, rankers_of
from training.split import truth_of

REPEATING = (FREQUENCY, "replenishment")
"""Sources that propose nothing new: judged on that task they would be the fallback."""


class Candidate(Protocol):
    """What is tuned."""

    @property
    def name(self) -> str:
        """As training names it."""
        ...

    @property
    def space(self) -> str:
        """Name of its search space."""
        ...

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Those that it can be judged on."""
        ...

    @property
    def defaults(self) -> Mapping[str, Any]:
        """All its parameters, nested."""
        ...

    @property
    def made_of(self) -> object:
        """All that trials share: another is another study."""
        ...

    def convert(self, params: dict[str, Any]) -> Any:
        """Parameters as the method reads them; raises `msgspec.ValidationError`."""
        ...

    def stage(self, changes: Named) -> tuple[Bundle, Voices]:
        """Fit it with some parameters changed: a bundle, and who orders in it.

        Raises:
            DataError: it cannot be fitted.
        """
        ...


@dataclass(frozen=True)
class SourceCandidate:
    """A source that competes alone, with popularity filling what it leaves empty."""

    spec: SourceSpec
    cut: Cut
    floor: SourceSpec

    @property
    def name(self) -> str:
        """The source's."""
        return self.spec.name

    @property
    def space(self) -> str:
        """The method's."""
        return self.spec.method

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All, and new items where it proposes any."""
        return ("all",) if self.name in REPEATING else TASKS

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Of the preset and the shop's file."""
        return self.spec.params

    @property
    def made_of(self) -> object:
        """The source, and what fills its holes."""
        return self.spec, self.floor

    def convert(self, params: dict[str, Any]) -> Any:
        """As the method's struct."""
        return msgspec.convert(params, METHODS[self.spec.method].params)

    def stage(self, changes: Named) -> tuple[Bundle, Voices]:
        """One fit, which is not kept: hundreds of them would fill the memory."""
        params = overlaid(self.spec.params, changes, where=self.name)
        spec = msgspec.structs.replace(self.spec, params=params)
        floor = () if self.name == POPULARITY else (self.floor,)
        try:
            bundle = bundle_of(self.cut, (spec, *floor))
        finally:
            self.cut.forget(spec)
        return bundle, {task: {self.name: 1.0} for task in self.tasks}


@dataclass(frozen=True)
class RankerCandidate:
    """A ranker over all sources of the menu; its examples come from the windows before, as in training."""

    recipe: Recipe
    rankers: Rankers
    arena: Bundle
    as_of: int
    space: str = "ranker"
    tasks: tuple[Task, ...] = TASKS

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.recipe.name

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Of every ranker."""
        found: dict[str, Any] = msgspec.to_builtins(RankerParams())
        return found

    @property
    def made_of(self) -> object:
        """The recipe with all its sources."""
        return self.recipe

    def convert(self, params: dict[str, Any]) -> Any:
        """As the struct of rankers."""
        return msgspec.convert(params, RankerParams)

    def stage(self, changes: Named) -> tuple[Bundle, Voices]:
        """New trees over the same sources."""
        assert self.recipe.ranker is not None
        params = overlaid(self.defaults, changes, where=self.name)
        spec: RankerSpec = msgspec.structs.replace(self.recipe.ranker, params=params)
        trees = self.rankers.fit(spec, self.recipe.sources, self.as_of, self.recipe.breadth)
        return Bundle(self.arena.manifest, {**self.arena.arrays, **trees}), dict.fromkeys(TASKS, spec)


def candidate(session: Session, material: Material, what: str, cut: Cut) -> Candidate:
    """What is named, ready to be staged as of a cut.

    Raises:
        DataError: this shop cannot fit it; the reason is named.
    """
    ranker = what in OBJECTIVES
    tuned = {name: params for name, params in session.tuned.items() if name != what}
    listed = menu(
        session.config.model, preset=session.options.preset, customers=active_customers(cut),
        items=int(cut.listed.sum()), texts=cut.texts is not None, time_zone=session.config.shop.time_zone, tuned=tuned,
    )  # fmt: skip
    if ranker:
        return _ranker(session, material, what, cut, listed)
    return source_candidate(listed, what, cut, session.shop.id)


def source_candidate(listed: Menu, what: str, cut: Cut, where: str) -> SourceCandidate:
    """A source of a menu, ready to be staged as of a cut.

    Args:
        listed: what can be fitted on the cut.
        what: the source.
        cut: what was known.
        where: the shop's name, for the error.

    Raises:
        DataError: it is not on the menu; the reason is named.
    """
    named = {spec.name: spec for spec in listed.sources}
    if what not in named:
        why = " ".join(listed.notes) or "Its input is not there."
        raise DataError(f"{what} is not fitted for this shop: {why.rstrip('.')}", where=where)
    return SourceCandidate(named[what], cut, named[POPULARITY])


def _ranker(session: Session, material: Material, what: str, cut: Cut, listed: Menu) -> RankerCandidate:
    for name, why in fit_each(session, cut, listed.sources, "earlier window").items():
        listed = listed.without(name, why)
    session.note(*listed.notes)
    base = next(recipe for recipe in listed.recipes if recipe.name == POPULARITY)
    rankers, bundle, window = rankers_of(session, material), bundle_of(cut, listed.sources), material.tuned
    assert window is not None  # tuning has refused a past without one
    arena = Arena(
        bundle, material.histories, window, truth_of(material.histories, window, listed=cut.listed), material.regions
    )
    voices, notes, _ = voices_of_rankers(base, listed.sources, arena, rankers, session.config.gate)
    session.note(*notes)
    recipe = next(each for each in ranked(base, listed.sources, voices) if each.name == what)
    return RankerCandidate(recipe, rankers, bundle, cut.as_of)
