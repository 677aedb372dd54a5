"""A little house shop, provable by hand: furniture, pets, appliances, food, with the words of `samples/home.toml`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import serving
from features.assemble import FINGERPRINT, SharedTables
from features.ids import Vocabulary
from features.moments import DAY, format_instant, parse_instant
from features.shop import Shop
from serving.access import Access
from serving.artifact import publish_live
from serving.bundle import Bundle, text_arrays, write_bundle
from serving.clock import Clock
from serving.engine import Engine
from serving.http import routes
from serving.recipe import Recipe, SourceSpec, as_json
from serving.sources.context import cell_key

SAMPLE = Path(serving.__file__).parent / "samples" / "home.toml"
NOW = parse_instant("2026-12-01T03:00Z")
CATEGORIES = {
    "Furniture > Sofas": ("sofa", 3, 56.0),
    "Furniture > Cushions": ("cushion", 4, 2.0),
    "Furniture > Rugs": ("rug", 4, 10.0),
    "Furniture > Lamps": ("lamp", 4, 2.0),
    "Pets > Dog food": ("dogfood", 4, 1.0),
    "Pets > Cat food": ("catfood", 4, 1.0),
    "Appliances > Refrigerators": ("fridge", 4, 4.0),
    "Appliances > Water heaters": ("heater", 3, 2.0),
    "Food > Snacks": ("snack", 5, 1.0),
    "Household > Blankets": ("blanket", 4, 1.0),
}
ITEMS = [f"{stem}{n}" for stem, count, _ in CATEGORIES.values() for n in range(count)]
CATEGORY = np.repeat(np.arange(len(CATEGORIES)), [count for _, count, _ in CATEGORIES.values()]).astype(np.int32)
LEAD = np.repeat([days for _, _, days in CATEGORIES.values()], [count for _, count, _ in CATEGORIES.values()])
FAST = ("fridge0", "heater0")
"""Appliances that are in the warehouse: they come tomorrow."""
RECIPE = Recipe(
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


def row(item: str) -> int:
    """The item's row; items stand in sorted order."""
    return sorted(ITEMS).index(item)


def rows(*stems: str) -> list[int]:
    """Rows of all items of some kinds."""
    return [at for at, item in enumerate(sorted(ITEMS)) if item.rstrip("0123456789") in stems]


def _neighbours() -> dict[str, np.ndarray]:
    """Sofas go with one another and with the same room; everything else with its own kind."""
    room = rows("sofa", "cushion", "rug", "lamp")
    near: list[list[tuple[int, float]]] = []
    for at, item in enumerate(sorted(ITEMS)):
        kin = room if at in room else rows(item.rstrip("0123456789"))
        same = set(rows(item.rstrip("0123456789")))
        near.append([(other, 1.0 if other in same else 0.5) for other in kin if other != at])
    return {
        "indptr": np.cumsum([0, *(len(each) for each in near)]).astype(np.int64),
        "indices": np.array([other for each in near for other, _ in each], np.int32),
        "weights": np.array([weight for each in near for _, weight in each], np.float32),
    }


def _lists(*lists: list[int]) -> tuple[np.ndarray, np.ndarray]:
    width = max(len(each) for each in lists)
    items = np.full((len(lists), width), -1, np.int32)
    scores = np.zeros((len(lists), width), np.float32)
    for at, each in enumerate(lists):
        items[at, : len(each)] = each
        scores[at, : len(each)] = np.arange(len(each), 0, -1)
    return items, scores


def _hours() -> dict[str, np.ndarray]:
    """When things are looked at: appliances hardly ever at night, snacks at any hour."""
    paths = ("Appliances > Refrigerators", "Appliances > Water heaters", "Food > Snacks")
    rarity = np.ones((len(paths) + 1, 2, 24), np.float32)
    rarity[:2, :, :7] = rarity[:2, :, 22:] = 0.01
    return {
        **Vocabulary.of(paths).arrays("context.hours.paths"),
        **Vocabulary.of(["desktop", "phone"]).arrays("context.hours.devices"),
        "context.hours.rarity": rarity, "context.hours.looks": np.full((len(paths) + 1, 2), 5_000, np.int64),
    }  # fmt: skip


