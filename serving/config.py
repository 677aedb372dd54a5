"""`shop.toml`: the shop's own words, in one file that a marketer can read.

`[model]` and `[gate]` belong to training and take effect with the next one. All other tables are live: read at start,
swapped when the file changes, and logged by hash with each decision. What each table holds is in `serving.settings`.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from features.errors import ConfigError
from serving.experiments import Arm, Experiment, SlotChange, changed
from serving.settings.access import AccessSettings
from serving.settings.actions import Action, Caps, Text
from serving.settings.asking import Option, ProjectRule, Question
from serving.settings.channels import Channel
from serving.settings.check import check
from serving.settings.defaults import DEFAULT_ACTIONS, DEFAULT_MODULES, DEFAULT_PAGES
from serving.settings.pages import FLOOR, Module, Page, Slot
from serving.settings.selection import Boost, Pin, Quota, SelectionSettings
from serving.settings.sequences import Exits, Sequence, SequenceStep
from serving.settings.shop import (
    ConsentSettings,
    GateSettings,
    JourneySettings,
    ModelSettings,
    QuietHours,
    RepurchaseSettings,
    ShopSettings,
)
from serving.settings.when import Hours, Received, When
from serving.strict import nearest

TABLES = (
    ShopSettings, ModelSettings, GateSettings, ConsentSettings, QuietHours, JourneySettings, RepurchaseSettings,
    SelectionSettings, Boost, Pin, Quota, Module, Page, Slot, Experiment, Arm, SlotChange, Channel, Action, Caps, Text,
    When, Hours, Received, Question, Option, ProjectRule, Sequence, SequenceStep, Exits, AccessSettings,
)  # fmt: skip
"""Every struct of the file, for the nearest valid name of a typo."""


class ShopConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The whole file; every table has defaults, so an empty file is a valid shop.

    Args:
        modules, actions: names that slots use; a shop's own come beside the usual ones, or take their place.
        segments: named conditions.
    """

    shop: ShopSettings = ShopSettings()
    model: ModelSettings = ModelSettings()
    gate: GateSettings = GateSettings()
    consent: ConsentSettings = ConsentSettings()
    quiet: QuietHours = QuietHours()
    journey: JourneySettings = JourneySettings()
    repurchase: RepurchaseSettings = RepurchaseSettings()
    selection: SelectionSettings = SelectionSettings()
    modules: dict[str, Module] = msgspec.field(default_factory=lambda: dict(DEFAULT_MODULES))
    actions: dict[str, Action] = msgspec.field(default_factory=lambda: dict(DEFAULT_ACTIONS))
    segments: dict[str, When] = msgspec.field(default_factory=dict)
    questions: dict[str, Question] = msgspec.field(default_factory=dict)
    projects: dict[str, ProjectRule] = msgspec.field(default_factory=dict)
    pages: dict[str, Page] = msgspec.field(default_factory=lambda: dict(DEFAULT_PAGES))
    experiments: dict[str, Experiment] = msgspec.field(default_factory=dict)
    channels: dict[str, Channel] = msgspec.field(default_factory=dict)
    sequences: dict[str, Sequence] = msgspec.field(default_factory=dict)
    access: AccessSettings = AccessSettings()

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any setting; logged with each decision."""
        told = msgspec.to_builtins(self, order="deterministic")
        # A file without what came later keeps the hash that it had.
        if not self.sequences:
            del told["sequences"]
        if not self.access.origins:
            del told["access"]
        selection = told["selection"]
        for later in ("pins", "quotas"):
            if not selection[later]:
                del selection[later]
        for boost in selection["boosts"]:
            if not boost["when"]:
                del boost["when"]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:12]

    def decided(self) -> Iterator[tuple[str, Slot]]:
        """Every slot, as its page has it and as arms of experiments have it, with where it is written."""
        for name, page in self.pages.items():
            yield from ((f"[pages.{name}] slot {slot.name}", slot) for slot in page.slots)
        for name, experiment in self.experiments.items():
            for arm, each in experiment.arms.items():
                for slot in self.pages[experiment.page].slots:
                    if slot.name in each.slots:
                        where = f"[experiments.{name}.arms.{arm}] slot {slot.name}"
                        yield where, changed(slot, each.slots[slot.name])

    def learned(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Every learned policy that is named: where, its name, and the modules or actions that it decides among."""
        for place, slot in self.decided():
            if slot.policy is not None:
                yield place, slot.policy, slot.modules
        for name, channel in self.channels.items():
            if channel.policy is not None:
                yield f"[channels.{name}]", channel.policy, channel.actions


def load_config(path: Path) -> ShopConfig:
    """Read `shop.toml`; a missing file is a shop with all defaults.

    Raises:
        ConfigError: as `read_config`, or a file that is not text.
    """
    if not path.exists():
        return ShopConfig()
    try:
        return read_config(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where=str(path), hint="save the file as UTF-8") from None


def read_config(text: str, where: str) -> ShopConfig:
    """The file's text as settings.

    Args:
        text: TOML.
        where: its name, for errors.

    Raises:
        ConfigError: not TOML, an unknown key (with the nearest valid one), a wrong value, or a name that leads nowhere.
    """
    try:
        config = msgspec.convert(tomllib.loads(text), ShopConfig)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=where) from None
    except RecursionError:
        raise ConfigError("not valid TOML: it is nested too deeply", where=where) from None
    except msgspec.ValidationError as error:
        raise explain(error, where=where) from None
    config = with_usual(config)
    check(config, where)
    return config


def with_usual(config: ShopConfig) -> ShopConfig:
    """The shop's own modules, actions and pages over the usual ones, which it need not write again."""
    pages = {name: _with_floor(page) for name, page in {**DEFAULT_PAGES, **config.pages}.items()}
    return msgspec.structs.replace(
        config,
        modules={**DEFAULT_MODULES, **config.modules},
        actions={**DEFAULT_ACTIONS, **config.actions},
        pages=pages,
    )


def _with_floor(page: Page) -> Page:
    """A page whose slots end in what cannot fail, but for those that may be empty and those that a policy decides."""
    slots = tuple(
        slot if slot.policy is not None or slot.may_be_empty or FLOOR in slot.modules
        else msgspec.structs.replace(slot, modules=(*slot.modules, FLOOR))
        for slot in page.slots
    )  # fmt: skip
    return msgspec.structs.replace(page, slots=slots)


def explain(error: msgspec.ValidationError, *, where: str) -> ConfigError:
    """A validation error as one line with the nearest valid name for a typo."""
    text = str(error)
    unknown = re.search(r"unknown field `([^`]*)`", text)
    hint = nearest(unknown.group(1), _all_keys()) if unknown else ""
    return ConfigError(text, where=where, hint=hint)


def _all_keys() -> list[str]:
    return sorted({field.encode_name for struct in (ShopConfig, *TABLES) for field in msgspec.structs.fields(struct)})
