"""`kokyaku train slots`: from a shop's drawn slots to policies on disk, for those that the gate lets through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from features import columns as c
from features.covariates import KNOWN
from features.dataset import Dataset
from features.shop import Shop
from serving.clock import shop_clock
from serving.config import ShopConfig, load_config
from serving.policy_files import write_policy
from training.meter import Meter, Tell
from training.offpolicy.replay import Replay
from training.session import silent
from training.slots.judging import SlotFound, SlotOptions
from training.slots.page import page_value
from training.slots.record import log_slots
from training.slots.shipping import slot_policy
from training.slots.study import SlotStudy, slot_study
from training.tracking import Tracking, Value
from training.uplift.log import DecisionLog
from training.uplift.reading import WINDOW
from training.uplift.record import log_wanted
from training.uplift.training import Wanted, inputs_of, readable, settings_of
from training.uplift.written import named

PAGE = "page."
"""What surfaces of pages begin with; the rest is the page's name in `shop.toml`."""


@dataclass(frozen=True, slots=True)
class SlotsWanted:
    """Which slots, and what is wanted of them.

    Args:
        surface: such as `page.home`.
        options: worth, costs, exploration; kinds that are named here count more than those of the shop's tables.
        slot: only this one; None: all of the surface.
        window: microseconds after a decision in which outcomes count.
        as_of: microseconds; what was recorded later is not known. None: everything.
    """

    surface: str
    options: SlotOptions
    slot: str | None = None
    window: int = WINDOW
    as_of: int | None = None

    @property
    def log(self) -> Wanted:
        """Which decisions these are."""
        return Wanted(self.options.study, None, self.surface, self.slot, self.window, self.as_of)


@dataclass(frozen=True)
class SlotsTrained:
    """What came of it.

    Args:
        found: the study.
        page: the whole page's value, or None where it has one slot.
        written: slot -> name of its policy, where the gate let it through.
        run_id: of the run in MLflow.
    """

    found: SlotStudy
    page: Replay | None
    written: Mapping[str, str]
    run_id: str


def train_slots(shop: Shop, wanted: SlotsWanted, tell: Tell = silent) -> SlotsTrained:
    """Read the drawn slots, learn, ask the gate, write what it lets through, and log everything to MLflow.

    Nothing serves before `shop.toml` names it.

    Args:
        shop: whose.
        wanted: which slots.
        tell: hears the progress of each step.

    Raises:
        DataError: no such decisions, nothing to compare, or a failed check that is not overridden.
        ConfigError: options that name what is not there.
    """
    meter = Meter()
    with meter.step("read"):
        log = readable(shop, wanted.log, history=True, only=servable)
        options = with_shop(Dataset(shop.dataset), load_config(shop.config), wanted)
    tags = {"kokyaku.shop": shop.id, "mlflow.source.name": "kokyaku train slots"}
    with Tracking(shop).run(f"slots {wanted.surface}", tags) as run:
        log_wanted(run, options.study, _settings(wanted, options, log), inputs_of(shop))
        with meter.step("study"):
            found = slot_study(log, options, tell)
        with meter.step("page"):
            page = page_value(found, next(iter(options.study.worth)))
        written = {
            slot.place.slot: _written(shop, found, slot, run.id)
            for slot in found.slots
            if slot.ruling.ships == "policy"
        }
        log_slots(run, found, page, written, meter)
    return SlotsTrained(found, page, written, run.id)


def servable(log: DecisionLog) -> DecisionLog:
    """The log without columns that serving does not know of a subject, which a note names."""
    kept = [at for at, name in enumerate(log.names) if name in KNOWN]
    strange = [name for name in log.names if name not in KNOWN]
    if not strange:
        return log
    words = log.words or ((),) * len(log.names)
    note = f"Not learned from, since serving does not know them: {', '.join(strange)}."
    return replace(
        log, features=log.features[:, kept], names=tuple(log.names[at] for at in kept),
        categorical=tuple(log.categorical[at] for at in kept), words=tuple(words[at] for at in kept),
        notes=(*log.notes, note),
    )  # fmt: skip


def with_shop(dataset: Dataset, config: ShopConfig, wanted: SlotsWanted) -> SlotOptions:
    """The options with what the shop's file and tables say of kinds, modules and positions."""
    page = config.pages.get(wanted.surface.removeprefix(PAGE))
    slots = page.slots if page and wanted.surface.startswith(PAGE) else ()
    own = wanted.options
    return replace(
        own, kinds={**kinds_told(dataset), **{name: each.kind for name, each in config.modules.items()}, **own.kinds},
        modules={slot.name: slot.modules for slot in slots} | dict(own.modules),
        positions={slot.name: at for at, slot in enumerate(slots)} | dict(own.positions),
    )  # fmt: skip


def kinds_told(dataset: Dataset) -> dict[str, str]:
    """Action -> kind, as the table of actions says last."""
    table: pa.Table = dataset.read("actions", (c.ACTION_ID, c.VALID_FROM, "kind")).sort_by(c.VALID_FROM)
    return dict(zip(table[c.ACTION_ID].to_pylist(), table["kind"].to_pylist(), strict=True))


def _written(shop: Shop, found: SlotStudy, slot: SlotFound, run_id: str) -> str:
    """Write a slot's policy; its name says of which slot and run it is, so it is never of another."""
    name = named(f"{slot.place.slot} {slot.spec.explore}", shop_clock(shop).now(), run_id)
    about = f"kokyaku train slots, run {run_id}, {int(slot.rows.sum()):,} decisions"
    write_policy(shop.policies, slot_policy(found, slot, name, about=about))
    return name


def _settings(wanted: SlotsWanted, options: SlotOptions, log: DecisionLog) -> dict[str, Value]:
    own: dict[str, Value] = {"explore": options.explore, "learner": options.learner, "draws": options.draws}
    return {**settings_of(wanted.log, log), **own}