def build_house(bundle_id: str = "house-1") -> Bundle:
    """The house shop's bundle: what sells everywhere are snacks, in the north in winter blankets."""
    items, count = Vocabulary.of(sorted(ITEMS)), len(ITEMS)
    of = np.array([CATEGORY[ITEMS.index(item)] for item in sorted(ITEMS)], np.int32)
    lead = np.array([1.0 if item in FAST else LEAD[ITEMS.index(item)] for item in sorted(ITEMS)], np.float32)
    everywhere = [*rows("snack"), *(at for at in range(count) if at not in rows("snack"))]
    north = [*rows("blanket"), *rows("dogfood")]
    popular, popular_scores = _lists(north, everywhere)
    cells, cell_scores = _lists(north, everywhere)
    sources = {
        "popularity.items": popular, "popularity.scores": popular_scores,
        **Vocabulary.of(["north"]).arrays("popularity.regions"),
        **{f"{source}.{name}": array for source in ("item-item", "session") for name, array in _neighbours().items()},
        "context-popularity.items": cells, "context-popularity.scores": cell_scores,
        **Vocabulary.of([cell_key({"region": "north", "season": "winter"})]).arrays("context-popularity.cells"),
        "context-popularity.dimensions": np.array([True, True, False, False, False]),
        "replenishment.log_days": np.full(count, np.log(32), np.float32),
        "replenishment.spread": np.full(count, 0.2, np.float32),
        "replenishment.repeat": np.where(np.isin(of, [4, 5, 8]), 0.8, 0.02).astype(np.float32),
        "replenishment.shrinkage": np.array([0.5, 4.0]),
        "wishlist.edges": np.array([0.0, 14.0]), "wishlist.hazard": np.array([0.02, 0.005]),
        "wishlist.price_offsets": np.zeros(count + 1, np.int64), "wishlist.price_since": np.empty(0, np.int64),
        "wishlist.price": np.empty(0, np.float32),
    }  # fmt: skip
    ones = np.ones(count, np.float32)
    shared = SharedTables(
        buyers=10 * ones, buyers_7d=2 * ones, buyers_28d=5 * ones, buyers_91d=8 * ones, new_buyers_28d=3 * ones,
        sales_28d=7 * ones, repeat_share=0.5 * ones, gap_days=14 * ones, price=10 * ones, age_days=100 * ones,
        category=of, department=np.zeros(count, np.int32), brand=np.full(count, -1, np.int32),
    )  # fmt: skip
    arrays = {
        **items.arrays("items"), **shared.arrays(),
        **text_arrays("title", [f"The {item}" for item in sorted(ITEMS)]),
        **text_arrays("brand", [""] * count), **text_arrays("image_url", [""] * count),
        **text_arrays("category_path", list(CATEGORIES)),
        "item.catalogue": np.ones(count, bool), "item.lead_days": lead,
        **{f"source.{name}": array for name, array in sources.items()}, **_hours(),
    }  # fmt: skip
    manifest = {"bundle_id": bundle_id, "as_of": NOW, "recipe": as_json(RECIPE), "features": FINGERPRINT}
    return Bundle(manifest, arrays)


class House:
    """The shop over HTTP, whose clock the test moves."""

    def __init__(self, shop: Shop, engine: Engine, client: TestClient) -> None:
        self.shop, self.engine, self.client = shop, engine, client
        self.now = NOW

    def at(self, days: float = 0.0, hour: float | None = None) -> None:
        """So many days after the beginning; at that hour of the day (UTC) if it is given."""
        self.now = NOW + int(days * DAY)
        if hour is not None:
            self.now = self.now // DAY * DAY + int(hour / 24 * DAY)
        self.engine.clock = Clock(self.now - time.time_ns() // 1000)

    def post(self, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        """A call of the API."""
        answer = self.client.post(path, content=orjson.dumps(body))
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    def page(self, name: str = "home", **body: Any) -> dict[str, Any]:
        """A page; no item may stand on it twice, and no slot may be empty."""
        answer = self.post("/v1/pages", page=name, **body)
        shown = [item["itemId"] for slot in answer["slots"] for item in slot["items"]]
        assert len(shown) == len(set(shown))
        assert all(slot["actionId"] for slot in answer["slots"] if body.get("surface", "page") == "page")
        return answer

    def order(self, order: str, item: str, user: str, **told: Any) -> None:
        """One report of an order line, at this moment."""
        report = {"orderId": order, "itemId": item, "userId": user, **told}
        assert self.post("/v1/orders", orders=[report])["accepted"] == 1

    def events(self, *events: dict[str, Any]) -> None:
        """Events of this moment."""
        assert self.post("/v1/events", events=list(events))["accepted"] == len(events)

    def moment(self, days: float) -> str:
        """The instant so many days after the beginning, as on the wire."""
        return format_instant(NOW + int(days * DAY))


@pytest.fixture
def house(tmp_path) -> Iterator[House]:
    """The house shop, opened; everybody has agreed to a personal page and to mails, nobody is held out."""
    shop = Shop("house", tmp_path / "shop")
    shop.root.mkdir()
    key = shop.root / "secret.key"
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(32)))
    text = SAMPLE.read_text(encoding="utf-8").replace("holdout = 0.02", "holdout = 0.0")
    agreed = 'assumed = ["personalization", "marketing"]\nbasis = "they agreed"'
    text = text.replace('assumed = []\nbasis = ""', agreed)
    shop.config.write_text(text, encoding="utf-8")
    write_bundle(shop.bundles / "house-1", build_house())
    publish_live(shop.bundles, "house-1")
    engine = Engine(shop, worker="test")
    app = Starlette(routes=routes(lambda: engine, Access(dev=True)))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        made = House(shop, engine, client)
        made.at()
        yield made
    engine.close()


def actions(page: dict[str, Any]) -> list[str]:
    """What took the slots of a page, from top to bottom."""
    return [slot["actionId"] for slot in page["slots"]]


def items(page: dict[str, Any]) -> set[str]:
    """All items of a page."""
    return {item["itemId"] for slot in page["slots"] for item in slot["items"]}


def slot(page: dict[str, Any], action: str) -> dict[str, Any]:
    """The slot that holds an action."""
    return next(each for each in page["slots"] if each["actionId"] == action)
