"""`kokyaku bench learning`: how much of the best possible gain a policy learns from so many logged decisions.

Mails of the simulated shop are logged with uniform draws, a policy is learned from them, and its true value on the
whole population is compared with the best single mail for everybody and with an oracle that knows each person's true
probabilities, hidden taste included. What could be reached by somebody who knows the true mean of everybody that looks
alike to the shop stands beside it. QUIET customers are the planted sleeping dogs: a mail loses a quarter of their
visits. They are a column that the shop knows and watches as it would a tier: blocks for it are made of the same log.
`--constant` takes the differences between people away: then a policy that passes the gate passed by chance. All figures
are of the simulated shop: for tests, never evidence about real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import typer
from rich.box import SIMPLE
from rich.table import Table

from features.errors import ConfigError
from training.bench.accuracy import bars
from training.bench.bandit_world import KNOWN, BanditWorld, known_features, world_of
from training.bench.rows import Row, write_rows
from training.commands.common import JsonOption, SizeOption, console
from training.intervals import mean_interval, share_interval
from training.meter import Tell
from training.session import silent
from training.simulation.effects import ACTION_ROW, MAIL_ACTIONS, Segment
from training.uplift.crossfit import ALL, cross_fit
from training.uplift.log import DecisionLog, Doubles, Whole
from training.uplift.options import StudyOptions
from training.uplift.proposals import chances_on
from training.uplift.study import decided

VISIT: Final = "visit"
MAILS: Final = tuple(action.id for action in MAIL_ACTIONS)
LEARNER: Final = "X"
"""The best of S, T, X, DR and R on logs of 200,000 decisions other than those that are reported."""
SIZES: Final = (10_000, 50_000, 200_000)
AIM: Final = 0.8
DOGS: Final = Segment.QUIET
REACH: Final = "known columns"
"""Subject of the row that says what share could be reached by what the shop knows."""
FOLDS: Final = 3
"""Half the time of five; a policy gets one more point of the oracle's gain with five."""
_STREAM: Final = 17


