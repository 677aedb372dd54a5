"""A learned policy as serving runs it: what each action would change for a subject, in one look at all its trees.

No library of causal inference or of trees is needed: effects are sums of trees (`serving.exits`), brought to their true
size by two numbers an action.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from features.covariates import Value, numbers
from features.errors import BundleError
from serving.exits import Exits
from serving.policies import NULL, PolicySpec, net_values
from serving.trees import Forest

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
NET_VALUE = "net-value"
"""What `Blocked.by` says where groups are made by the action's own net value."""


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column that the trees read.

    Args:
        name: as in `features.covariates`.
        words: the words behind its codes, in sorted order; empty where it holds numbers.
    """

    name: str
    words: tuple[str, ...] = ()


class Size(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an action's effect is brought to its true size: average + kept x (effect - centre).

    Args:
        average: the average effect; None where it is not known.
        centre: mean of the uncalibrated effects.
        kept: the slope that is kept; 0 where nothing but the average is known, and then no trees are read.
        error: standard error of the average, which is the least that the effect is uncertain by; None: not known.
        slope_error: standard error of the slope: the effect is the more uncertain the farther it is from the average.
    """

    average: float | None = None
    centre: float = 0.0
    kept: float = 0.0
    error: float | None = None
    slope_error: float = 0.0


