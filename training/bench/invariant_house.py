"""A house shop for `kokyaku bench invariants`: a bundle made by hand over furniture, pets, appliances and food.

What it has learned is small and known: lists of what sells, what goes with what, and at which hours appliances are
looked at. So every rule of `serving/samples/home.toml` comes to pass, and a page costs little.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

import serving
from features.assemble import FINGERPRINT, SharedTables
from features.ids import Array, Vocabulary
from features.shop import Shop
from serving.artifact import publish_live
from serving.bundle import Bundle, text_arrays, write_bundle
from serving.effects import Blocked, Column, PolicySheet, Size, SlotPolicy
from serving.policies import PolicySpec
from serving.policy_files import write_policy
from serving.recipe import Recipe, SourceSpec, as_json
from serving.sources.context import cell_key

SAMPLE: Final = Path(serving.__file__).parent / "samples" / "home.toml"
LIMITS: Final = Path(__file__).parent / "invariants.toml"
"""What the sample has not: caps, capacities, policies, experiments, pages and messages."""
SHOP: Final = 'holdout = 0.08\ntime-zone = "Asia/Tokyo"'
EACH: Final = 24
"""Items of each category: more than the fullest page can take while several categories rest."""
CATEGORIES: Final = {
    "Furniture > Sofas": ("sofa", 56.0), "Furniture > Cushions": ("cushion", 2.0), "Furniture > Rugs": ("rug", 10.0),
    "Furniture > Lamps": ("lamp", 2.0), "Pets > Dog food": ("dogfood", 1.0), "Pets > Cat food": ("catfood", 1.0),
    "Appliances > Refrigerators": ("fridge", 4.0), "Appliances > Water heaters": ("heater", 2.0),
    "Food > Snacks": ("snack", 1.0), "Household > Blankets": ("blanket", 1.0),
}  # fmt: skip
"""Path -> the stem of its items' ids, and days from an order to its delivery."""
STEM: Final = {stem: path for path, (stem, _) in CATEGORIES.items()}
ITEMS: Final = tuple(sorted(f"{stem}{n:02}" for stem in STEM for n in range(EACH)))
LEARNED_DAYS: Final = {"Furniture > Rugs": 400.0, "Furniture > Lamps": 20.0, "Food > Snacks": 0.0}
"""What training would have learned of how long a category rests; unknown where it stands not here."""
NIGHT: Final = (*range(7), 22, 23)
"""Local hours at which hardly anybody looks at appliances."""
RARE: Final = 0.01
DEVICES: Final = ("desktop", "phone")
REGIONS: Final = ("north", "south")
_ROOM: Final = ("sofa", "cushion", "rug", "lamp")


def path_of(item: str) -> str:
    """The category path of an item."""
    return STEM[item.rstrip("0123456789")]


def unusual(path: str, device: str | None, hour: int) -> bool:
    """Whether it is unusual to look at a category on a device at a local hour, as the bundle has learned it."""
    return path.startswith("Appliances > ") and device in DEVICES and hour in NIGHT


def make_shop(root: Path, seed: int) -> Shop:
    """A shop with a bundle, policies and a file, ready to be opened; its secret comes of the seed."""
    shop = Shop("invariants", root)
    root.mkdir(parents=True)
    key = root / "secret.key"
    key.touch(mode=0o600)
    key.write_bytes(np.random.default_rng((71, seed)).bytes(32))
    text = SAMPLE.read_text(encoding="utf-8").replace("holdout = 0.02", SHOP)
    shop.config.write_text(text + LIMITS.read_text(encoding="utf-8"), encoding="utf-8")
    for policy in policies():
        write_policy(shop.policies, policy)
    write_bundle(shop.bundles / "house", build_bundle())
    publish_live(shop.bundles, "house")
    return shop


def policies() -> list[SlotPolicy]:
    """Three policies that explore, each in its own way; averages are invented."""
    hero = ("hero-pet", "hero-season", "offer-sofa", "tip-day", "weekend")
    rows = ("buy-again", "for-you", "popular", "related", "viewed", "wishlist")
    band = ("club", "day-offer", "for-you", "month-note", "north-winter", "popular")
    block = Blocked("weekend", "device", 0.5, None)
    return [
        _policy("hero-1", hero, explore="thompson", floor=0.02, draws=64, nothing=False, blocks=(block,)),
        _policy("rows-1", rows, explore="inverse-gap", gap=20.0, floor=0.01, nothing=False),
        _policy("band-1", band, explore="greedy", floor=0.05, nothing=True),
    ]


def _policy(name: str, actions: Iterable[str], *, blocks: tuple[Blocked, ...] = (), **spec: object) -> SlotPolicy:
    listed = tuple(sorted(actions))
    sizes = tuple(Size(0.01 * ((7 * at) % 5 - 1), 0.0, 0.0, 0.02) for at in range(len(listed)))
    made = PolicySpec(name, listed, {"click": 1.0}, **spec)  # type: ignore[arg-type]
    columns = (Column("device", DEVICES), Column("orders_28d"))
    return SlotPolicy(PolicySheet(made, columns, {"click": sizes}, blocks), {})


RECIPE: Final = Recipe(
    name="house",
    sources=(
        SourceSpec("popularity", "popularity"),
        SourceSpec("personal-frequency", "personal-frequency", params={"half_life_days": 30.0}),
        SourceSpec("item-item", "neighbours", "cosine"),
        SourceSpec("context-popularity", "context-popularity", "context-popularity"),
        SourceSpec("replenishment", "replenishment", "replenishment"),
        SourceSpec("wishlist", "wishlist", "wishlist"),
        SourceSpec("session", "session", "session"),
    ),
    weights={"personal-frequency": 1.0, "item-item": 0.5},
    new_weights={"item-item": 1.0},
)


