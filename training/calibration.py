"""Whether a score that is shown as the chance of a purchase is one.

A ranker of objective `binary` gives each candidate a probability. Here it is compared with what the judged customers
bought in the judged window, over all that was considered for them: by tenth of the score, and by the slope and the
intercept of a logistic recalibration (Cox 1958; Van Calster et al. 2019). The customers are those who bought something
in the window, as everywhere in the judgement, so the chance is that of a customer who buys at all.
A blend and a ranker of objective `lambdarank` give an order only: nothing is calibrated and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri

from serving.ranker import Ranker
from serving.recipe import Recipe
from training.contest import Arena, questions, remembering, sampled
from training.evaluate import TASKS, Task
from training.examples import LIST_LENGTH
from training.gate import TASK_NAMES
from training.intervals import Interval, share_interval
from training.parallel import in_parts

CALIBRATED_CUSTOMERS = 500
"""Judged customers whose candidates are looked at, at most; always the same ones."""
BINS = 10
_EDGE = 1e-7
"""Scores are taken to lie this far inside 0 and 1: float32 cannot tell those closer to 1 from it."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """Candidates with their scores and what became of them.

    Args:
        score: float64[n], the probability that was said.
        bought: bool[n], whether the customer bought the item in the window.
        customer: int32[n], the customer's row.
    """

    score: Floats
    bought: npt.NDArray[np.bool_]
    customer: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Bin:
    """One part of the scores.

    Args:
        low, high: least and greatest score in it.
        count: candidates.
        predicted: mean score.
        observed: share bought, with its interval over customers.
    """

    low: float
    high: float
    count: int
    predicted: float
    observed: Interval


@dataclass(frozen=True, slots=True)
class Calibration:
    """Scores beside outcomes.

    Args:
        bins: tenths of the scores, lowest first; fewer where many scores are equal.
        count: candidates.
        predicted: mean score of all.
        observed: share of all that was bought.
        error: expected calibration error, sum over bins of their share x |predicted - observed|; NaN without any.
        slope: of logit P(bought) on logit(score); 1 is right, below 1 the scores are too extreme.
        intercept: of the same; 0 is right.
    """

    bins: tuple[Bin, ...]
    count: int
    predicted: float
    observed: Interval
    error: float
    slope: Interval
    intercept: Interval


def is_probability(recipe: Recipe) -> bool:
    """Whether the recipe's score is meant as the chance of a purchase."""
    return recipe.ranker is not None and recipe.ranker.objective == "binary"


