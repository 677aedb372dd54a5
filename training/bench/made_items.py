"""The bundle of a shop made for load: items in categories, and every kind of source that a trained shop has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from features.assemble import FINGERPRINT, SharedTables
from features.ids import Array, Vocabulary
from serving.bundle import Bundle, text_arrays
from serving.prior import DIMENSIONS
from serving.recipe import RankerSpec, Recipe, SourceSpec, as_json
from serving.scoring import ranking_names
from serving.sources.context import cell_key
from serving.sources.edges import with_edges
from serving.trees import Forest
from training.indexing import SAMPLE, with_index
from training.interactions import Fitted
from training.methods import resolved_recipe

Floats = npt.NDArray[np.float32]
REGIONS = ("Aichi", "Fukuoka", "Hokkaido", "Hyogo", "Kanagawa", "Kyoto", "Osaka", "Saitama", "Tokyo", "Miyagi")
DEVICES = ("desktop", "mobile", "tablet")
IN_CATEGORY = 500
"""Items of a category, about."""
NEIGHBOURS = (10, 200)
"""Of the item that sells least and of the one that sells most, as training would keep them."""
_TREES, _LEAVES = 200, 31
_VOICES = ("personal-frequency", "item-item", "ials", "replenishment", "wishlist", "session", "popularity")
_RECIPE = Recipe(
    "made",
    sources=(
        SourceSpec("popularity", "popularity"),
        SourceSpec("personal-frequency", "personal-frequency"),
        SourceSpec("ials", "factors", "ials"),
        SourceSpec("item-item", "neighbours", "cosine"),
        SourceSpec("context-popularity", "context-popularity"),
        SourceSpec("replenishment", "replenishment"),
        SourceSpec("wishlist", "wishlist"),
        SourceSpec("sequence", "sequence"),
        SourceSpec("session", "session"),
    ),
    weights={"personal-frequency": 1.0, "item-item": 0.5, "ials": 0.25},
    new_weights={"item-item": 1.0, "ials": 0.5},
    ranker=RankerSpec("made-trees", "binary", _VOICES),
    session_weight=0.5,
)


def made_bundle(rng: np.random.Generator, items: int, factors: int, as_of: int) -> Bundle:
    """A bundle of so many items; those of low rows sell most within their category."""
    popular = (1 + np.arange(items) % IN_CATEGORY) ** -0.8 * rng.lognormal(0, 0.5, items)
    popular /= popular.max()
    category = (np.arange(items) // IN_CATEGORY).astype(np.int32)
    arrays = {
        **_catalogue(rng, popular.astype(np.float32), category),
        **{f"source.{name}": array for name, array in _sources(rng, popular, category, factors).items()},
    }
    for task in ("all", "new"):
        forest = made_forest(rng, len(ranking_names(_VOICES))).arrays()
        arrays |= {f"ranker.made-trees.{task}.{name}": array for name, array in forest.items()}
        arrays[f"ranker.made-trees.{task}.offset"] = np.array([-3.0])
    manifest = {
        "bundle_id": f"made-for-load-{items}x{factors}", "as_of": as_of, "made_for": "load",
        "recipe": as_json(resolved_recipe(_RECIPE)), "features": FINGERPRINT,
    }  # fmt: skip
    return Bundle(manifest, arrays)


def _catalogue(rng: np.random.Generator, popular: Floats, category: npt.NDArray[np.int32]) -> dict[str, Array]:
    n = len(popular)
    buyers = np.ceil(20_000 * popular).astype(np.float32)
    price = np.round(rng.lognormal(3, 1, n), 2).astype(np.float32)
    shared = SharedTables(
        buyers=buyers, buyers_7d=buyers // 50, buyers_28d=buyers // 12, buyers_91d=buyers // 4,
        new_buyers_28d=buyers // 20, sales_28d=buyers // 10, repeat_share=rng.beta(2, 5, n).astype(np.float32),
        gap_days=rng.gamma(4, 12, n).astype(np.float32), price=price, age_days=rng.uniform(30, 900, n).astype("f4"),
        category=category, department=category // 10, brand=rng.integers(0, 2000, n).astype(np.int32),
    )  # fmt: skip
    codes = range(int(category.max()) + 1)
    return {
        **Vocabulary.of(f"item-{row:07d}" for row in range(n)).arrays("items"),
        **shared.arrays(),
        **text_arrays("title", [f"An item made for load, number {row}" for row in range(n)]),
        **text_arrays("brand", [f"Brand {code}" for code in shared.brand.tolist()]),
        **text_arrays("image_url", [""] * n),
        **text_arrays("category_path", [f"Department {code // 10} > Category {code}" for code in codes]),
        "item.catalogue": np.ones(n, bool),
        "item.price": price,
        "item.in_stock": rng.random(n) < 0.97,
    }


def _sources(
    rng: np.random.Generator, popular: npt.NDArray[np.float64], category: npt.NDArray[np.int32], factors: int
) -> dict[str, Array]:
    n = len(popular)
    centres = rng.normal(0, 0.3, (int(category.max()) + 1, factors))
    vectors = (centres[category] + rng.normal(0, 0.1, (n, factors))).astype(np.float32)
    cells = [cell_key({"region": region, "device": device}) for region in REGIONS for device in DEVICES]
    return {
        **_lists(rng, popular, len(REGIONS), min(n, 5_000_000 // len(REGIONS)), "popularity"),
        **Vocabulary.of(sorted(REGIONS)).arrays("popularity.regions"),
        "personal-frequency.popular": popular.astype(np.float32),
        **{f"ials.{name}": array for name, array in _factors(vectors, category).arrays.items()},
        **{f"{source}.{name}": array for source in ("item-item", "sequence", "session")
           for name, array in with_edges(made_neighbours(rng, popular, category)).items()},
        **_lists(rng, popular, len(cells), min(n, 300), "context-popularity"),
        **Vocabulary.of(cells).arrays("context-popularity.cells"),
        "context-popularity.dimensions": np.isin(DIMENSIONS, ("region", "device")),
        "replenishment.log_days": rng.normal(3.5, 0.5, n).astype(np.float32),
        "replenishment.spread": np.full(n, 0.5, np.float32),
        "replenishment.repeat": rng.beta(2, 3, n).astype(np.float32),
        "replenishment.shrinkage": np.array([0.5, 4.0]),
        "wishlist.edges": np.array([0.0, 14.0]),
        "wishlist.hazard": np.array([0.02, 0.005]),
        "wishlist.price_offsets": np.zeros(n + 1, np.int64),
        "wishlist.price_since": np.empty(0, np.int64),
        "wishlist.price": np.empty(0, np.float32),
    }  # fmt: skip


def _factors(vectors: Floats, category: npt.NDArray[np.int32]) -> Fitted:
    """Vectors, and an index over them for customers who lean to a category each, as the made ones do."""
    rng, n = np.random.default_rng(0), len(vectors)
    who = np.repeat(np.arange(SAMPLE), rng.geometric(1 / 20, SAMPLE))
    liked = np.where(rng.random(len(who)) < 0.6, rng.integers(0, n, SAMPLE)[who], rng.integers(0, n, len(who)))
    items = np.minimum(category[liked] * IN_CATEGORY + (IN_CATEGORY * rng.random(len(who)) ** 3).astype(int), n - 1)
    bought = sp.csr_matrix((np.ones(len(who), np.float32), (who, items)), (SAMPLE, n))
    fitted = Fitted({"item_factors": vectors, "gram": vectors.T @ vectors})
    return with_index(fitted, np.ones(n, bool), bought, alpha=1.0, regularization=0.01)


def _lists(
    rng: np.random.Generator, popular: npt.NDArray[np.float64], lists: int, length: int, name: str
) -> dict[str, Array]:
    """Lists that differ a little from each other; the last is of the whole shop."""
    scores = popular * np.vstack([rng.lognormal(0, 0.3, (lists, len(popular))), np.ones(len(popular))])
    order = np.argsort(-scores, axis=1)[:, :length]
    return {
        f"{name}.items": order.astype(np.int32),
        f"{name}.scores": np.take_along_axis(scores, order, axis=1).astype(np.float32),
    }


def made_neighbours(
    rng: np.random.Generator, popular: npt.NDArray[np.float64], category: npt.NDArray[np.int32]
) -> dict[str, Array]:
    """Neighbours within the category for the most part; who sells more has more of them."""
    n, (few, many) = len(popular), NEIGHBOURS
    counts = np.clip(many * popular**0.35, few, min(many, n // 4)).astype(np.int64)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    own = np.repeat(np.arange(n), counts)
    near = category[own] * IN_CATEGORY + rng.integers(0, IN_CATEGORY, len(own))
    far = rng.integers(0, n, len(own))
    found = np.where((rng.random(len(own)) < 0.8) & (near < n), near, far)
    found = np.where(found == own, (own + 1) % n, found)
    order = np.argsort(own * n + found, kind="stable")
    return {
        "indptr": indptr,
        "indices": found[order].astype(np.int32),
        "weights": rng.exponential(0.1, len(own)).astype(np.float32),
    }


def made_forest(rng: np.random.Generator, columns: int, trees: int = _TREES, leaves: int = _LEAVES) -> Forest:
    """Trees that split any of their leaves, so that they are as uneven as those that are grown leaf by leaf."""
    feature: list[int] = []
    threshold, value = [], []
    left: list[int] = []
    right: list[int] = []
    roots, deepest = [], 0
    for _ in range(trees):
        # Splitting a leaf at random, children behind their parents.
        depth, open_leaves, first = [0], [0], len(feature)
        asked: dict[int, tuple[int, int]] = {}
        while len(open_leaves) < leaves:
            split = open_leaves.pop(int(rng.integers(len(open_leaves))))
            asked[split] = (len(depth), len(depth) + 1)
            open_leaves += asked[split]
            depth += [depth[split] + 1] * 2
        for node in range(len(depth)):
            low, high = asked.get(node, (node, node))
            inner = node in asked
            feature.append(int(rng.integers(columns)) if inner else 0)
            threshold.append(float(rng.choice((0.5, 2.5, 10.5, 40.5, 200.5))) if inner else np.inf)
            left.append(first + low)
            right.append(first + high)
            value.append(0.0 if inner else float(rng.normal(0, 0.05)))
        roots.append(first)
        deepest = max(deepest, *depth)
    return Forest(
        np.array(feature, np.int32), np.array(threshold), np.array(left, np.int32), np.array(right, np.int32),
        rng.random(len(feature)) < 0.5, np.array(value), np.array(roots, np.int32), np.array([deepest], np.int32),
    )  # fmt: skip
