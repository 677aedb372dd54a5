"""A provable little world: eight items in two groups, and a published shop of it."""

from __future__ import annotations

import numpy as np
import pytest

from features.assemble import FINGERPRINT, SharedTables
from features.history import History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from features.text import event_key
from serving.bundle import Bundle, text_arrays
from serving.recipe import Recipe, SourceSpec, as_json
from serving.sources.context import cell_key

SHOP_TOML = """[consent]
assumed = ["personalization"]
basis = "they agreed"
[shop]
holdout = 0.0
"""
"""Of the toy shop: nobody is held out, everybody has agreed."""
ITEMS = ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]
AS_OF = 20_000 * DAY
RECIPE = Recipe(
    name="blend",
    sources=(
        SourceSpec("popularity", "popularity"),
        SourceSpec("personal-frequency", "personal-frequency", params={"half_life_days": 30.0}),
        SourceSpec("ials", "factors", "ials", {"regularization": 0.1, "alpha": 10.0}),
        SourceSpec("item-item", "neighbours", "cosine"),
        SourceSpec("context-popularity", "context-popularity", "context-popularity"),
        SourceSpec("replenishment", "replenishment", "replenishment"),
        SourceSpec("wishlist", "wishlist", "wishlist"),
        SourceSpec("sequence", "sequence", "sequence"),
        SourceSpec("session", "session", "session"),
    ),
    weights={"personal-frequency": 1.0, "item-item": 0.5, "ials": 0.25},
    new_weights={"item-item": 1.0, "ials": 0.5},
)