def command(
    decisions: Annotated[list[int] | None, typer.Option(help="Logged decisions; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="Logs of each size.")] = 20,
    learner: Annotated[str, typer.Option(help=f"{', '.join(ALL)}.")] = LEARNER,
    constant: Annotated[bool, typer.Option("--constant", help="Everybody reacts alike: count false passes.")] = False,
    size: SizeOption = "s",
    folds: Annotated[int, typer.Option(min=3, max=20, help="Of cross-fitting.")] = FOLDS,
    threads: Annotated[int, typer.Option(min=0, help="Fits at a time; 0 is all processors.")] = 0,
    json: JsonOption = None,
) -> None:
    """Learn mail policies from logs of growing size and compare them with the best single mail and with the oracle.

    Examples:

      kokyaku bench learning

      kokyaku bench learning --constant --seeds 200 --decisions 20000 --json constant.json
    """
    if learner not in ALL:
        raise ConfigError("no such learner", where="--learner", got=learner, hint=f"one of: {', '.join(ALL)}")
    effort = Effort(learner, folds, threads)
    with bars() as tell:
        rows = run(size, tuple(decisions or SIZES), seeds, effort=effort, constant=constant, tell=tell)
    console.print("The simulated shop: never evidence about real shops.", highlight=False)
    console.print(table_of(rows))
    for row in rows:
        if row.subject == REACH and np.isfinite(row.value):
            told = f"What the shop knows of people allows {row.value:.1%} of the oracle's gain."
            console.print(told, highlight=False)
    if json:
        write_rows(json, rows)


@dataclass(frozen=True)
class Mails:
    """The population: everybody whom a mail could reach, and what it would do.

    Args:
        person: int64[n].
        features: float32[n, p], what the shop knows.
        chance: float64[n, k], true probability of a visit after nothing and after each mail.
    """

    person: Whole
    features: np.typing.NDArray[np.float32]
    chance: Doubles

    def log(self, random: np.random.Generator, decisions: int) -> DecisionLog:
        """Decisions about people drawn with replacement, mails drawn uniformly."""
        at = random.integers(0, len(self.person), decisions)
        k = self.chance.shape[1]
        action = random.integers(0, k, decisions).astype(np.int32)
        visit = random.random(decisions) < self.chance[at, action]
        zeros = np.zeros(decisions, np.int32)
        # Drawn twice is two subjects: the same person's visits are independent given their probability.
        number = np.arange(decisions, dtype=np.int64)
        return DecisionLog(
            subject=number, request=number, decided_at=number, slot=zeros, position=zeros, action=action,
            propensity=np.full((decisions, k), 1 / k), features=self.features[at],
            rewards={VISIT: visit.astype(np.float64)}, usable=np.ones(decisions, bool),
            holdout=np.zeros(decisions, bool), slots=("campaign",), actions=(None, *MAILS),
            names=tuple(map(_name, KNOWN)), categorical=(False,) * len(KNOWN),
        )  # fmt: skip

    def share_of(self, chances: Doubles) -> float:
        """A policy's gain over the best single mail, as a share of the oracle's; NaN where there is none to be had.

        Args:
            chances: float64[n, k], of the policy.
        """
        single, best = self.chance.mean(axis=0).max(), self.chance.max(axis=1).mean()
        mine, gain = (chances * self.chance).sum(axis=1).mean(), best - single
        return float((mine - single) / gain) if gain > 1e-12 else float("nan")

    def known_best(self) -> Doubles:
        """float64[n, k]: the best policy that reads only features, by the true means of those who look alike."""
        _, cell = np.unique(self.features, axis=0, return_inverse=True)
        means = np.column_stack([np.bincount(cell, each) / np.bincount(cell) for each in self.chance.T])
        chances: Doubles = np.eye(self.chance.shape[1])[means.argmax(axis=1)[cell]]
        return chances


def mails_of(world: BanditWorld, *, constant: bool) -> Mails:
    """The mails of a population.

    Args:
        world: the population.
        constant: whether everybody's effects are replaced by their mean.
    """
    at = np.flatnonzero(world.rows.mail)
    slot = np.full(len(at), 2)
    actions = [0, *(1 + ACTION_ROW[mail] for mail in MAILS)]
    chance = np.column_stack([world.chance_of(at, slot, np.full(len(at), action)) for action in actions])
    if constant:
        base = chance.mean(axis=0)
        chance = np.tile(base, (len(at), 1))
    return Mails(world.rows.person[at], known_features(world.rows.situation[at]), chance)


@dataclass(frozen=True, slots=True)
class Effort:
    """How policies are learned.

    Args:
        learner: whose effects.
        folds: of cross-fitting.
        threads: fits at a time; 0 is all processors.
    """

    learner: str = LEARNER
    folds: int = FOLDS
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Learned:
    """One log's policy.

    Args:
        share: of the oracle's gain over the best single mail, in truth.
        ships: what the gate said.
        harm: share of the planted sleeping dogs that get a mail.
        lost: what the policy adds to the visits of one of them, against nothing, in truth.
    """

    share: float
    ships: str
    harm: float
    lost: float


def run(
    size: str, decisions: Sequence[int], seeds: int, *, effort: Effort | None = None, constant: bool = False,
    tell: Tell = silent,
) -> list[Row]:  # fmt: skip
    """Logs of each size, policies, truth.

    Args:
        size: of the simulated shop whose people are the population (its seed is 0).
        decisions: sizes of the logs.
        seeds: logs of each size.
        effort: how policies are learned.
        constant: everybody reacts alike.
        tell: hears `(what, done, total)`.

    Raises:
        ConfigError: an unknown size.
    """
    effort, mails = effort or Effort(), mails_of(world_of(size, 0), constant=constant)
    name = f"simulated-{size}-0" + ("-constant" if constant else "")
    rows = [Row("learning", name, "all", REACH, "share-of-oracle-gain", mails.share_of(mails.known_best()))]
    for count in decisions:
        found = []
        for seed in range(seeds):
            tell(f"{count:,} decisions", seed, seeds)
            found.append(learned(mails, np.random.default_rng((_STREAM, count, seed)), count, effort))
        tell(f"{count:,} decisions", seeds, seeds)
        rows += _rows(name, str(count), effort.learner, found)
    return rows


def learned(mails: Mails, random: np.random.Generator, decisions: int, effort: Effort) -> Learned:
    """Learn from one log and look at the truth."""
    log = mails.log(random, decisions)
    learners = {effort.learner: ALL[effort.learner]}
    fits = {VISIT: cross_fit(log, VISIT, learners=learners, folds=effort.folds, threads=effort.threads)}
    _, proposals, _, ruling = decided(log, fits, StudyOptions({VISIT: 1.0}, tier=_name(DOGS)))
    chances = chances_on(mails.features, np.ones(mails.chance.shape, bool), proposals[0], fits)
    dogs = mails.features[:, KNOWN.index(DOGS)] > 0
    added = (chances * mails.chance).sum(axis=1) - mails.chance[:, 0]
    return Learned(
        mails.share_of(chances), ruling.ships,
        float(1 - chances[dogs, 0].mean()) if dogs.any() else float("nan"),
        float(added[dogs].mean()) if dogs.any() else float("nan"),
    )  # fmt: skip


def _rows(data: str, task: str, subject: str, found: Sequence[Learned]) -> list[Row]:
    passed = np.array([each.ships == "policy" for each in found])
    figures = {
        "share-of-oracle-gain": mean_interval(np.array([each.share for each in found])),
        "gate-passes": share_interval(passed, np.arange(len(passed))),
        "sleeping-dogs-mailed": mean_interval(np.array([each.harm for each in found])),
        "sleeping-dogs-effect": mean_interval(np.array([each.lost for each in found])),
    }
    return [
        Row("learning", data, task, subject, metric, each.value, each.low, each.high)
        for metric, each in figures.items()
    ]


def table_of(rows: Sequence[Row]) -> Table:
    """A line a size."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    shown = {
        "share of the oracle's gain": "share-of-oracle-gain", "gate lets the policy ship": "gate-passes",
        "sleeping dogs mailed": "sleeping-dogs-mailed", "their visits": "sleeping-dogs-effect",
    }  # fmt: skip
    for column in ("decisions", *shown):
        table.add_column(column, justify="right")
    value = {(row.task, row.metric): row for row in rows if row.subject != REACH}
    for task in dict.fromkeys(task for task, _ in value):
        table.add_row(f"{int(task):,}", *(_cell(value[task, name]) for name in shown.values()))
    return table


def _cell(row: Row) -> str:
    if not np.isfinite(row.value):
        return "undefined"
    low, high = row.low, row.high
    return f"{row.value:.1%}" + ("" if low is None or high is None else f" [{low:.1%}, {high:.1%}]")


def _name(segment: Segment) -> str:
    return str(segment.name).lower()
