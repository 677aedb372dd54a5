"""What an uplift model has to beat: a linear T-learner, ranking by response, and one effect for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.uplift.learners import Fit, Sample, TreeEffects
from training.uplift.log import NULL, Doubles, Floats, Mask
from training.uplift.nuisance import contrast_scores

LEVELS = 20
"""Values of a categorical column that have a column of their own: the most frequent ones."""
_STRENGTHS = np.logspace(-4, 4, 17)


@dataclass(frozen=True)
class Encoding:
    """Features as standardised columns: numbers, whether they were missing, and levels.

    Args:
        numbers: int64[a], columns taken as numbers.
        fill: float64[a], their means, which stand where they are missing.
        missing: int64[b], columns that have missing values.
        levels: column -> float64 values that have an indicator each.
        middle, spread: float64[c], of the columns made so.
    """

    numbers: np.ndarray
    fill: Doubles
    missing: np.ndarray
    levels: Mapping[int, Doubles]
    middle: Doubles
    spread: Doubles

    @classmethod
    def of(cls, block: Floats, categorical: tuple[bool, ...]) -> Encoding:
        """Learn it from float32[n, p]."""
        is_code = np.array(categorical, bool)
        numbers = np.flatnonzero(~is_code)
        gone = np.isnan(block[:, numbers])
        total = np.where(gone, 0.0, block[:, numbers].astype(np.float64)).sum(axis=0)
        fill = total / np.maximum((~gone).sum(axis=0), 1)
        levels = {int(column): _frequent(block[:, column]) for column in np.flatnonzero(is_code)}
        rough = cls(numbers, fill, numbers[gone.any(axis=0)], levels, np.zeros(1), np.ones(1))
        table = rough._columns(block)
        spread = table.std(axis=0)
        return cls(numbers, fill, rough.missing, levels, table.mean(axis=0), np.where(spread > 1e-9, spread, np.inf))

    def apply(self, block: Floats) -> Doubles:
        """float64[n, 1 + c]: a column of ones, then the others; one that never varied is 0."""
        return np.column_stack([np.ones(len(block)), (self._columns(block) - self.middle) / self.spread])

    def _columns(self, block: Floats) -> Doubles:
        numbers = block[:, self.numbers].astype(np.float64)
        parts = [np.where(np.isnan(numbers), self.fill, numbers), np.isnan(block[:, self.missing])]
        parts += [block[:, column, None] == values for column, values in self.levels.items()]
        return np.concatenate(parts, axis=1, dtype=np.float64)


@dataclass(frozen=True)
class LinearEffects:
    """Effects that are linear in encoded features.

    Args:
        encoding: of the features.
        weights: float64[1 + c, k-1]; NaN for an arm that was taken too seldom.
    """

    encoding: Encoding
    weights: Doubles

    def predict(self, block: Floats) -> Doubles:
        """float64[n, k-1]."""
        return self.encoding.apply(block) @ self.weights


@dataclass(frozen=True)
class ConstantEffects:
    """One effect an arm, the same for everybody: float64[k-1]."""

    effect: Doubles

    def predict(self, block: Floats) -> Doubles:
        """float64[n, k-1]."""
        return np.tile(self.effect, (len(block), 1))


def fit_linear(sample: Sample) -> LinearEffects:
    """A ridge regression of the outcome for each arm; its strength by generalised cross-validation."""
    encoding = Encoding.of(sample.block, sample.categorical)
    table = encoding.apply(sample.block)
    weights = np.full((table.shape[1], len(sample.arms)), np.nan)
    null = _ridge(table, sample.reward, sample.action == NULL)
    for arm in sample.arms:
        if sample.known(arm):
            weights[:, arm - 1] = _ridge(table, sample.reward, sample.action == arm) - null
    return LinearEffects(encoding, weights)


def fit_response(sample: Sample) -> TreeEffects:
    """The outcome predicted under the arm, as if it were the effect: whom a model of past responses would choose."""
    return TreeEffects(tuple(((1.0, sample.model(arm)),) if sample.known(arm) else () for arm in sample.arms))


def fit_constant(sample: Sample) -> ConstantEffects:
    """The mean doubly robust score of each arm."""
    scores = contrast_scores(sample.action, sample.reward, sample.chance, sample.outcome)
    found = [float(np.nanmean(scores[:, arm - 1])) if sample.known(arm) else np.nan for arm in sample.arms]
    return ConstantEffects(np.array(found))


def _ridge(table: Doubles, reward: Doubles, rows: Mask) -> Doubles:
    """Weights that minimise |y - Xb|^2 + l |b|^2 without the first, l by GCV (Golub, Heath & Wahba 1979)."""
    X, y = table[rows, 1:], reward[rows]
    centre, level = X.mean(axis=0), y.mean()
    values, vectors = np.linalg.eigh((X - centre).T @ (X - centre))
    pull = vectors.T @ ((X - centre).T @ (y - level))
    kept = values > 1e-9 * max(float(values.max(initial=0.0)), 1.0)
    values, vectors, pull = values[kept], vectors[:, kept], pull[kept]
    n, total = len(y), float(((y - level) ** 2).sum())

    def criterion(strength: float) -> float:
        shrunk = pull / (values + strength)
        error = total - 2 * float(shrunk @ pull) + float(values @ shrunk**2)
        return error / (n - 1 - float((values / (values + strength)).sum())) ** 2

    best = min((float(each) * n for each in _STRENGTHS), key=criterion)
    weights = vectors @ (pull / (values + best))
    found: Doubles = np.concatenate([[level - centre @ weights], weights])
    return found


def _frequent(column: Floats) -> Doubles:
    """The most frequent values of a column of codes, but for the first: the rest is the level that has no indicator."""
    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    order = np.lexsort((values, -counts))
    return np.sort(values[order[1 : LEVELS + 1]]).astype(np.float64)


CHALLENGERS: Mapping[str, Fit] = {"linear-T": fit_linear, "response": fit_response, "constant": fit_constant}
"""By name; they are mandatory beside the learners."""
