"""The search itself: the one module that speaks Optuna.

A study is one file of JSON lines that every trial is appended to, so an interrupted search goes on where it was. Each
question to the sampler (TPE, Bergstra et al. 2011) has a seed of its own, made of the study's and the trial's number,
and everything else it reads stands in the file: a search in two halves tries what one in one go would have tried.
Two things are not repeated: an interrupted trial keeps its number, and a budget in minutes ends where it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from features.errors import DataError
from features.files import drop_torn_line
from training.params import Named
from training.spaces import Dimension, Space

State = Literal["complete", "pruned", "failed", "interrupted"]
RANDOM_TRIALS = 10
"""Trials before the sampler starts to learn from them."""
UNPRUNED_TRIALS = 5
"""Trials that are judged in full before any is stopped early."""
HOPEFUL = 75.0
"""Per cent of the earlier trials, best first, among which a trial must stand after a part to be judged further.

The better half would be too strict: late trials lie close together, and a part of the customers orders them by chance.
"""
_STATES: Mapping[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial that ended.

    Args:
        number: from 0 in the order in which they were asked for.
        params: what was tried, by dotted name.
        state: how it ended; a pruned one was stopped early, an interrupted one by Ctrl-C or a crash.
        value: of the objective; of a pruned trial so far; NaN where it has none.
        seconds: that it took.
        why: it failed.
        figures: further figures, by name.
    """

    number: int
    params: Named
    state: State
    value: float
    seconds: float = 0.0
    why: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


class Asked:
    """A trial that is on its way."""

    def __init__(self, study: optuna.Study, trial: optuna.Trial) -> None:
        self._study, self._trial = study, trial
        self.number, self.params = trial.number, dict(trial.params)

    def hopeless(self, part: int, value: float) -> bool:
        """Remember the value after a part; whether it is among the worst of the earlier trials by then."""
        self._trial.report(value, part)
        return self._trial.should_prune()

    def complete(self, value: float, seconds: float, figures: Mapping[str, float]) -> None:
        """It was judged in full."""
        self._told(seconds, figures=dict(figures))
        self._study.tell(self._trial, value)

    def prune(self, seconds: float) -> None:
        """It was stopped early."""
        self._told(seconds)
        self._study.tell(self._trial, state=TrialState.PRUNED)

    def fail(self, why: str, seconds: float) -> None:
        """It cannot be fitted."""
        self._told(seconds, why=why)
        self._study.tell(self._trial, state=TrialState.FAIL)

    def interrupt(self) -> None:
        """Somebody stopped it; where it had ended already it stays as it is."""
        self._study.tell(self._trial, state=TrialState.FAIL, skip_if_finished=True)

    def _told(self, seconds: float, **more: Any) -> None:
        for key, value in {"seconds": round(seconds, 3), **more}.items():
            self._trial.set_user_attr(key, value)


class Study:
    """A search that can be interrupted and resumed.

    Args:
        path: of its file, made where it is not there.
        space: what may be tried.
        seed: of the sampler.

    Raises:
        DataError: the file is no journal of a study.
    """

    def __init__(self, path: Path, space: Space, seed: int = 0) -> None:
        self.path, self._seed = path, seed
        self._space = {key: _distribution(dimension) for key, dimension in space.items()}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        drop_torn_line(path)
        try:
            self._study = optuna.create_study(
                study_name=path.stem, storage=JournalStorage(JournalFileBackend(str(path))), direction="maximize",
                pruner=optuna.pruners.PercentilePruner(HOPEFUL, n_startup_trials=UNPRUNED_TRIALS),
                load_if_exists=True,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            hint = "start over with --fresh"
            raise DataError("the study cannot be read", where=str(path), got=str(error), hint=hint) from None
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)  # its process is gone

    def __len__(self) -> int:
        """Trials that ended by themselves."""
        return sum(tried.state != "interrupted" for tried in self.tried())

    def tried(self) -> list[Tried]:
        """Every trial that ended, by number."""
        return [_tried(trial) for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def want(self, points: Sequence[Named]) -> None:
        """Have these tried before anything else, unless they were tried in full."""
        done = [tried.params for tried in self.tried() if tried.state == "complete"]
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        done += [trial.system_attrs["fixed_params"] for trial in waiting]
        for point in points:
            if point not in done:
                self._study.enqueue_trial(dict(point))
                done.append(point)

    def ask(self) -> Asked:
        """The next trial."""
        number = len(self._study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
        return Asked(self._study, self._study.ask(self._space))


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.log)


def _tried(trial: FrozenTrial) -> Tried:
    why = str(trial.user_attrs.get("why", ""))
    state = _STATES.get(trial.state, "failed" if why else "interrupted")
    value = float("nan") if trial.value is None else float(trial.value)
    if state == "pruned" and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    told = trial.user_attrs
    return Tried(trial.number, dict(trial.params), state, value, told.get("seconds", 0.0), why, told.get("figures", {}))