def scored(
    arena: Arena, recipe: Recipe, *, at_most: int = CALIBRATED_CUSTOMERS,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[Task, Scored]:  # fmt: skip
    """What a recipe's ranker said of all candidates of some judged customers, by task.

    Args:
        arena: its bundle holds the recipe's trees, fitted up to the window's start.
        recipe: one whose score is a probability.
        at_most: customers; always the same ones.
        progress: told how many customers were done.
    """
    known = arena.histories.as_of(arena.window.start)
    ranker = remembering(Ranker(arena.broad(recipe.breadth).bundle))
    truth = sampled(arena.truth, at_most)

    def heard(places: range) -> dict[Task, list[Scored]]:
        found: dict[Task, list[Scored]] = {task: [] for task in TASKS}
        for place, task, query in questions(arena, known, truth.subjects, places, LIST_LENGTH):
            scorer = ranker.scorer(query, recipe.ranker)
            candidates = ranker.considered(query, scorer.voices)
            score = scorer.score(query, candidates)[0].astype(np.float64)
            bought = np.isin(candidates.items, truth.of(place))
            found[task].append(Scored(score, bought, np.full(len(score), truth.subjects[place], np.int32)))
        return found

    parts = in_parts(heard, len(truth), progress)
    return {task: _together([each for part in parts for each in part[task]]) for task in TASKS}


def calibration_of(found: Scored, *, bins: int = BINS, confidence: float = 0.95) -> Calibration:
    """Scores beside outcomes; NaN with a count of 0 where there are none.

    The expected calibration error (Naeini et al. 2015) is over bins of equal numbers, not of equal width: most scores
    are small.
    """
    parts = tuple(
        Bin(
            float(found.score[rows].min()), float(found.score[rows].max()), len(rows), float(found.score[rows].mean()),
            share_interval(found.bought[rows], found.customer[rows], confidence=confidence),
        )
        for rows in binned(found.score, bins)
    )  # fmt: skip
    n = len(found.score)
    gaps = sum(part.count * abs(part.predicted - part.observed.value) for part in parts)
    slope, intercept = recalibration(found, confidence=confidence)
    return Calibration(
        parts, n, float(found.score.mean()) if n else np.nan,
        share_interval(found.bought, found.customer, confidence=confidence),
        gaps / n if n else np.nan, slope, intercept,
    )  # fmt: skip


def binned(score: Floats, bins: int = BINS) -> list[npt.NDArray[np.intp]]:
    """Rows by quantile of the score, lowest first. Equal scores share a bin, and no bin is empty."""
    if not len(score):
        return []
    edges = np.unique(np.quantile(score, np.arange(1, bins) / bins))
    where = np.searchsorted(edges, score, side="right")
    return [np.flatnonzero(where == number) for number in np.unique(where)]


def recalibration(found: Scored, *, confidence: float = 0.95) -> tuple[Interval, Interval]:
    """Slope and intercept of logit P(bought) = intercept + slope x logit(score), by maximum likelihood.

    Intervals are normal ones from the sandwich variance clustered by customer (Liang & Zeger 1986).

    Returns:
        Slope and intercept; NaN where they are not defined: nothing or all was bought, all scores are equal, or the
        score separates what was bought from what was not.
    """
    customers = len(np.unique(found.customer))
    undefined = Interval(np.nan, np.nan, np.nan, customers, 0)
    if not found.bought.any() or found.bought.all() or np.ptp(found.score) == 0:
        return undefined, undefined
    design = np.column_stack([np.ones(len(found.score)), logit(np.clip(found.score, _EDGE, 1 - _EDGE))])
    fitted = _logistic(design, found.bought.astype(np.float64))
    if fitted is None:
        return undefined, undefined
    beta, bread = fitted
    pull = design * (found.bought - expit(design @ beta))[:, None]
    _, place = np.unique(found.customer, return_inverse=True)
    each = np.column_stack([np.bincount(place, weights=pull[:, column]) for column in range(2)])
    spread = bread @ (each.T @ each) @ bread * customers / max(customers - 1, 1)
    half = ndtri((1 + confidence) / 2) * np.sqrt(np.diag(spread)) if customers > 1 else np.full(2, np.nan)
    intercept, slope = (
        Interval(float(beta[at]), float(beta[at] - half[at]), float(beta[at] + half[at]), customers, 0)
        for at in range(2)
    )
    return slope, intercept


def told(recipe: Recipe, found: Mapping[Task, Calibration]) -> list[str]:
    """What a merchant should know of the score, as sentences."""
    if not is_probability(recipe):
        what = "lambdarank learns an order alone" if recipe.ranker else "it is a weighted sum of sources"
        return [f"The score of {recipe.name} orders items and is no chance of a purchase ({what}): not calibrated."]
    return [_sentence(recipe.name, task, each) for task, each in found.items()]


def _sentence(name: str, task: Task, found: Calibration) -> str:
    where = TASK_NAMES[task]
    if not found.bins:
        return f"On {where} {name} considered nothing, so its score cannot be calibrated."
    top = found.bins[-1]
    slope = "" if np.isnan(found.slope.value) else f"; slope {found.slope.value:.2f}{_between(found.slope, '{:.2f}')}"
    return (
        f"On {where} the score of {name} is meant as a chance: where it is highest (a tenth of {found.count:,}"
        f" candidates) it says {top.predicted:.1%}, and customers who bought in the window bought"
        f" {top.observed.value:.1%}{_between(top.observed, '{:.1%}')}; over all it says {found.predicted:.2%}, and"
        f" {found.observed.value:.2%}{_between(found.observed, '{:.2%}')} was bought{slope}{_verdict(found)}."
    )


def _verdict(found: Calibration) -> str:
    """What a slope that is not 1 means."""
    if found.slope.high < 1:
        return ", so its high scores are too high beside its low ones"
    return ", so its high scores are too low beside its low ones" if found.slope.low > 1 else ""


def _between(found: Interval, form: str) -> str:
    return "" if np.isnan(found.low) else f" [{form.format(found.low)}, {form.format(found.high)}]"


def _together(parts: list[Scored]) -> Scored:
    if not parts:
        return Scored(np.empty(0), np.empty(0, bool), np.empty(0, np.int32))
    return Scored(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.bought for part in parts]),
        np.concatenate([part.customer for part in parts]),
    )


def _logistic(design: Floats, outcome: Floats, most: int = 100) -> tuple[Floats, Floats] | None:
    """Coefficients and the inverse of the information, by Newton's method; None where there is no maximum."""
    beta = np.array([logit(outcome.mean()), 0.0])
    for _ in range(most):
        chance = expit(design @ beta)
        information = (design * (chance * (1 - chance))[:, None]).T @ design
        if not np.linalg.cond(information) < 1e14:
            return None
        inverse = np.linalg.inv(information)
        step = inverse @ (design.T @ (outcome - chance))
        # A full step may overshoot where most outcomes are 0: it is halved until the likelihood does not fall.
        while _loss(design @ (beta + step), outcome) > _loss(design @ beta, outcome) and np.abs(step).max() > 1e-9:
            step = step / 2
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            return beta, inverse
    return None


def _loss(z: Floats, outcome: Floats) -> float:
    return float(np.sum(np.logaddexp(0, z) - outcome * z))