def group_neighbours() -> dict[str, np.ndarray]:
    """Every item neighbours the other three of its group, the nearer number with more weight."""
    rows = [[(j, 1.0 / (1 + abs(i - j))) for j in range(8) if j != i and j // 4 == i // 4] for i in range(8)]
    return {
        "indptr": np.arange(0, 25, 3, dtype=np.int64),
        "indices": np.array([j for row in rows for j, _ in row], np.int32),
        "weights": np.array([w for row in rows for _, w in row], np.float32),
    }


def build_toy_bundle(bundle_id: str = "toy-1", recipe: Recipe = RECIPE) -> Bundle:
    items = Vocabulary.of(ITEMS)
    factors = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
    sources = {
        "popularity.items": np.array([[4, 5, 6, 7, -1, -1, -1, -1], [0, 1, 2, 3, 4, 5, 6, 7]], np.int32),
        "popularity.scores": np.array([[4, 3, 2, 1, 0, 0, 0, 0], [8, 7, 6, 5, 4, 3, 2, 1]], np.float32),
        **Vocabulary.of(["north"]).arrays("popularity.regions"),
        "ials.item_factors": factors,
        "ials.gram": factors.T @ factors,
        **{f"{source}.{name}": array for source in ("item-item", "sequence", "session")
           for name, array in group_neighbours().items()},
        "context-popularity.items": np.array([[6, 7, -1], [0, 1, 2]], np.int32),
        "context-popularity.scores": np.array([[0.5, 0.3, 0], [0.4, 0.3, 0.2]], np.float32),
        **Vocabulary.of([cell_key({"region": "north", "device": "phone"})]).arrays("context-popularity.cells"),
        "context-popularity.dimensions": np.array([True, False, False, True, False]),
        "replenishment.log_days": np.full(8, np.log(28), np.float32),
        "replenishment.spread": np.full(8, 0.4, np.float32),
        "replenishment.repeat": np.full(8, 0.6, np.float32),
        "replenishment.shrinkage": np.array([0.5, 4.0]),
        "wishlist.edges": np.array([0.0, 14.0]),
        "wishlist.hazard": np.array([0.02, 0.005]),
        "wishlist.price_offsets": np.zeros(9, np.int64),
        "wishlist.price_since": np.empty(0, np.int64),
        "wishlist.price": np.empty(0, np.float32),
    }  # fmt: skip
    ones = np.ones(8, np.float32)
    shared = SharedTables(
        buyers=10 * ones, buyers_7d=2 * ones, buyers_28d=5 * ones, buyers_91d=8 * ones, new_buyers_28d=3 * ones,
        sales_28d=7 * ones, repeat_share=0.5 * ones, gap_days=14 * ones,
        price=np.arange(1, 9, dtype=np.float32), age_days=100 * ones, category=np.repeat([0, 1], 4).astype(np.int32),
        department=np.zeros(8, np.int32), brand=np.full(8, -1, np.int32),
    )  # fmt: skip
    arrays = {
        **items.arrays("items"),
        **shared.arrays(),
        **text_arrays("title", [f"Title {name}" for name in ITEMS]),
        **text_arrays("brand", [""] * 8),
        **text_arrays("image_url", [""] * 8),
        **text_arrays("category_path", ["Group > A", "Group > B"]),
        "item.catalogue": np.ones(8, bool),
        **{f"source.{name}": array for name, array in sources.items()},
    }
    manifest = {"bundle_id": bundle_id, "as_of": AS_OF, "recipe": as_json(recipe), "features": FINGERPRINT}
    return Bundle(manifest, arrays)


def build_history(*events: tuple[str, str, float]) -> History:
    """Events as (type, item, days before AS_OF)."""
    ordered = sorted(events, key=lambda event: -event[2])
    count = len(ordered)
    time = np.array([AS_OF - int(days * DAY) for _, _, days in ordered], np.int64)
    return History(
        time=time,
        recorded=time.copy(),
        item=np.array([ITEMS.index(item) for _, item, _ in ordered], np.int32),
        type=np.array([EventType[kind.upper()] for kind, _, _ in ordered], np.int8),
        quantity=np.ones(count, np.float32),
        value=np.full(count, 2.0, np.float32),
        key=np.array([event_key(f"e{n}") for n in range(count)], np.uint64),
    )


@pytest.fixture(scope="session")
def toy_bundle() -> Bundle:
    """Two groups of four items with every kind of source."""
    return build_toy_bundle()


@pytest.fixture(scope="session")
def history_of():
    """Builds a history from (type, item, days ago) triples."""
    return build_history


@pytest.fixture(scope="session")
def make_toy_bundle():
    """Builds toy bundles of other ids and recipes."""
    return build_toy_bundle


@pytest.fixture
def toy_shop(tmp_path):
    """A shop whose toy bundle is published and serves; nobody is held out, draws are alike at every run."""
    from features.shop import Shop
    from serving.artifact import publish_live
    from serving.bundle import write_bundle

    shop = Shop("toy", tmp_path / "shop")
    shop.root.mkdir()
    key = shop.root / "secret.key"
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(32)))
    shop.config.write_text(SHOP_TOML)
    write_bundle(shop.bundles / "toy-1", build_toy_bundle())
    publish_live(shop.bundles, "toy-1")
    return shop


@pytest.fixture
def toy_engine(toy_shop):
    """The toy shop, opened for serving at the moment of its bundle."""
    from serving.clock import set_clock
    from serving.engine import Engine

    set_clock(toy_shop, AS_OF)
    engine = Engine(toy_shop, worker="test")
    yield engine
    engine.close()


@pytest.fixture
def client(toy_engine):
    """The HTTP face over the toy shop, in development mode."""
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from serving.access import Access
    from serving.http import routes

    app = Starlette(routes=routes(lambda: toy_engine, Access(dev=True)))
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        yield opened


@pytest.fixture
def started(toy_shop, tmp_path):
    """Starts services of the toy shop, as processes, and stops them at the end."""
    from serving.clock import set_clock
    from tests.test_serving.running import Process

    set_clock(toy_shop, AS_OF)
    running: list[Process] = []

    def start(kind: type[Process] = Process, **environment: str) -> Process:
        running.append(kind(toy_shop, tmp_path / "service.log", **environment))
        return running[-1]

    yield start
    for process in running:
        process.stop()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of these tests' own; skips where none is installed. Who stops it starts it again."""
    from tests.test_serving.postgres_server import PostgresServer

    server = PostgresServer()
    yield server
    server.remove()
