"""Policies that can be valued on any log: one action always, the log's own, uniform, fixed shares, learned ones.

A policy is a function of a log's features, slots and eligible actions: it gives float64[n, k], and rows sum to 1. What
it must not read is what was drawn and what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from features.errors import ConfigError, DataError, NotFoundError
from serving.artifact import MANIFEST
from serving.policy_files import open_policy
from training.offpolicy.estimators import filled
from training.offpolicy.learned import learned, reads_past
from training.uplift.log import NULL, DecisionLog, Doubles

Policy = Callable[[DecisionLog], Doubles]
WORDS = ("logging", "uniform", "always:ACTION", "null", "SHARES.json", "a learned policy")
Share = Annotated[float, Meta(ge=0, le=1)]
_ROUNDING = 1e-6


def logging(log: DecisionLog) -> Doubles:
    """The policy that drew the log; probabilities that nobody recorded share evenly what the others leave."""
    return filled(log.propensity)


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
        found = logging(log).copy()
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
        found: Doubles = np.where(total > 0, wanted / np.where(total > 0, total, 1), logging(log))
        return found

    return policy


def policy_of(text: str, policies: Path | None = None) -> Policy:
    """A policy by its name on the command line, from a file of shares, or a learned one.

    Args:
        text: one of WORDS; a learned policy by its name or its folder.
        policies: the shop's folder of learned policies.

    Raises:
        ConfigError: there is none of that name, or the file is no `{slot: {action: share}}`.
        BundleError: the learned policy is damaged.
        NotFoundError: there is no such file.
    """
    if text == "null":
        return always(None)
    if text.startswith("always:") and text != "always:":
        return always(text.removeprefix("always:"))
    if text in ("logging", "uniform"):
        return logging if text == "logging" else uniform
    if text.endswith(".json"):
        return shares(_read_shares(Path(text)))
    return learned(open_policy(learned_folder(text, policies)))


def reads_history(text: str, policies: Path | None = None) -> bool:
    """Whether a policy that `policy_of` accepts is a learned one that reads what the subject had done before."""
    if text in ("null", "logging", "uniform") or text.startswith("always:") or text.endswith(".json"):
        return False
    return reads_past(open_policy(learned_folder(text, policies)))


def learned_folder(text: str, policies: Path | None = None) -> Path:
    """The folder of a learned policy.

    Raises:
        ConfigError: there is none.
    """
    folders = [Path(text), *([policies / text] if policies else [])]
    found = next((folder for folder in folders if (folder / MANIFEST).is_file()), None)
    if found is None:
        there = sorted(path.parent.name for path in policies.glob(f"*/{MANIFEST}")) if policies else []
        hint = f"one of {', '.join(WORDS)}" + (f"; learned: {', '.join(there)}" if there else "")
        raise ConfigError("no such policy", where="--policy", got=text, hint=hint)
    return found.absolute()


def _read_shares(file: Path) -> dict[str, dict[str | None, float]]:
    """`{"hero": {"offer": 0.5, "": 0.5}}`: the empty name is the null action."""
    if not file.exists():
        raise NotFoundError("there is no such file", where="--policy", got=str(file))
    try:
        read = msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, Share]])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"no shares of actions by slot: {error}", where=str(file)) from None
    for slot, of in read.items():
        if abs(sum(of.values()) - 1) > _ROUNDING:
            raise ConfigError("shares of a slot must sum to 1", where=f"{file}, {slot}", got=sum(of.values()))
    return {slot: {action or None: share for action, share in of.items()} for slot, of in read.items()}


def _place(log: DecisionLog, action: str | None) -> int:
    if action not in log.actions:
        known = ", ".join(each for each in log.actions if each is not None)
        raise DataError("the log has no such action", got=action, hint=f"it has: {known}")
    return log.actions.index(action)
