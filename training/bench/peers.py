"""T-learners of other packages beside ours: the same rows and folds, the same LightGBM, one thread each.

scikit-uplift and causalml are no dependencies: they are asked where they can be imported, which the extra `peers`
makes so. Each stands here twice: as its documentation uses it, with LightGBM's defaults, and with the parameters of our
trees, which leaves what the packages add, and that they fit log loss to outcomes of 0 and 1 where we fit squared error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import lightgbm
import numpy as np

from training.uplift.boosting import Shape, fit_trees
from training.uplift.learners import Fit, Sample, TreeEffects
from training.uplift.log import NULL, Codes, Doubles, Floats

OURS: Final = "kokyaku:T"
"""Our T-learner, fitted by itself. In a study it costs nothing, because its models are those that others subtract."""
OUR_TREES: Final = ", our trees"
INSTALL: Final = "pip install 'kokyaku[peers]'"


class Peer(Protocol):
    """Another package's model of one arm's effect."""

    def predict(self, X: Floats) -> Doubles:
        """float64[n] or [n, 1]."""
        ...


Estimator = lightgbm.LGBMClassifier | lightgbm.LGBMRegressor
Learn = Callable[[Callable[[], Estimator], Floats, Codes, Doubles], Peer]
"""From a maker of estimators, the features, whether the arm was taken (0 or 1), and the outcome."""


@dataclass(frozen=True)
class PeerEffects:
    """Effects by a model of another package for each arm; None for an arm that was taken too seldom."""

    models: tuple[Peer | None, ...]

    def predict(self, block: Floats) -> Doubles:
        """float64[n, k-1]."""
        found = np.full((len(block), len(self.models)), np.nan)
        for arm, model in enumerate(self.models):
            if model is not None:
                found[:, arm] = np.asarray(model.predict(block), np.float64).reshape(len(block))
        return found


def peers() -> tuple[dict[str, Fit], list[str]]:
    """T-learners by name, ours first, and a sentence for each package that cannot be imported; none without any."""
    fits: dict[str, Fit] = {}
    missing = []
    for package, imported in _IMPORTS.items():
        try:
            with warnings.catch_warnings(action="ignore"):  # of plotting libraries, which concern nobody here
                learn = imported()
        except ImportError as error:
            missing.append(f"{package} is left out: it cannot be imported ({error}); {INSTALL} brings it.")
            continue
        fits[f"{package}:T"] = partial(fit_peer, learn, ours=False)
        fits[f"{package}:T{OUR_TREES}"] = partial(fit_peer, learn, ours=True)
    return ({OURS: fit_alone, **fits} if fits else {}), missing


def fit_alone(sample: Sample) -> TreeEffects:
    """Our T-learner without the models that the sample already has: the same effects, at its own cost."""

    def model(action: int) -> lightgbm.Booster:
        rows = np.flatnonzero(sample.action == action)
        return fit_trees(sample.block[rows], sample.reward[rows], sample.shape)

    null = model(NULL)
    return TreeEffects(tuple(((1.0, model(arm)), (-1.0, null)) if sample.known(arm) else () for arm in sample.arms))


def fit_peer(learn: Learn, sample: Sample, *, ours: bool) -> PeerEffects:
    """Another package's T-learner of each arm against null.

    Args:
        learn: how the package does it.
        sample: the rows.
        ours: with the parameters of our trees and not with the defaults.
    """
    make = partial(_estimator, sample.shape if ours else None, bool(np.isin(sample.reward, (0.0, 1.0)).all()))
    models: list[Peer | None] = []
    for arm in sample.arms:
        rows = sample.of(NULL, arm)
        taken = (sample.action[rows] == arm).astype(np.int32)
        models.append(learn(make, sample.block[rows], taken, sample.reward[rows]) if sample.known(arm) else None)
    return PeerEffects(tuple(models))


def _estimator(shape: Shape | None, binary: bool) -> Estimator:
    """LightGBM as scikit-learn has it, on one thread."""
    kind = lightgbm.LGBMClassifier if binary else lightgbm.LGBMRegressor
    made: Estimator = kind(n_jobs=1, verbosity=-1, random_state=0)
    if shape is not None:
        made.set_params(
            num_leaves=shape.leaves, min_child_samples=shape.leaf_rows, learning_rate=shape.rate,
            n_estimators=shape.trees, reg_lambda=shape.l2, max_bin=shape.bins,
        )  # fmt: skip
    return made


def _scikit_uplift() -> Learn:
    """`TwoModels`.

    Raises:
        ImportError: it is not there.
    """
    from sklift.models import TwoModels

    def learn(make: Callable[[], Estimator], block: Floats, taken: Codes, reward: Doubles) -> Peer:
        model: Peer = TwoModels(make(), make()).fit(block, y=reward, treatment=taken)
        return model

    return learn


def _causalml() -> Learn:
    """`BaseTClassifier`, or `BaseTRegressor` where outcomes are not 0 or 1.

    Raises:
        ImportError: it is not there.
    """
    from causalml.inference.meta import BaseTClassifier, BaseTRegressor

    def learn(make: Callable[[], Estimator], block: Floats, taken: Codes, reward: Doubles) -> Peer:
        kind = BaseTClassifier if isinstance(make(), lightgbm.LGBMClassifier) else BaseTRegressor
        model: Peer = kind(control_learner=make(), treatment_learner=make()).fit(block, y=reward, treatment=taken)
        return model

    return learn


_IMPORTS: Final[Mapping[str, Callable[[], Learn]]] = {"scikit-uplift": _scikit_uplift, "causalml": _causalml}
