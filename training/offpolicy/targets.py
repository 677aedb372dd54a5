"""Policies that can be valued on any log: one action always, the log's own, uniform, fixed shares, or a function.

A policy is a function of a log's features, slots and eligible actions: it gives float64[n, k], and rows sum to 1. What
it must not read is what was drawn and what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from features.errors import ConfigError, DataError
from training.uplift.log import NULL, DecisionLog, Doubles

Policy = Callable[[DecisionLog], Doubles]
WORDS = ("logging", "uniform", "always:ACTION", "null")


def logging(log: DecisionLog) -> Doubles:
    """The policy that drew the log."""
    return log.propensity


def uniform(log: DecisionLog) -> Doubles:
    """Each eligible action with the same probability."""
    eligible = log.eligible.astype(np.float64)
    share: Doubles = eligible / eligible.sum(axis=1, keepdims=True)
    return share


def always(action: str | None) -> Policy:
    """One action wherever it is eligible, elsewhere the null action, and where that is not either, as the log did."""

    def policy(log: DecisionLog) -> Doubles:
        place = _place(log, action)
        eligible = log.eligible
        found = log.propensity.copy()
        for column in (NULL, place):
            rows = eligible[:, column]
            found[rows] = 0
            found[rows, column] = 1
        return found

    return policy


def shares(of: Mapping[str, Mapping[str | None, float]]) -> Policy:
    """Fixed shares of actions in each slot, spread over what is eligible in proportion.

    Args:
        of: slot -> action -> share. Where none of a slot's actions is eligible the policy does as the log did.

    Raises:
        DataError: (when it is asked) a slot of the log that has no shares, or an action that the log does not have.
    """

    def policy(log: DecisionLog) -> Doubles:
        table = np.zeros((len(log.slots), len(log.actions)))
        for code in np.unique(log.slot).tolist():
            slot = log.slots[code]
            if slot not in of:
                raise DataError("the policy has no shares for a slot", got=slot, hint=f"it has: {', '.join(of)}")
            for action, share in of[slot].items():
                table[code, _place(log, action)] = share
        wanted = table[log.slot] * log.eligible
        total = wanted.sum(axis=1, keepdims=True)
        found: Doubles = np.where(total > 0, wanted / np.where(total > 0, total, 1), log.propensity)
        return found

    return policy


def policy_of(text: str) -> Policy:
    """A policy by its name on the command line.

    Raises:
        ConfigError: there is none of that name.
    """
    if text == "null":
        return always(None)
    if text.startswith("always:") and text != "always:":
        return always(text.removeprefix("always:"))
    if text in ("logging", "uniform"):
        return logging if text == "logging" else uniform
    raise ConfigError("no such policy", where="--policy", got=text, hint=f"one of {', '.join(WORDS)}")


def _place(log: DecisionLog, action: str | None) -> int:
    if action not in log.actions:
        known = ", ".join(each for each in log.actions if each is not None)
        raise DataError("the log has no such action", got=action, hint=f"it has: {known}")
    return log.actions.index(action)
