"""One action against what else could have happened, weighted so that chance alone tells the two groups apart.

The group an action is held against is the null action where that was taken, else all other actions. A row weighs
1 / (probability of what was taken), so groups are alike in everything known before, whatever the draw depended on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import lightgbm
import numpy as np

from training.uplift.draws import drawn_rows
from training.uplift.log import NULL, DecisionLog, Doubles, Mask

LEAST: Final = 30
"""Rows that an action needs in both groups."""
MOST: Final = 6
"""Actions that are looked at, the most frequent first."""
FOLDS: Final = 5
ROWS: Final = 100_000
"""A larger log is looked at through that many of its rows."""
_PARAMETERS: Final = {
    "objective": "binary", "num_leaves": 8, "min_data_in_leaf": 100, "learning_rate": 0.1, "num_threads": 1,
    "deterministic": True, "force_row_wise": True, "verbosity": -1, "max_cat_to_onehot": 8,
}  # fmt: skip
_ROUNDS: Final = 60


@dataclass(frozen=True, slots=True)
class Contrast:
    """Rows in which an action or what it is held against was taken, and could have been either.

    Args:
        name: the action's.
        other: what it is held against.
        log: those rows.
        treated: bool[n].
        weight: float64[n]; 1 where nobody drew.
    """

    name: str
    other: str
    log: DecisionLog
    treated: Mask
    weight: Doubles


def contrasts_of(log: DecisionLog, seed: int = 0) -> list[Contrast]:
    """A contrast for each of the most frequent actions, at most MOST of them, with LEAST rows on both sides."""
    rows = drawn_rows(log)
    if len(rows) > ROWS:
        rows = rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), ROWS, replace=False)))
    counts = np.bincount(rows.action, minlength=len(rows.actions))
    against_null = counts[NULL] >= LEAST
    frequent = [int(a) for a in np.argsort(-counts, kind="stable") if counts[a] >= LEAST]
    found = []
    for action in [a for a in frequent if not (against_null and a == NULL)][:MOST]:
        made = _contrast(rows, action, against_null=bool(against_null))
        if min(made.treated.sum(), (~made.treated).sum()) >= LEAST:
            found.append(made)
    return found


def _contrast(rows: DecisionLog, action: int, *, against_null: bool) -> Contrast:
    could = rows.eligible
    others = could.sum(axis=1) - could[:, action]
    if against_null:
        kept = could[:, action] & could[:, NULL] & np.isin(rows.action, (action, NULL))
        others = np.ones(len(rows))
    else:
        kept = could[:, action] & (others > 0)
    some = rows.take(kept)
    treated: Mask = some.action == action
    weight = np.where(treated, 1.0, 1 / others[kept]) / (1.0 if some.observational else some.taken)
    other = "nothing" if against_null else "all others"
    return Contrast(rows.actions[action] or "nothing", other, some, treated, weight)


def estimated(contrast: Contrast, seed: int = 0) -> Doubles:
    """float64[n] in (0, 1): probability of the action from the features, out of fold (folds by subject).

    LightGBM with strong regularisation; rows weigh as the contrast says.
    """
    log = contrast.log
    found = np.empty(len(log))
    for held in _folds(log, seed):
        model = _fit(contrast, ~held, seed)
        found[held] = np.asarray(model.predict(log.features[held], num_threads=1))
    return found


def ranked(contrast: Contrast, seed: int = 0) -> Doubles:
    """float64[n]: `estimated` as ranks within each fold, so that folds of other base rates can stand together."""
    scores = estimated(contrast, seed)
    found = np.empty(len(scores))
    for held in _folds(contrast.log, seed):
        values, codes = np.unique(scores[held], return_inverse=True)
        found[held] = codes / max(len(values) - 1, 1)
    return found


def _folds(log: DecisionLog, seed: int) -> list[Mask]:
    people, codes = np.unique(log.subject, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(people)) % FOLDS
    return [fold[codes] == number for number in range(min(FOLDS, len(people)))]


def _fit(contrast: Contrast, rows: Mask, seed: int) -> lightgbm.Booster:
    log = contrast.log
    weight = contrast.weight[rows] / contrast.weight[rows].mean()
    categorical = [place for place, listed in enumerate(log.categorical) if listed]
    data = lightgbm.Dataset(
        log.features[rows], contrast.treated[rows].astype(np.float32), weight=weight,
        categorical_feature=categorical, free_raw_data=True,
    )  # fmt: skip
    return lightgbm.train({**_PARAMETERS, "seed": seed}, data, num_boost_round=_ROUNDS)


def area(score: Doubles, label: Mask, weight: Doubles, cluster: np.typing.NDArray[np.int64]) -> tuple[float, float]:
    """Weighted area under the ROC curve and its standard error, clustered.

    AUC = P(score of a positive > that of a negative), ties count half. The error is that of DeLong, DeLong and
    Clarke-Pearson (1988), with weights, its placement values summed within clusters; it takes weights as given.
    """
    values, codes = np.unique(score, return_inverse=True)
    up = np.bincount(codes, weight * label, len(values))
    down = np.bincount(codes, weight * ~label, len(values))
    below, above = np.cumsum(down) - down, up.sum() - np.cumsum(up)
    place = np.where(label, (below + down / 2)[codes] / down.sum(), (above + up / 2)[codes] / up.sum())
    found = float((weight * place)[label].sum() / up.sum())
    parts = weight * (place - found) / np.where(label, up.sum(), down.sum())
    sums = np.bincount(np.unique(cluster, return_inverse=True)[1], parts)
    return found, float(np.sqrt((sums**2).sum()))


def reweighted(contrast: Contrast, chance: Doubles, clip: float) -> Contrast:
    """The contrast weighted by estimated probabilities of the action, clipped to [clip, 1 - clip]."""
    chance = np.clip(chance, clip, 1 - clip)
    return replace(contrast, weight=1 / np.where(contrast.treated, chance, 1 - chance))
