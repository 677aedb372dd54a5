"""The ranker: LightGBM over the union of the sources' candidates, exported as flat trees.

`binary` learns the probability that a candidate is bought in the next window; `lambdarank` (Burges 2010) learns the
order of a customer's candidates alone. Which of them serves is measured for each shop.
"""

from __future__ import annotations

from typing import Annotated

import lightgbm
import msgspec
import numpy as np
from msgspec import Meta

from features.errors import ConfigError, DataError
from serving.recipe import RankerSpec
from serving.scoring import ranking_names
from training.examples import KEPT_NEGATIVES, Examples
from training.interactions import Fitted
from training.trees import forest_of

Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(gt=0, le=1)]
LEAST_GROUPS = 40
"""With fewer customers who bought something of their candidates, there is nothing to learn an order from."""


class RankerParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the fit."""

    trees: Positive = 150
    leaves: Annotated[int, Meta(ge=2, le=256)] = 31
    depth: Positive = 8
    rate: Share = 0.06
    min_leaf: Positive = 50
    columns: Share = 0.5
    """Share of the columns that each tree may look at."""
    l2: Annotated[float, Meta(ge=0)] = 5.0
    bins: Annotated[int, Meta(ge=3, le=255)] = 63
    seed: int = 0


def fit_ranker(examples: Examples, spec: RankerSpec, *, threads: int = 0) -> Fitted:
    """Fit one task's trees.

    Args:
        examples: of windows before the one that is judged.
        spec: objective, voices and parameters.
        threads: 0 is all cores.

    Returns:
        The arrays of a `Forest` and `offset` float64[1]; figures: gain of each column as a share of all, by name.

    Raises:
        DataError: there is too little to learn from.
        ConfigError: a parameter that there is not.
    """
    if len(examples.groups) < LEAST_GROUPS:
        what = f"a ranker needs {LEAST_GROUPS} customers who bought something of what would have been considered"
        raise DataError(what, where=spec.name, got=len(examples.groups), hint="a longer past")
    names = ranking_names(spec.voices)
    data = lightgbm.Dataset(
        examples.block, examples.label.astype(np.float32), feature_name=list(names),
        group=examples.groups if spec.objective == "lambdarank" else None,
    )  # fmt: skip
    params = params_of(spec)
    booster = lightgbm.train(_settings(spec, params, threads), data, num_boost_round=params.trees)
    gain = booster.feature_importance("gain")
    # Left-out negatives raise the odds by 1 / KEPT_NEGATIVES (King & Zeng 2001, prior correction).
    offset = float(np.log(KEPT_NEGATIVES)) if spec.objective == "binary" else 0.0
    shares = dict(zip(names, (gain / max(gain.sum(), 1e-12)).tolist(), strict=True))
    return Fitted({**forest_of(booster).arrays(), "offset": np.array([offset])}, shares)


def params_of(spec: RankerSpec) -> RankerParams:
    """The parameters with their defaults.

    Raises:
        ConfigError: a parameter that there is not, or a value that makes no sense.
    """
    try:
        return msgspec.convert(spec.params, RankerParams)
    except msgspec.ValidationError as error:
        valid = ", ".join(field.name for field in msgspec.structs.fields(RankerParams))
        raise ConfigError(str(error), where=f"parameters of {spec.name}", hint=f"valid: {valid}") from None


def _settings(spec: RankerSpec, params: RankerParams, threads: int) -> dict[str, object]:
    return {
        "objective": spec.objective, "num_leaves": params.leaves, "max_depth": params.depth,
        "learning_rate": params.rate, "min_data_in_leaf": params.min_leaf, "feature_fraction": params.columns,
        "lambda_l2": params.l2, "max_bin": params.bins, "seed": params.seed, "num_threads": threads,
        "lambdarank_truncation_level": 40, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
