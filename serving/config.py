"""`shop.toml`: the shop's own words, in one file that a marketer can read.

`[model]` and `[gate]` belong to training and take effect with the next one. `[shop]`, `[selection]`, `[modules]`,
`[pages]`, `[channels]` and `[experiments]` are live: read at start, swapped when the file changes, and logged by hash
with each decision.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from features.confidence import EVENT_WEIGHTS, ConfidenceParams
from features.errors import ConfigError
from features.moments import zone
from serving.experiments import Arm, Experiment, SlotChange, changed, check_experiments
from serving.strict import Strict, nearest


class ShopSettings(Strict, frozen=True):
    """`[shop]`: who the shop is."""

    name: str = "Kokyaku demo shop"
    locale: Literal["en", "ja"] = "en"
    currency: str = "USD"
    time_zone: str = "UTC"
    holdout: float = 0.02
    """Share of customers who permanently get the page that is the same for all, so that the difference shows."""


class ModelSettings(Strict, frozen=True):
    """`[model]`: how history is weighed. Part of the bundle's fingerprint."""

    min_customers: int = 5
    """Items fewer customers bought are not recommended: what one household buys is nobody else's business."""
    window_days: float = 28.0
    """Length of the windows that models are tuned and judged on."""
    popularity_half_life_days: float = 28.0
    event_weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(EVENT_WEIGHTS))
    half_life_days: float = ConfidenceParams().half_life_days

    @property
    def confidence(self) -> ConfidenceParams:
        """The parameters of `features.confidence`."""
        return ConfidenceParams(self.event_weights, self.half_life_days)


class GateSettings(Strict, frozen=True):
    """`[gate]`: what a model must show before it may serve."""

    metric: str = "ndcg@20"
    guard_margin: float = 0.02
    """On *new*, the lower end of the paired interval may not fall below minus this share of the champion's value."""
    variety_margin: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.005
    """Variety of lists may cost this share of the metric on *all*, by the lower end of the paired interval: a quarter
    of the guard, so that a challenger is not refused for its variety. On *new* it may cost `guard_margin`.
    """
    resamples: int = 2000
    confidence: float = 0.95


class Boost(Strict, frozen=True):
    """`[[selection.boosts]]`: items that the shop wants shown more (factor above 1) or less (below 1).

    Args:
        factor: what their value is multiplied by; several boosts of one item multiply.
        category: items whose category path begins with this, or
        brand: items of this brand, or
        item_id: one item. Exactly one of the three.
        from_: the first day, in the shop's time zone; default: since ever. Written `from`.
        until: the day at whose beginning it ends; default: never.
    """

    factor: Annotated[float, msgspec.Meta(gt=0, le=1000)]
    category: str | None = None
    brand: str | None = None
    item_id: str | None = None
    from_: date | None = msgspec.field(name="from", default=None)
    until: date | None = None

    @property
    def target(self) -> tuple[str, str]:
        """Which key names the items, and what it says."""
        named = (("category", self.category), ("brand", self.brand), ("item-id", self.item_id))
        return next((key, text) for key, text in named if text is not None)


Objective = Literal["relevance", "revenue", "margin"]


class SelectionSettings(Strict, frozen=True):
    """`[selection]`: what the shop wants of its lists beside relevance. In force with the next request.

    Args:
        objective: `revenue` and `margin` multiply the score of an item by its value to the power of `strength`: its
            price, or its price less its cost, tax taken out.
        strength: from 0 (not at all) to 1 (expected revenue or margin, where the score is a probability).
        boosts: items to show more or less.
    """

    objective: Objective = "relevance"
    strength: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    boosts: tuple[Boost, ...] = ()


ModuleKind = Literal["buy-again", "wishlist", "for-you", "popular", "related-to-last-view", "session"]


class Module(Strict, frozen=True):
    """`[modules.<name>]`: a row of products that a slot can hold.

    Args:
        kind: where its items come from.
        title: heading by locale; `{item}` becomes the item that it is related to.
        size: items shown at most.
        minimum: with fewer the module is not shown at all.
    """

    kind: ModuleKind
    title: dict[str, str]
    size: int = 8
    minimum: int = 3


class Slot(Strict, frozen=True, omit_defaults=True):
    """A place on a page: the first module of the list that can be filled takes it, or the one that a policy draws.

    Args:
        name: of the slot.
        modules: what may take it.
        policy: name of a learned policy (`policies/<name>/`) that decides it; None: the first that can be filled.
        family: slots of one family draw alike, on every channel; default: the name.
        epoch_days: local days after which a subject's draw is made anew.
    """

    name: str
    modules: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    policy: str | None = None
    family: str | None = None
    epoch_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 1


class Page(Strict, frozen=True):
    """`[pages.<name>]`: slots from top to bottom."""

    slots: tuple[Slot, ...]