class Blocked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group that is known to be better off without an action: those with `low <= value < high`.

    Args:
        action: its id.
        by: the column whose value tells the group (a word as its code), or NET_VALUE.
        low, high: None: no bound on that side.
    """

    action: str
    by: str
    low: float | None = None
    high: float | None = None


class PolicySheet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a policy but its trees.

    Args:
        spec: actions in sorted order, worth, costs, floor and way of exploring.
        columns: what the trees read, in their order.
        sizes: reward -> one an action, in the order of `spec.actions`.
        blocks: groups that an action is not shown to.
        fallback: the action that is taken where the policy fails; None: the first module that can be filled.
        about: where it comes from, for people.
    """

    spec: PolicySpec
    columns: tuple[Column, ...]
    sizes: Mapping[str, tuple[Size, ...]]
    blocks: tuple[Blocked, ...] = ()
    fallback: str | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a policy thinks of its actions for one subject; the first is null.

    Args:
        values: float64[1, k], net values; NaN where nothing is known of an action.
        spread: float64[1, k], their standard errors, NaN where not known.
        blocked: bool[k].
    """

    values: Doubles
    spread: Doubles
    blocked: Mask


class SlotPolicy:
    """A policy, ready to score.

    Args:
        sheet: its numbers.
        forests: (reward, action) -> the trees of the effect; needed where a slope is kept.

    Raises:
        BundleError: actions that are not sorted, sizes or trees that do not belong to them, or blocks of what there is
            not.
    """

    def __init__(self, sheet: PolicySheet, forests: Mapping[tuple[str, str], Forest]) -> None:
        _check(sheet, forests)
        self.sheet, self.forests = sheet, forests
        spec = sheet.spec
        self.ids: tuple[str | None, ...] = (None, *spec.actions)
        self.places = {action: place for place, action in enumerate(spec.actions, start=1)}
        self.words = [{word: code for code, word in enumerate(column.words)} for column in sheet.columns]
        self.reads = frozenset(column.name for column in sheet.columns)
        self._slots: dict[tuple[str, ...], tuple[Mask, list[str]]] = {}
        self._rewards = tuple(reward for reward, worth in spec.worth.items() if worth)
        sizes = [size for reward in self._rewards for size in sheet.sizes[reward]]
        self._average = np.array([np.nan if size.average is None else size.average for size in sizes])
        kept = [place for place, size in enumerate(sizes) if size.kept]
        self._kept = np.array(kept, np.intp)
        self._slope = np.array([sizes[place].kept for place in kept])
        self._centre = np.array([sizes[place].centre for place in kept])
        self._base = self._average[kept] - self._slope * self._centre
        # Only who explores by draws or is cautious asks how far the slope may be off.
        asks = spec.cautious or spec.explore == "thompson"
        self._off = np.array([sizes[place].slope_error for place in kept]) if asks else np.zeros(len(kept))
        names = [(reward, action) for reward in self._rewards for action in spec.actions]
        self._exits = Exits([forests[names[place]] for place in kept]) if kept else None
        if self._exits is not None and self._exits.width > len(sheet.columns):
            got = f"{self._exits.width} columns, {len(sheet.columns)} are named"
            raise BundleError("the trees of a policy ask about more columns than it names", where=spec.name, got=got)

    def able(self, modules: tuple[str, ...]) -> Mask:
        """bool[k]: null, and those of some modules that the policy knows; not to be changed."""
        return self._looked_up(modules)[0]

    def strange(self, modules: tuple[str, ...]) -> list[str]:
        """Those of some modules that the policy does not know."""
        return self._looked_up(modules)[1]

    def _looked_up(self, modules: tuple[str, ...]) -> tuple[Mask, list[str]]:
        if modules not in self._slots:
            able = np.zeros(len(self.ids), bool)
            able[[NULL, *(self.places[name] for name in modules if name in self.places)]] = True
            self._slots[modules] = able, [name for name in modules if name not in self.places]
        return self._slots[modules]

    @property
    def megabytes(self) -> float:
        """What the table of its trees takes in each worker."""
        return 0.0 if self._exits is None else self._exits.nbytes / 1e6

    def effects(self, row: Floats) -> dict[str, Doubles]:
        """Calibrated effects.

        Args:
            row: float32[p], one a column of the sheet.

        Returns:
            reward -> float64[1, k - 1]; NaN where nothing is known.
        """
        return self._effects(self._said(row))

    def score(self, told: Mapping[str, Value]) -> Scored:
        """What each action is worth to the shop for one subject.

        Args:
            told: what is known of the subject, by name (`features.covariates`); more than the policy reads is fine.
        """
        row = numbers((told[column.name] for column in self.sheet.columns), self.words)[0]
        said = self._said(row)
        values = net_values(self.sheet.spec, self._effects(said)) if self._rewards else np.zeros((1, len(self.ids)))
        spread = self._spread
        if self._off.any():
            away = np.zeros(len(self._average))
            away[self._kept] = self._off * (said - self._centre)
            spread = np.sqrt(spread**2 + self._squared(away))
        return Scored(values, spread, self._blocked(row, values[0]))

    def _said(self, row: Floats) -> Doubles:
        """What the trees say, before it is brought to size."""
        return np.zeros(0) if self._exits is None else np.asarray(self._exits.predict(row), np.float64)

    def _effects(self, said: Doubles) -> dict[str, Doubles]:
        found = self._average.copy()
        if self._exits is not None:
            found[self._kept] = self._base + self._slope * said
        table = found.reshape(len(self._rewards), 1, len(self.places))
        return dict(zip(self._rewards, table, strict=True))

    @cached_property
    def _spread(self) -> Doubles:
        """float64[1, k]: errors of net values at the average, as if those of rewards were independent; 0 for null."""
        sizes = [size for reward in self._rewards for size in self.sheet.sizes[reward]]
        return np.sqrt(self._squared(np.array([np.nan if size.error is None else size.error for size in sizes])))

    def _squared(self, errors: Doubles) -> Doubles:
        """float64[1, k]: squares of errors (one a reward and action), times worth, summed over rewards; 0 for null."""
        worth = np.array([self.sheet.spec.worth[reward] for reward in self._rewards])
        told = ((worth[:, None] * errors.reshape(-1, len(self.places))) ** 2).sum(axis=0)
        return np.concatenate([[0.0], told])[None]

    @cached_property
    def _bounds(self) -> list[tuple[int, int, float, float]]:
        """Of each block the action's place, the column's (below 0: the net value) and the bounds."""
        columns = [column.name for column in self.sheet.columns]
        return [
            (
                self.places[block.action], -1 if block.by == NET_VALUE else columns.index(block.by),
                -np.inf if block.low is None else block.low, np.inf if block.high is None else block.high,
            )
            for block in self.sheet.blocks
        ]  # fmt: skip

    def _blocked(self, row: Floats, values: Doubles) -> Mask:
        blocked = np.zeros(len(self.ids), bool)
        for place, column, low, high in self._bounds:
            blocked[place] |= low <= (values[place] if column < 0 else row[column]) < high
        blocked[NULL] = False
        return blocked


def _check(sheet: PolicySheet, forests: Mapping[tuple[str, str], Forest]) -> None:
    actions, where = sheet.spec.actions, f"policy {sheet.spec.name}"
    if not actions or list(actions) != sorted(set(actions)):
        hint = "a draw goes through them in sorted order"
        raise BundleError("the actions of a policy are not in sorted order, each once", where=where, hint=hint)
    for reward, worth in sheet.spec.worth.items():
        sizes = sheet.sizes.get(reward, ())
        if worth and len(sizes) != len(actions):
            raise BundleError(f"sizes of {reward} are not one an action", where=where, got=len(sizes))
        for action, size in zip(actions, sizes, strict=False):
            if worth and size.kept and ((reward, action) not in forests or size.average is None):
                what = f"a slope without trees and an average, for {action} on {reward}"
                raise BundleError(what, where=where, hint="write the policy again")
    columns = {column.name for column in sheet.columns}
    _known("a block of an unknown action", (block.action for block in sheet.blocks), actions, where)
    _known("a block by an unknown column", (block.by for block in sheet.blocks), {*columns, NET_VALUE}, where)
    _known("an unknown fallback", [] if sheet.fallback is None else [sheet.fallback], actions, where)


def _known(what: str, named: Iterable[str], known: Iterable[str], where: str) -> None:
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise BundleError(what, where=where, got=unknown, hint=f"there are: {', '.join(sorted(known))}")
