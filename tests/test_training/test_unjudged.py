"""A bundle without a contest: it fills pages, knows nothing later than its moment, and is published nowhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import DataError
from features.moments import DAY, parse_instant
from features.shop import Shop
from serving import pages
from serving.artifact import publish_live
from serving.bundle import write_bundle
from serving.engine import Engine
from serving.repurchase import LEARNED
from serving.wire import PageRequest
from training.first_file import write_first
from training.fitting import Cut
from training.recipes import BASELINES
from training.split import buyers
from training.unjudged import SOURCES, unjudged_bundle

START = parse_instant("2025-01-01")


@pytest.fixture
def shop(tmp_path: Path, tiny_dataset: Path) -> Shop:
    """The tiny simulated shop with the words of the home sample."""
    made = Shop("home", tmp_path / "shop")
    shutil.copytree(tiny_dataset, made.dataset)
    write_first(made, "home", "a simulated shop")
    text = made.config.read_text(encoding="utf-8")
    made.config.write_text(
        text.replace("holdout = 0.02", "holdout = 0.0"), encoding="utf-8"
    )  # whoever asks is not held out
    return made


def test_it_fills_a_page_and_publishes_nothing(shop: Shop) -> None:
    bundle = unjudged_bundle(shop)
    assert {spec.name for spec in bundle.recipe.sources} == set(SOURCES)
    assert {"delivery.table", LEARNED, "context.hours.rarity"} <= set(bundle.arrays)
    assert not shop.bundles.exists() and not shop.mlflow_db.exists()
    write_bundle(shop.bundles / bundle.id, bundle)
    publish_live(shop.bundles, bundle.id)
    engine = Engine(shop, worker=None)
    page = pages.page(engine, PageRequest(user_id="somebody"), START + 100 * DAY)
    engine.close()
    assert all(slot["actionId"] for slot in page["slots"])
    assert any(slot["items"] for slot in page["slots"])


def test_nothing_later_than_its_moment_is_known(shop: Shop) -> None:
    """Buyers are those of the histories before it, whatever came since; early on there is little to learn."""
    moment = START + 20 * DAY
    bundle = unjudged_bundle(shop, moment)
    known = histories_as_of(Dataset(shop.dataset), moment)
    cut = Cut(known, moment)
    assert bundle.manifest["as_of"] == moment
    counted = dict(zip(cut.known.items, buyers(known, before=moment).tolist(), strict=True))
    shared = dict(zip(bundle.items, bundle.shared.buyers.tolist(), strict=True))
    assert {item: shared[item] for item in counted} == counted
    assert sum(shared.values()) == sum(counted.values()) > 0
    assert not any(name.startswith("delivery.") for name in bundle.arrays)
    assert (
        {spec.name for spec in bundle.recipe.sources} == set(BASELINES) == {*bundle.recipe.weights, bundle.recipe.fill}
    )


def test_before_the_first_event_there_is_nothing(shop: Shop) -> None:
    with pytest.raises(DataError, match="no events"):
        unjudged_bundle(shop, START - DAY)