class Channel(Strict, frozen=True):
    """`[channels.<name>]`: a way on which one action at a time is sent or shown, such as e-mail.

    Args:
        actions: ids of what may be sent; nothing is always possible.
        policy: name of the learned policy that decides.
        family: slots and channels of one family give one answer; default: the channel's name.
        epoch_days: local days after which a subject is decided anew.
        purpose: what the subject must have agreed to.
    """

    actions: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=49)]
    policy: str
    family: str | None = None
    epoch_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 1
    purpose: str = "marketing"


DEFAULT_MODULES: dict[str, Module] = {
    "buy-again": Module("buy-again", {"en": "Buy again", "ja": "またお求めですか"}),
    "wishlist": Module("wishlist", {"en": "Because of your wishlist", "ja": "お気に入りから"}, minimum=1),
    "for-you": Module("for-you", {"en": "New for you", "ja": "あなたへのおすすめ"}),
    "popular": Module("popular", {"en": "Popular near you", "ja": "お近くで人気"}, minimum=1),
    "related": Module("related-to-last-view", {"en": "Goes with {item}", "ja": "{item} と一緒に"}),
}
DEFAULT_PAGES: dict[str, Page] = {
    "home": Page(
        (
            Slot("first", ("related", "wishlist", "buy-again", "for-you", "popular")),
            Slot("second", ("buy-again", "wishlist", "for-you", "popular")),
            Slot("third", ("wishlist", "for-you", "popular")),
            Slot("fourth", ("for-you", "popular")),
            Slot("last", ("popular",)),
        )
    )
}


class ShopConfig(Strict, frozen=True):
    """The whole file; every table has defaults, so an empty file is a valid shop."""

    shop: ShopSettings = ShopSettings()
    model: ModelSettings = ModelSettings()
    gate: GateSettings = GateSettings()
    selection: SelectionSettings = SelectionSettings()
    modules: dict[str, Module] = msgspec.field(default_factory=lambda: dict(DEFAULT_MODULES))
    pages: dict[str, Page] = msgspec.field(default_factory=lambda: dict(DEFAULT_PAGES))
    experiments: dict[str, Experiment] = msgspec.field(default_factory=dict)
    channels: dict[str, Channel] = msgspec.field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any setting; logged with each decision."""
        told = msgspec.to_builtins(self, order="deterministic")
        for late in ("experiments", "channels"):
            if not told[late]:
                del told[late]  # a file of before there were any keeps its hash
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
            yield f"[channels.{name}]", channel.policy, channel.actions


def load_config(path: Path) -> ShopConfig:
    """Read `shop.toml`; a missing file is a shop with all defaults.

    Raises:
        ConfigError: not TOML, an unknown key (with the nearest valid one), a wrong value, or a slot that names
            a module that is not there.
    """
    if not path.exists():
        return ShopConfig()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        config = msgspec.convert(data, ShopConfig)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(path)) from None
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where=str(path), hint="save the file as UTF-8") from None
    except msgspec.ValidationError as error:
        raise explain(error, where=str(path)) from None
    _check(config, str(path))
    return config


def _check(config: ShopConfig, where: str) -> None:
    try:
        zone(config.shop.time_zone)
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{where} [shop]", got=config.shop.time_zone, hint=error.hint) from None
    if not 0 <= config.shop.holdout <= 0.5:
        raise ConfigError("holdout is a share from 0 to 0.5", where=f"{where} [shop]", got=config.shop.holdout)
    for number, boost in enumerate(config.selection.boosts, start=1):
        _check_boost(boost, f"{where} [[selection.boosts]] number {number}")
    for page_name, page in config.pages.items():
        for slot in page.slots:
            for module in slot.modules:
                if module not in config.modules:
                    hint = nearest(module, list(config.modules))
                    raise ConfigError("no such module", where=f"{where} [pages.{page_name}]", got=module, hint=hint)
    check_experiments(config, where)


def _check_boost(boost: Boost, where: str) -> None:
    named = [text for text in (boost.category, boost.brand, boost.item_id) if text is not None]
    if len(named) != 1 or not named[0].strip():
        hint = "name exactly one of category, brand and item-id"
        raise ConfigError("a boost is of one thing", where=where, got=named, hint=hint)
    if boost.from_ and boost.until and boost.until <= boost.from_:
        got = (boost.from_.isoformat(), boost.until.isoformat())
        hint = "until is the day at whose beginning the boost ends"
        raise ConfigError("a boost that ends before it begins", where=where, got=got, hint=hint)


def explain(error: msgspec.ValidationError, *, where: str) -> ConfigError:
    """A validation error as one line with the nearest valid name for a typo."""
    text = str(error)
    unknown = re.search(r"unknown field `([^`]*)`", text)
    hint = nearest(unknown.group(1), _all_keys()) if unknown else ""
    return ConfigError(text, where=where, hint=hint)


def _all_keys() -> list[str]:
    structs = (
        ShopConfig, ShopSettings, ModelSettings, GateSettings, SelectionSettings, Boost, Module, Page, Slot, Experiment,
        Arm, SlotChange, Channel,
    )  # fmt: skip
    return [field.encode_name for struct in structs for field in msgspec.structs.fields(struct)]
