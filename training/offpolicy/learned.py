"""A learned policy (`policies/<name>/`) as a target: the probabilities that serving would draw with, row by row.

It reads what the log recorded of the subject, and shares its probabilities among the logged eligible actions that it
knows, after its blocks: Thompson frequencies, caution and the floor are computed by the code that draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from features.covariates import PAST, Value
from features.errors import DataError
from serving.effects import SlotPolicy
from serving.policies import NULL, probabilities
from training.offpolicy.estimators import filled
from training.uplift.log import DecisionLog, Doubles, Floats, Mask

_FIGURES = ("values", "spread")


def reads_past(policy: SlotPolicy) -> bool:
    """Whether it reads what the subject had done before."""
    return not policy.reads.isdisjoint(PAST)


def learned(policy: SlotPolicy) -> Callable[[DecisionLog], Doubles]:
    """The policy as a function of a log.

    Where the log could only have taken actions that the policy does not know, and where it recorded nothing of what
    the policy reads, it does as the log did. Where all that it knows is blocked, it shows nothing.

    Args:
        policy: as serving runs it.

    Returns:
        A policy, as `training.offpolicy.targets.Policy`. It raises DataError where the log does not carry a column
        that the policy reads.
    """

    def target(log: DecisionLog) -> Doubles:
        columns = _columns(policy, log)
        eligible = _known(policy, log)
        values, spread, blocked = _scored(policy, log, columns)
        rows = eligible.any(axis=1) & (np.isfinite(log.features[:, columns]).any(axis=1) | (not columns))
        free = eligible & ~blocked
        free[~free.any(axis=1), NULL] = True
        chances = probabilities(policy.sheet.spec, values, free, spread)
        found = filled(log.propensity)
        found[rows] = 0
        for place, action in enumerate(policy.ids):
            if action in log.actions:
                found[rows, log.actions.index(action)] = chances[rows, place]
        return found

    return target


def valued(policy: SlotPolicy, log: DecisionLog) -> tuple[Doubles, Mask]:
    """What a policy expects of its actions in each decision.

    Args:
        policy: as serving runs it.
        log: decisions that carry what it reads.

    Returns:
        float64[n, k] net values, k its `ids`; bool[n], whether anything that it reads is known.

    Raises:
        DataError: the log does not carry a column that the policy reads.
    """
    columns = _columns(policy, log)
    known = np.asarray(np.isfinite(log.features[:, columns]).any(axis=1), np.bool_)
    return _scored(policy, log, columns)[0], known if columns else np.ones(len(log), bool)


def _columns(policy: SlotPolicy, log: DecisionLog) -> list[int]:
    """Places in the log of what the policy reads.

    Raises:
        DataError: it reads what the log does not carry.
    """
    names = [column.name for column in policy.sheet.columns]
    lacking = [name for name in names if name not in log.names]
    if lacking:
        raise DataError(
            "the log does not carry what the policy reads", where=f"policy {policy.sheet.spec.name}",
            got=", ".join(lacking), hint=f"it carries: {', '.join(log.names) or 'nothing'}",
        )  # fmt: skip
    return [log.names.index(name) for name in names]


def _known(policy: SlotPolicy, log: DecisionLog) -> Mask:
    """bool[n, k], k the policy's actions: those that could have been taken."""
    could = log.eligible
    never = np.zeros(len(log), bool)
    columns = [could[:, log.actions.index(action)] if action in log.actions else never for action in policy.ids]
    return np.column_stack(columns)


def _scored(policy: SlotPolicy, log: DecisionLog, columns: Sequence[int]) -> tuple[Doubles, Doubles, Mask]:
    """float64[n, k] twice and bool[n, k]: net values, their errors, what is blocked; equal rows are scored once."""
    read: Floats = np.ascontiguousarray(log.features[:, columns], np.float32)
    _, first, again = np.unique([row.tobytes() for row in read], return_index=True, return_inverse=True)
    scored = [policy.score(_told(log, columns, read[row])) for row in first.tolist()]
    shape = (len(scored), len(policy.ids))
    values, spread = (np.array([getattr(each, name)[0] for each in scored]).reshape(shape) for name in _FIGURES)
    blocked = np.array([each.blocked for each in scored], bool).reshape(shape)
    return values[again], spread[again], blocked[again]


def _told(log: DecisionLog, columns: Sequence[int], row: Floats) -> Mapping[str, Value]:
    """What a row of the log says, in the words of `features.covariates`."""
    words = log.words or ((),) * len(log.names)
    return {
        log.names[place]: _value(float(value), words[place]) for place, value in zip(columns, row, strict=True)
    }  # fmt: skip


def _value(value: float, words: Sequence[str]) -> Value:
    if np.isnan(value):
        return None
    return words[int(value)] if words else int(value) if value.is_integer() else value
