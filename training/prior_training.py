"""`kokyaku train prior`: from a slot's drawn decisions about unknown visitors to a policy for strangers.

Which dimensions of a visit tell anything of actions is found by looking forward (`training.prior`); where none does,
the policy is averages, the same for everybody. It goes on trying in any case, so that more can be learned.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from features.dataset import Dataset
from features.errors import DataError
from features.moments import DAY
from features.shop import Shop
from serving.clock import shop_clock
from serving.config import load_config
from serving.policies import Explore, PolicySpec
from serving.policy_files import write_policy
from serving.prior import NOTHING
from training.agreed import unlearned
from training.meter import Meter
from training.prior import ActionsFitted, Gain, PriorParams, fit_actions
from training.prior_log import seen_in
from training.prior_policy import prior_policy
from training.prior_rows import Seen
from training.tracking import Run, Tracking
from training.uplift.reading import read_log
from training.uplift.training import inputs_of
from training.uplift.written import named


@dataclass(frozen=True, slots=True)
class PriorWanted:
    """Which slot, and what is wanted of its policy.

    Args:
        surface, slot: where it was decided.
        outcome: what should come of it; 0 or 1 of each decision.
        window: microseconds after a decision in which it counts.
        explore, floor: how the policy goes on trying.
        southern: regions south of the equator.
        params: of the prior.
        as_of: microseconds; None: everything.
    """

    surface: str
    slot: str
    outcome: str = "click"
    window: int = DAY
    explore: Explore = "thompson"
    floor: float = 0.01
    southern: tuple[str, ...] = ()
    params: PriorParams = field(default_factory=PriorParams)
    as_of: int | None = None


@dataclass(frozen=True)
class PriorTrained:
    """What came of it.

    Args:
        fitted: the prior.
        seen: what it was learned from.
        name: of the policy.
        run_id: of the run in MLflow.
    """

    fitted: ActionsFitted
    seen: Seen
    name: str
    run_id: str


def train_prior(shop: Shop, wanted: PriorWanted) -> PriorTrained:
    """Read the log, learn the prior, write its policy, and log both to MLflow; nothing serves before it is named.

    Args:
        shop: whose.
        wanted: which slot.

    Raises:
        DataError: no such decisions, none about an unknown visitor, or no action besides nothing.
    """
    meter, dataset = Meter(), Dataset(shop.dataset)
    dataset.manifest()
    with meter.step("read"):
        log = read_log(
            dataset, surface=wanted.surface, slot=wanted.slot, rewards=(wanted.outcome,), window=wanted.window,
            as_of=wanted.as_of, history=False, erased=unlearned(shop, load_config(shop.config), wanted.as_of),
        )  # fmt: skip
        seen = seen_in(log, wanted.outcome, wanted.southern)
    with Tracking(shop).run(f"prior {wanted.slot}", {"mlflow.source.name": "kokyaku train prior"}) as run:
        run.log_params({
            "surface": wanted.surface, "slot": wanted.slot, "outcome": wanted.outcome, "window": wanted.window,
            "explore": wanted.explore, "floor": wanted.floor, "order": ", ".join(wanted.params.order),
        })  # fmt: skip
        with meter.step("learn"):
            fitted = fit_actions(seen, wanted.params)
        name = named(f"{wanted.slot} strangers", shop_clock(shop).now(), run.id)
        about = f"kokyaku train prior, run {run.id}, {len(seen):,} decisions about unknown visitors"
        spec = spec_of(fitted, seen, wanted, name)
        write_policy(shop.policies, prior_policy(fitted, seen, spec, wanted.outcome, wanted.southern, about))
        run.log_text("inputs.json", str(inputs_of(shop)))
        log_prior(run, fitted, seen, name, meter)
    return PriorTrained(fitted, seen, name, run.id)


def spec_of(fitted: ActionsFitted, seen: Seen, wanted: PriorWanted, name: str) -> PolicySpec:
    """The policy's actions and how it tries them; nothing is one of them where that was ever drawn.

    Raises:
        DataError: nothing was ever shown.
    """
    known = fitted.beyond.prior.average
    actions = tuple(
        sorted(arm for arm, value in zip(seen.arms, known, strict=True) if arm != NOTHING and np.isfinite(value))
    )
    if not actions:
        raise DataError("nothing was ever shown to an unknown visitor", where=f"{wanted.surface} / {wanted.slot}")
    empty = NOTHING in seen.arms and bool(np.isfinite(known[seen.arms.index(NOTHING)]))
    return PolicySpec(
        name, actions, {wanted.outcome: 1.0}, floor=wanted.floor, explore=wanted.explore, nothing=empty
    )  # fmt: skip


def log_prior(run: Run, fitted: ActionsFitted, seen: Seen, name: str, meter: Meter) -> None:
    """What dimensions were worth and what each action brings on average. Never a person's row."""
    run.tag("kokyaku.policy", name)
    run.tag("outcome", headline(fitted))
    columns = ("of", "dimension", "strength", "gain", "error", "kept")
    table = [("visitors", *_cells(gain)) for gain in fitted.base.gains]
    table += [("actions", *_cells(gain)) for gain in fitted.beyond.gains]
    run.log_table("tables/dimensions.csv", columns, table)
    usual = float(fitted.base.prior.average[0])
    rows = [
        (arm, int((seen.arm == place).sum()), usual + float(fitted.beyond.prior.average[place]))
        for place, arm in enumerate(seen.arms)
    ]
    run.log_table("tables/actions.csv", ("action", "decisions", "chance"), rows)
    run.log_metrics({"data/decisions": float(len(seen)), "data/visitors": float(len(np.unique(seen.person)))})
    run.log_metrics({f"seconds/{step.name}": step.seconds for step in meter.steps})


def _cells(gain: Gain) -> tuple[str, float, float, float, bool]:
    return gain.name, gain.strength, gain.mean, gain.error, gain.kept


def headline(fitted: ActionsFitted) -> str:
    """In one sentence what the policy looks at."""
    gains = fitted.beyond.gains
    kept = [gain.name for gain in gains[1:] if gain.kept]
    if kept:
        return f"What strangers are shown depends on {', '.join(kept)}."
    why = "too few decisions" if np.isnan(gains[0].mean) else "nothing of a visit clearly"
    tail = "to tell contexts apart" if why == "too few decisions" else "tells which action is better"
    return f"Strangers are all shown the same: {why} {tail}."
