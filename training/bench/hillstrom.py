"""Hillstrom's e-mail experiment (MineThatData, 2008): learners beside challengers, out of fold.

64,000 customers, a third each got the mens' mail, the womens' mail or none, at random; visit, conversion and spend of
the two weeks after. Three comparisons of two arms, three outcomes. Rankings are of ranks within folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from features.errors import DataError
from training.bench.rows import Row
from training.meter import Tell
from training.uplift import metrics
from training.uplift.boosting import Shape, in_threads
from training.uplift.calibration import calibrated
from training.uplift.crossfit import ALL, CrossFit, cross_fit
from training.uplift.learners import LEARNERS, Fit
from training.uplift.log import DecisionLog

FILE = "hillstrom/hillstrom.csv.gz"
ARMS: Mapping[str, str | None] = {"No E-Mail": None, "Mens E-Mail": "mens", "Womens E-Mail": "womens"}
COMPARISONS: Mapping[str, tuple[str | None, str | None]] = {
    "womens-none": (None, "womens"), "mens-none": (None, "mens"), "womens-mens": ("mens", "womens"),
}  # fmt: skip
"""Of each the arm that stands for null, and the other."""
OUTCOMES = ("visit", "conversion", "spend")
NUMBERS = ("recency", "history", "mens", "womens", "newbie")
CODES = ("zip_code", "channel")
DEFAULTS = Shape(leaves=31, leaf_rows=20, rate=0.1, trees=100)
"""LightGBM's own."""
CHECKED = ("womens-none", "visit")
"""Where the defaults are tried beside ours."""
BEST = "linear-T"
"""The challenger that all are compared with."""
PLAIN = "T"
"""The learner that other packages have as well, and are compared with."""
BUDGET = 0.3


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done.

    Args:
        folds: of cross-fitting.
        permutations: of the placebo.
        seed: of both.
        threads: 0 is all processors.
    """

    folds: int = 5
    permutations: int = 200
    seed: int = 0
    threads: int = 0


def load(path: Path) -> DecisionLog:
    """The experiment as decisions; every arm had the chance of a third.

    Raises:
        DataError: the file is not there or is another.
    """
    if not path.is_file():
        raise DataError("no such file", where=str(path), hint="--path is the folder that holds hillstrom/")
    try:
        table = pa_csv.read_csv(path)
        columns = {name: table[name].to_numpy() for name in (*NUMBERS, *OUTCOMES)}
        features = [columns[name] for name in NUMBERS] + [_codes(table[name]) for name in CODES]
        action = np.array([list(ARMS).index(each) for each in table["segment"].to_pylist()], np.int32)
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise DataError("this is not Hillstrom's experiment", where=str(path), got=str(error)) from None
    n = len(action)
    zero = np.zeros(n, np.int32)
    return DecisionLog(
        subject=np.arange(n), request=np.arange(n), decided_at=np.zeros(n, np.int64), slot=zero, position=zero,
        action=action, propensity=np.full((n, 3), 1 / 3),
        features=np.column_stack(features).astype(np.float32),
        rewards={name: columns[name].astype(np.float64) for name in OUTCOMES},
        usable=np.ones(n, bool), holdout=np.zeros(n, bool), slots=("email",), actions=tuple(ARMS.values()),
        names=(*NUMBERS, *CODES), categorical=(*(False for _ in NUMBERS), *(True for _ in CODES)),
        covariates_as_of="before the mail",
    )  # fmt: skip


def study(
    log: DecisionLog, *, comparisons: Sequence[str] = tuple(COMPARISONS), outcomes: Sequence[str] = OUTCOMES,
    effort: Effort | None = None, learners: Mapping[str, Fit] = ALL,
    tell: Tell = lambda what, done, total: None,
) -> list[Row]:  # fmt: skip
    """Every learner on every comparison and outcome.

    Args:
        log: as `load` gives it.
        comparisons, outcomes: names.
        effort: how much is done.
        learners: by name.
        tell: hears `(what, done, total)`.
    """
    effort = effort or Effort()
    rows = []
    for comparison in comparisons:
        two = log.only(*COMPARISONS[comparison])
        for outcome in outcomes:
            told = partial(_told, tell, f"{comparison} {outcome}")
            fit = partial(cross_fit, two, outcome, folds=effort.folds, seed=effort.seed, threads=effort.threads)
            rows += judged(fit(learners=learners, tell=told), comparison, effort)
            if (comparison, outcome) == CHECKED and "T" in learners:
                plain = fit(learners={"lightgbm-defaults-T": LEARNERS["T"]}, shape=DEFAULTS)
                rows += judged(plain, comparison, effort)
    return rows


def judged(found: CrossFit, comparison: str, effort: Effort) -> list[Row]:
    """Rows of one cross-fit: each learner's figures, and its Qini minus those of the linear and of our T-learner."""
    trial = found.trial(found.log.actions[1])
    task = f"{comparison} {found.reward}"
    ranks = {name: metrics.ranks_in_folds(each[:, 0], found.fold) for name, each in found.effects.items()}
    work = [partial(_figures, found, name, ranks[name], trial, effort) for name in ranks]
    figures = {name: each for name, (each, _) in zip(ranks, in_threads(work, threads=effort.threads), strict=True)}
    for other in [each for each in (BEST, PLAIN) if each in ranks]:
        base = metrics.qini(ranks[other][trial.places], trial)
        for name in [each for each in ranks if each != other]:
            mine = metrics.qini(ranks[name][trial.places], trial)
            figures[name][f"qini-difference:{other}"] = metrics.difference(mine, base, trial.subject)
    rows = []
    for name, each in figures.items():
        rows += [_row(task, name, metric, value) for metric, value in each.items()]
        rows.append(Row("uplift", "hillstrom", task, name, "fit-seconds", round(found.seconds[name], 3), unit="s"))
    shared = round(found.seconds["outcomes"], 3)
    return [*rows, Row("uplift", "hillstrom", task, "outcome models", "fit-seconds", shared, unit="s")]


def _figures(
    found: CrossFit, name: str, score: np.ndarray, trial: metrics.Trial, effort: Effort
) -> dict[str, metrics.Estimate | float]:
    """One learner's figures."""
    subject, effect, mine = found.log.subject, found.contrasts[:, 0], score[trial.places]
    return {
        "qini-per-treated": metrics.qini(mine, trial),
        "qini-per-head": metrics.qini(mine, trial, per="head"),
        "auuc": metrics.auuc(mine, trial),
        "uplift@30%": metrics.uplift_at(mine, trial, BUDGET),
        "autoc": metrics.autoc(score, effect, subject),
        "gain@30%-over-random": metrics.gain_at(score, effect, subject, BUDGET, over_random=True),
        "placebo-percentile": metrics.placebo(
            mine, trial, permutations=effort.permutations, seed=effort.seed
        ).percentile,
        "calibration-slope": calibrated(found.effects[name][:, 0], effect, subject).slope,
    }


def _row(task: str, subject: str, metric: str, value: metrics.Estimate | float) -> Row:
    if isinstance(value, metrics.Estimate):
        return Row("uplift", "hillstrom", task, subject, metric, value.value, value.low, value.high)
    return Row("uplift", "hillstrom", task, subject, metric, value)


def _told(tell: Tell, name: str, what: str, done: int, total: int) -> None:
    tell(name, done, total)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """int[n]: places among the sorted values."""
    return np.unique(np.array(column.to_pylist(), str), return_inverse=True)[1]
