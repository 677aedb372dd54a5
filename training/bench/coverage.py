"""`kokyaku bench coverage`: how often the intervals of the off-policy estimators hold the truth, where it is known.

A world of decisions with known effects (`training.bench.bandit_world`) is drawn many times; each time every estimator
says its interval. Those of IPS, SNIPS, DR and SNDR claim to hold the truth in 95 % of the draws; DM, Switch-DR and
clipped IPS trade bias for variance and claim nothing: their bias and coverage are printed beside.
All figures are of the simulated shop: for tests, never evidence about real ones.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
import typer

from features.errors import ConfigError
from features.files import file_sha256, write_atomically
from training.bench import bandit_world
from training.bench.accuracy import bars
from training.bench.bandit_world import REWARD, BanditWorld, world_of
from training.bench.rows import Row, print_rows, write_rows
from training.bench.shops import default_cache
from training.commands.common import JsonOption, console
from training.intervals import share_interval
from training.meter import Tell
from training.offpolicy import diagnostics, estimators, inference, models
from training.offpolicy.diagnostics import effective_size
from training.offpolicy.estimators import UNBIASED, sample_of, with_thresholds
from training.offpolicy.inference import estimate
from training.offpolicy.models import Linear, RewardModel, Trees, cross_fitted
from training.simulation.rows import generator
from training.simulation.world import WORLD_VERSION
from training.uplift.log import Doubles

MODELS: Final[Mapping[str, Callable[[], RewardModel]]] = {"linear": Linear, "trees": Trees}
LOW, HIGH = 0.925, 0.975
"""Where the coverage of the unbiased estimators' 95 % intervals must lie ..."""
LEAST: Final = 500
"""... in draws whose effective sample size is above this."""
CHUNK: Final = 50
"""Runs that are written together."""
_STREAM: Final = 11
_THRESHOLD: Final = 5.0
"""Bound of the weights of clipped IPS and Switch-DR: low enough to show what they trade."""
_ESTIMATORS: Final = with_thresholds(_THRESHOLD, _THRESHOLD)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Args:
        size, seed: of the simulated shop whose people are the population; the seed is also that of the draws.
        runs: how many draws.
        people: drawn each time.
        model: of the reward, `linear` or `trees`.
        folds: of its cross-fitting.
    """

    size: str = "s"
    seed: int = 0
    runs: int = 2000
    people: int = 300
    model: str = "linear"
    folds: int = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What came of the draws.

    Args:
        truth: the target policy's value.
        figures: estimator -> float64[runs, 3], value, low and high.
        effective: float64[runs], effective sample size.
        decisions: float64[runs].
    """

    truth: float
    figures: Mapping[str, Doubles]
    effective: Doubles
    decisions: Doubles


def command(
    runs: Annotated[int, typer.Option(min=10, max=100_000, help="How often the world is drawn.")] = 2000,
    size: Annotated[str, typer.Option(help="Of the simulated shop: tiny, s or m.")] = "s",
    seed: Annotated[int, typer.Option(min=0, help="Of the shop and the draws.")] = 0,
    people: Annotated[int, typer.Option(min=2, help="Drawn each time.")] = 300,
    model: Annotated[str, typer.Option(help="Of the reward: linear, or trees (LightGBM; an hour).")] = "linear",
    cache: Annotated[Path | None, typer.Option(help="Folder where finished draws stay; a second call goes on.")] = None,
    json: JsonOption = None,
) -> None:
    """How often the intervals of the off-policy estimators hold the truth, in a world where it is known.

    Examples:

      kokyaku bench coverage

      kokyaku bench coverage --runs 200 --people 200 --json coverage.json
    """
    plan = Plan(size, seed, runs, people, model)
    with bars() as tell:
        found = run(plan, cache or default_cache(), tell)
    rows = rows_of(plan, found)
    console.print("The simulated shop: for tests, never evidence about real ones.", highlight=False)
    print_rows(console, rows, f"{runs:,} draws of the simulated shop, world {WORLD_VERSION}")
    console.print(verdict(found), highlight=False, soft_wrap=True)
    if json:
        write_rows(json, rows)