def build_bundle() -> Bundle:
    """The house shop's bundle: snacks sell everywhere, blankets in the north in winter."""
    count, ones = len(ITEMS), np.ones(len(ITEMS), np.float32)
    paths = list(CATEGORIES)
    category = np.array([paths.index(path_of(item)) for item in ITEMS], np.int32)
    shared = SharedTables(
        buyers=10 * ones, buyers_7d=2 * ones, buyers_28d=5 * ones, buyers_91d=8 * ones, new_buyers_28d=3 * ones,
        sales_28d=7 * ones, repeat_share=0.5 * ones, gap_days=14 * ones, price=10 * ones, age_days=100 * ones,
        category=category, department=np.zeros(count, np.int32), brand=np.full(count, -1, np.int32),
    )  # fmt: skip
    lead = np.array([CATEGORIES[path_of(item)][1] for item in ITEMS], np.float32)
    lead[_rows("fridge", "heater")[::4]] = 1.0  # in the warehouse
    arrays = {
        **Vocabulary.of(list(ITEMS)).arrays("items"), **shared.arrays(),
        **text_arrays("title", [f"The {item}" for item in ITEMS]),
        **text_arrays("brand", [""] * count), **text_arrays("image_url", [""] * count),
        **text_arrays("category_path", paths),
        "item.catalogue": np.ones(count, bool), "item.lead_days": lead,
        "category.repurchase_days": np.array([LEARNED_DAYS.get(path, np.nan) for path in paths], np.float32),
        **{f"source.{name}": array for name, array in _sources(category).items()}, **_hours(),
    }  # fmt: skip
    manifest = {"bundle_id": "house", "as_of": 0, "recipe": as_json(RECIPE), "features": FINGERPRINT}
    return Bundle(manifest, arrays)


def _rows(*stems: str) -> npt.NDArray[np.int32]:
    return np.array([at for at, item in enumerate(ITEMS) if item.rstrip("0123456789") in stems], np.int32)


def _sources(category: npt.NDArray[np.int32]) -> dict[str, Array]:
    north = np.concatenate([_rows("blanket"), _rows("dogfood")])
    everywhere = np.concatenate([_rows("snack"), np.setdiff1d(np.arange(len(ITEMS)), _rows("snack"))]).astype(np.int32)
    popular, scores = _lists(north, everywhere)
    repeated = np.isin(category, [4, 5, 8])
    return {
        "popularity.items": popular, "popularity.scores": scores,
        **Vocabulary.of(["north"]).arrays("popularity.regions"),
        **{f"{source}.{name}": array for source in ("item-item", "session") for name, array in _neighbours().items()},
        "context-popularity.items": popular, "context-popularity.scores": scores,
        **Vocabulary.of([cell_key({"region": "north", "season": "winter"})]).arrays("context-popularity.cells"),
        "context-popularity.dimensions": np.array([True, True, False, False, False]),
        "replenishment.log_days": np.full(len(ITEMS), np.log(32), np.float32),
        "replenishment.spread": np.full(len(ITEMS), 0.2, np.float32),
        "replenishment.repeat": np.where(repeated, 0.8, 0.02).astype(np.float32),
        "replenishment.shrinkage": np.array([0.5, 4.0]),
        "wishlist.edges": np.array([0.0, 14.0]), "wishlist.hazard": np.array([0.02, 0.005]),
        "wishlist.price_offsets": np.zeros(len(ITEMS) + 1, np.int64), "wishlist.price_since": np.empty(0, np.int64),
        "wishlist.price": np.empty(0, np.float32),
    }  # fmt: skip


def _neighbours() -> dict[str, Array]:
    """Things of one room go with one another, everything else with its own kind; the own kind goes first."""
    near: list[npt.NDArray[np.int32]] = []
    for at, item in enumerate(ITEMS):
        stem = item.rstrip("0123456789")
        kin = _rows(*_ROOM) if stem in _ROOM else _rows(stem)
        near.append(kin[kin != at])
    own = [np.isin(each, _rows(item.rstrip("0123456789"))) for each, item in zip(near, ITEMS, strict=True)]
    return {
        "indptr": np.cumsum([0, *(len(each) for each in near)]).astype(np.int64),
        "indices": np.concatenate(near),
        "weights": np.where(np.concatenate(own), 1.0, 0.5).astype(np.float32),
    }


def _lists(*lists: npt.NDArray[np.int32]) -> tuple[Array, Array]:
    width = max(len(each) for each in lists)
    items = np.full((len(lists), width), -1, np.int32)
    scores = np.zeros((len(lists), width), np.float32)
    for at, each in enumerate(lists):
        items[at, : len(each)] = each
        scores[at, : len(each)] = np.arange(len(each), 0, -1)
    return items, scores


def _hours() -> dict[str, Array]:
    paths = sorted(CATEGORIES)
    rarity = np.ones((len(paths) + 1, len(DEVICES), 24), np.float32)
    for at, path in enumerate(paths):
        for place, device in enumerate(DEVICES):
            rare = [hour for hour in range(24) if unusual(path, device, hour)]
            rarity[at, place, rare] = RARE
    return {
        **Vocabulary.of(paths).arrays("context.hours.paths"),
        **Vocabulary.of(list(DEVICES)).arrays("context.hours.devices"),
        "context.hours.rarity": rarity, "context.hours.looks": np.full(rarity.shape[:2], 5_000, np.int64),
    }  # fmt: skip
