"""Logged decisions as arrays: the one table that learners, estimators, policies and the gate read.

A mail experiment, a coupon campaign and a slot of a page look alike in it: one row a decision, the actions that were
eligible with their probabilities, the one that was taken, what was known of the subject, and what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.importing.experiment_mapping import BEFORE

__all__ = ["BEFORE", "NULL", "Codes", "DecisionLog", "Doubles", "Floats", "Keys", "Mask", "Whole"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]
NULL = 0
"""Place of the null action among `actions`: nothing is shown or sent."""


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """One row a decision, in order of time.

    Args:
        subject: int64[n], the resolved person; intervals cluster by it.
        request: int64[n], decisions of one page share it.
        decided_at: int64[n], microseconds.
        slot: int32[n], code among `slots`.
        position: int32[n], 0-based place of the slot on its page.
        action: int32[n], place among `actions` of what was taken.
        propensity: float64[n, k], probability of each action when it was drawn; 0 where it was not eligible, NaN
            where it was and nobody recorded its probability (a log that tells only of what was shown; a campaign that
            nobody drew). What is recorded sums to 1 in each row, or to less where something is NaN.
        features: float32[n, p], what was known before the decision; NaN where missing, codes where categorical.
        rewards: name -> float64[n], what came of it inside the attribution window; NaN where it is not known yet.
        usable: bool[n], whether it counts for estimates: drawn, or reused from a draw, and no fallback after an error.
        holdout: bool[n], whether the subject is in the permanent holdout.
        slots: names of slots.
        actions: action ids; the first is None, the null action, whether or not it was ever eligible.
        names: of the columns of `features`.
        categorical: which of them are codes.
        observational: True where nobody drew the actions at random: probabilities are estimates, and so is everything
            that follows.
        covariates_as_of: what the features are as of, as a sentence for the report.
        drawn: bool[n], whether the row is a draw of its own; a reuse of an earlier decision is not. None: all are.
        words: of each column of `features` its values by code where it is categorical, else nothing.
        left_out: why -> how many decisions are not in the log, or are in it and not usable.
        notes: what to know of how rewards and features were made, as sentences.
        keys: uint64[n], hash of the id of each decision (`features.text.event_key`), to find it in the dataset again.
    """

    subject: Whole
    request: Whole
    decided_at: Whole
    slot: Codes
    position: Codes
    action: Codes
    propensity: Doubles
    features: Floats
    rewards: Mapping[str, Doubles]
    usable: Mask
    holdout: Mask
    slots: tuple[str, ...]
    actions: tuple[str | None, ...]
    names: tuple[str, ...]
    categorical: tuple[bool, ...]
    observational: bool = False
    covariates_as_of: str = ""
    drawn: Mask | None = None
    words: tuple[tuple[str, ...], ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    keys: Keys | None = None

    def __len__(self) -> int:
        return len(self.action)

    @property
    def taken(self) -> Doubles:
        """float64[n]: the propensity of the action that was taken."""
        found: Doubles = self.propensity[np.arange(len(self)), self.action]
        return found

    @property
    def eligible(self) -> Mask:
        """bool[n, k]: which actions could have been taken, whether or not their probability is known."""
        found: Mask = self.propensity != 0
        return found

    @property
    def told(self) -> Mask:
        """bool[n]: rows whose probabilities are all recorded."""
        found: Mask = np.logical_not(np.isnan(self.propensity).any(axis=1))
        return found

    def reward(self, name: str) -> Doubles:
        """float64[n]: one of the rewards.

        Raises:
            DataError: the log has none of that name.
        """
        if name not in self.rewards:
            raise DataError("the log has no such reward", got=name, hint=f"it has: {', '.join(self.rewards) or 'none'}")
        return self.rewards[name]

    def take(self, rows: Mask | Whole) -> DecisionLog:
        """Some of the decisions, by mask or by place."""
        picked: dict[str, Any] = {
            each.name: value[rows] for each in fields(self) if isinstance(value := getattr(self, each.name), np.ndarray)
        }
        return replace(self, **picked, rewards={name: each[rows] for name, each in self.rewards.items()})

    def only(self, *actions: str | None) -> DecisionLog:
        """Decisions in which one of some actions was taken, as if only these had been possible.

        Propensities are conditional on one of them being taken, which keeps a randomised log randomised. The first
        action stays the null of the new log. Where one of their probabilities is not recorded, neither is any
        conditional one.

        Raises:
            DataError: an action that the log does not have.
        """
        for action in actions:
            if action not in self.actions:
                raise DataError("the log has no such action", got=action, hint=f"it has: {self.actions}")
        places = np.array([self.actions.index(action) for action in actions])
        kept = np.flatnonzero(np.isin(self.action, places))
        chance = self.propensity[np.ix_(kept, places)]
        again = np.full(len(self.actions), -1, np.int32)
        again[places] = np.arange(len(places), dtype=np.int32)
        some = self.take(kept)
        return replace(
            some, action=again[some.action], actions=tuple(actions),
            propensity=np.where(chance == 0, 0.0, chance / chance.sum(axis=1, keepdims=True)),
        )  # fmt: skip