def run(plan: Plan, cache: Path, tell: Tell = lambda what, done, total: None) -> Found:
    """Draw, estimate, and keep what is done: an interrupted run goes on where it was.

    Args:
        plan: what is run.
        cache: folder of finished draws; they are used again as long as neither plan nor code changes.
        tell: hears `(what, done, total)`.

    Raises:
        ConfigError: an unknown size or model.
    """
    if plan.model not in MODELS:
        raise ConfigError("no such reward model", where="--model", got=plan.model, hint=" or ".join(MODELS))
    world = world_of(plan.size, plan.seed)
    home = cache / f"coverage-{_fingerprint(plan)}"
    parts = []
    for first in range(0, plan.runs, CHUNK):
        file = home / f"{first:06d}.npy"
        if not file.exists():
            _keep(file, np.stack([_one(world, plan, number) for number in range(first, first + CHUNK)]))
        parts.append(np.load(file, allow_pickle=False))
        tell("draws", min(first + CHUNK, plan.runs), plan.runs)
    table = np.concatenate(parts)[: plan.runs]
    figures = {name: table[:, 2 + 3 * at : 5 + 3 * at] for at, name in enumerate(_ESTIMATORS)}
    return Found(world.truth(), figures, table[:, 0], table[:, 1])


def _one(world: BanditWorld, plan: Plan, number: int) -> Doubles:
    """float64[2 + 3 * estimators]: effective sample size, decisions, then value, low and high of each estimator."""
    log, policy = world.draw(generator(plan.seed, _STREAM, number), plan.people)
    predictions = cross_fitted(log, REWARD, MODELS[plan.model](), folds=plan.folds, seed=number)
    sample = sample_of(log, policy, REWARD, predictions)
    found = [effective_size(sample.weight), float(len(sample))]
    for way in _ESTIMATORS.values():
        each = estimate(way(sample), sample.cluster)
        found += [each.value, each.low, each.high]
    return np.array(found)


def _keep(file: Path, table: Doubles) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    np.save(buffer, table, allow_pickle=False)
    write_atomically(file, buffer.getvalue())


def _fingerprint(plan: Plan) -> str:
    """Of all that decides a draw but the number of runs: the plan, the world and the code of the estimators."""
    modules = (bandit_world, diagnostics, estimators, inference, models, sys.modules[__name__])
    code = [file_sha256(Path(str(module.__file__))) for module in modules]
    said = {**asdict(plan), "runs": 0, "world": WORLD_VERSION, "code": code}
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]


def rows_of(plan: Plan, found: Found) -> list[Row]:
    """One row of coverage an estimator, with its bias, error and width beside."""
    data = f"simulated-{plan.size}-{plan.seed}"

    def row(subject: str, metric: str, value: float, low: float | None = None, high: float | None = None) -> Row:
        return Row("coverage", data, plan.model, subject, metric, value, low, high)

    rows = [
        row("target", "value", found.truth), row("runs", "number", float(len(found.effective))),
        row("log", "decisions", float(found.decisions.mean())),
        row("log", "effective-sample-size", float(found.effective.mean()), float(found.effective.min()),
            float(found.effective.max())),
    ]  # fmt: skip
    for name, (value, low, high) in ((name, figures.T) for name, figures in found.figures.items()):
        holds = (low <= found.truth) & (found.truth <= high)
        share = share_interval(holds, np.arange(len(holds)))
        error = value - found.truth
        spread = 1.96 * float(error.std(ddof=1) / np.sqrt(len(error)))
        bias = float(error.mean())
        rows += [
            row(name, "coverage", share.value, share.low, share.high),
            row(name, "bias", bias, bias - spread, bias + spread),
            row(name, "rmse", float(np.sqrt((error**2).mean()))),
            row(name, "interval-width", float((high - low).mean())),
        ]
    return rows


def verdict(found: Found) -> str:
    """Whether the unbiased estimators' intervals do what they claim, in a sentence."""
    enough = found.effective > LEAST
    if not enough.all():
        return f"{int((~enough).sum()):,} draws have an effective sample size of {LEAST} or less: draw more people."
    shares = {}
    for name in UNBIASED:
        _, low, high = found.figures[name].T
        shares[name] = float(((low <= found.truth) & (found.truth <= high)).mean())
    off = [f"{name} {share:.1%}" for name, share in shares.items() if not LOW <= share <= HIGH]
    if off:
        return f"Outside of {LOW:.1%} to {HIGH:.1%}: {', '.join(off)}."
    return (
        f"The intervals of {', '.join(shares)} hold the truth in {LOW:.1%} to {HIGH:.1%} of the draws, as they claim."
    )
