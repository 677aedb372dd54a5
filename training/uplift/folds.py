"""Folds for cross-fitting: by subject, stratified by action, seeded."""

from __future__ import annotations

import numpy as np

from features.errors import ConfigError, DataError
from training.uplift.log import Codes, Whole


def folds_of(subject: Whole, action: Codes, *, folds: int = 5, seed: int = 0) -> Codes:
    """int32[n]: the fold of each decision.

    All decisions of a subject lie in one fold, so that nobody is predicted by a model that saw the same person.
    Subjects are dealt out by the action of their first decision: of each action every fold gets the same number of
    subjects, up to one.

    Args:
        subject: int64[n].
        action: int32[n], what was taken.
        folds: how many, at least 2.
        seed: of the shuffle; the same seed gives the same folds.

    Raises:
        ConfigError: fewer than two folds.
        DataError: fewer subjects than folds.
    """
    if folds < 2:
        raise ConfigError("cross-fitting needs at least two folds", where="folds", got=folds)
    _, first, place = np.unique(subject, return_index=True, return_inverse=True)
    if len(first) < folds:
        raise DataError("fewer subjects than folds", got=len(first), hint=f"at least {folds}, better thousands")
    shuffled = np.random.default_rng(seed).permutation(len(first))
    dealt = shuffled[np.argsort(action[first][shuffled], kind="stable")]
    fold = np.empty(len(first), np.int32)
    fold[dealt] = np.arange(len(first), dtype=np.int32) % folds
    return fold[place]
