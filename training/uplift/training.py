"""`kokyaku train uplift`: from a shop's logged decisions to a ruling, its page and its card in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from features.dataset import Dataset
from features.errors import ConfigError
from features.moments import DAY, format_instant, to_datetime
from features.shop import Shop
from serving.config import load_config
from training.agreed import unlearned
from training.meter import Meter, Tell
from training.session import silent
from training.tracking import Tracking, Value
from training.uplift.checks import insist
from training.uplift.groups import by_tier
from training.uplift.log import DecisionLog
from training.uplift.options import StudyOptions, check_options
from training.uplift.reading import WINDOW, read_log
from training.uplift.record import draw, log_report, log_study, log_wanted
from training.uplift.report import UpliftReport
from training.uplift.study import Study, study
from training.uplift.written import NOT_WRITTEN, Written, written

MOST_TIERS = 20
"""A column with more values than this tells people apart, not tiers."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions, and what is wanted of their actions.

    Args:
        options: worth, costs, guards and how it is studied.
        experiment, surface, slot: which decisions; at least one is named.
        window: microseconds after a decision in which outcomes count.
        as_of: microseconds; what was recorded later is not known. None: everything.
    """

    options: StudyOptions
    experiment: str | None = None
    surface: str | None = None
    slot: str | None = None
    window: int = WINDOW
    as_of: int | None = None

    @property
    def name(self) -> str:
        """For runs and headings."""
        return " / ".join(each for each in (self.experiment, self.surface, self.slot) if each)


@dataclass(frozen=True)
class Trained:
    """What came of it: the report, which holds the study, and the run in MLflow."""

    report: UpliftReport
    run_id: str

    @property
    def found(self) -> Study:
        """The study."""
        return self.report.found


def train_uplift(shop: Shop, wanted: Wanted, tell: Tell = silent, *, write: bool = True) -> Trained:
    """Read the log, study it, write what the gate lets through, and put everything into the shop's MLflow store.

    Nothing is put into service: a policy is written under a name of its own, and a slot of `shop.toml` has to name it.

    Args:
        shop: whose.
        wanted: which decisions, and what is wanted.
        tell: hears the progress of each step.
        write: whether a policy is written.

    Raises:
        DataError: no such decisions or rewards, nothing to compare, or a failed check that is not overridden. Only the
            last leaves a run behind, marked as failed and with the reason.
        ConfigError: options that name what is not there.
    """
    config, meter = load_config(shop.config), Meter()
    with meter.step("read"):
        log = readable(shop, wanted)
    with Tracking(shop).run(f"uplift {wanted.name}", _tags(shop)) as run:
        log_wanted(run, wanted.options, settings_of(wanted, log), inputs_of(shop))
        with meter.step("study"):
            found = study(log, wanted.options, tell)
        made = written(shop, config, found, wanted.name, run.id) if write else NOT_WRITTEN
        with meter.step("report"):
            report = reported(shop, wanted, found, config.shop.currency, meter, tell, made)
        log_study(run, found, meter)
        log_report(run, report)
    return Trained(report, run.id)


def readable(
    shop: Shop, wanted: Wanted, *, history: bool | None = None,
    only: Callable[[DecisionLog], DecisionLog] = lambda log: log,
) -> DecisionLog:  # fmt: skip
    """The log, in which there is something to compare and everything that is named.

    Args:
        shop: whose.
        wanted: which decisions, and what is wanted.
        history: as for `read_log`.
        only: takes away what may not be learned from, before anything is looked for.

    Raises:
        DataError, ConfigError: as `train_uplift`.
    """
    options = wanted.options
    dataset = Dataset(shop.dataset)
    dataset.manifest()
    rewards = list(dict.fromkeys((*options.worth, *options.guards)))
    log = read_log(
        dataset, experiment=wanted.experiment, surface=wanted.surface, slot=wanted.slot, rewards=rewards,
        window=wanted.window, as_of=wanted.as_of, history=history,
        erased=unlearned(shop, load_config(shop.config), wanted.as_of),
    )  # fmt: skip
    log = only(log)
    check_options(log, options)
    _insist_on_tiers(log, options.tier)
    insist(log, rewards)
    return log


def _insist_on_tiers(log: DecisionLog, column: str) -> None:
    """Raises: ConfigError: the column has too many values for tiers."""
    if not column:
        return
    values = log.features[:, log.names.index(column)]
    many = len(np.unique(values[np.isfinite(values)]))
    if many > MOST_TIERS:
        hint = f"at most {MOST_TIERS}; each needs enough customers to be judged"
        raise ConfigError("too many values for tiers", where=f"tier {column}", got=many, hint=hint)


def reported(
    shop: Shop, wanted: Wanted, found: Study, currency: str, meter: Meter, tell: Tell, policy: Written = NOT_WRITTEN
) -> UpliftReport:
    """The study with its pictures, tiers, blocks and what was written."""
    tell("report", 0, 1)
    tiers, small = by_tier(found)
    days = found.log.decided_at
    made = UpliftReport(
        shop=shop.id, name=wanted.name, found=found, window_days=wanted.window / DAY,
        dates=(_day(int(days.min())), _day(int(days.max()))), currency=currency, tiers=tiers, small_tiers=small,
        blocked=found.challenger.blocks, steps=meter.steps, plots=draw(found),
        policy=policy,
    )  # fmt: skip
    tell("report", 1, 1)
    return made


def _tags(shop: Shop) -> dict[str, str]:
    return {"kokyaku.shop": shop.id, "mlflow.source.name": "kokyaku train uplift"}


def settings_of(wanted: Wanted, log: DecisionLog) -> dict[str, Value]:
    """Which decisions, as parameters of a run."""
    return {
        "experiment": wanted.experiment, "surface": wanted.surface, "slot": wanted.slot,
        "window_days": wanted.window / DAY, "as_of": None if wanted.as_of is None else format_instant(wanted.as_of),
        "observational": log.observational, "covariates": ", ".join(log.names),
        "actions": ", ".join(str(action or "nothing") for action in log.actions),
        "decisions": len(log), "usable": int(np.count_nonzero(log.usable)),
    }  # fmt: skip


def inputs_of(shop: Shop) -> list[dict[str, Any]]:
    """The committed imports with the hashes of their files."""
    imports = msgspec.to_builtins(Dataset(shop.dataset).manifest())["imports"]
    return [{key: record[key] for key in ("id", "source", "at", "counts", "inputs")} for record in imports]


def _day(instant: int) -> str:
    return f"{to_datetime(instant):%Y-%m-%d}"
