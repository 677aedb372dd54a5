"""Deliveries from a dataset to the report and the bundle: as of a moment, without the erased, with nobody in it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features import columns as c
from features.dataset import Dataset, ImportRecord
from features.errors import ConfigError, DataError
from features.moments import DAY
from features.schemas import ITEMS, ORDERS
from features.shop import Shop
from serving.bundle import Bundle, open_bundle, write_bundle
from serving.delivery import Deliveries
from serving.recipe import Recipe, SourceSpec
from serving.tombstones import Erased, token_of
from training.bench.delivery import command, measure, run, table_of
from training.delivery_asked import asked
from training.delivery_lines import kinds_of, read_lines
from training.delivery_proof import EVERYTHING, METHODS
from training.delivery_report import delivery_arrays, of_deliveries
from training.evidence import Evidence
from training.fitting import fit_bundle
from training.material import Material, load_material
from training.session import Session, TrainOptions, cut_at, open_session, silent

MakeShop = Callable[[Path], Shop]


def instants(*days: float | None) -> pa.Array:
    return pa.array([None if day is None else int(day * DAY) for day in days], pa.timestamp("us", tz="UTC"))


def rows_of(schema: pa.Schema, **columns: list | pa.Array) -> pa.Table:
    n = len(next(iter(columns.values())))
    return pa.table({
        field.name: columns.get(field.name, pa.nulls(n, field.type)) for field in schema
    }).cast(schema)  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two lines of one order, one of an erased customer, and two versions of an item."""
    found = Dataset(tmp_path / "dataset")
    orders = rows_of(
        ORDERS, order_id=["o1", "o1", "o1", "o1", "o2"], line=["1", "2", "1", "1", "1"],
        valid_from=instants(1, 1, 3, 2, 1), customer_id=["a", "a", "a", "a", "gone"], item_id=["x", "y", "x", "x", "x"],
        ordered_at=instants(0.5, None, 0.5, 0.5, 1), promised_at=instants(5, None, 6, None, 5),
        shipment_state=["confirmed", None, "delivered", "shipped", "confirmed"], source=["s"] * 5,
    )  # fmt: skip
    items = rows_of(
        ITEMS, item_id=["x", "x", "z"], valid_from=instants(0, 2, 0), category=[["A"], ["A", "B"], None],
        lead_time_days=[1.0, 40.0, None], source=["s"] * 3,
    )  # fmt: skip
    parts = {"orders": found.write_part("orders", orders, "one"), "items": found.write_part("items", items, "one")}
    found.commit(ImportRecord("one", "s", "2026-01-01T00:00:00Z", parts))
    return found


def test_lines_are_read_as_of_a_moment(dataset: Dataset) -> None:
    """Steps before it, oldest first; what the shop did not say is as the line has it by default."""
    lines = read_lines(dataset, 10 * DAY)
    assert [(line.order_id, line.line, line.item_id, line.state) for line in lines] == [
        ("o1", "1", "x", "delivered"), ("o1", "2", "y", "confirmed"), ("o2", "1", "x", "confirmed"),
    ]  # fmt: skip
    first, second, _ = lines
    assert (first.ordered_at, first.first_promised_at, first.promised_at) == (DAY // 2, 5 * DAY, 6 * DAY)
    assert second.ordered_at == DAY
    assert [step.at // DAY for step in first.steps] == [1, 2, 3]
    early = read_lines(dataset, 3 * DAY)
    assert [line.state for line in early] == ["shipped", "confirmed", "confirmed"]
    assert early == [line for each in lines if (line := each.as_of(3 * DAY)) is not None]
    assert read_lines(dataset, DAY) == []


def test_lines_of_the_erased_are_not_read(dataset: Dataset) -> None:
    """Those whose customer asked to be forgotten."""
    erased = Erased(b"secret", [token_of(b"secret", "c:gone")])
    assert {line.order_id for line in read_lines(dataset, 10 * DAY, erased.subject)} == {"o1"}


def test_items_are_what_they_were_at_the_moment(dataset: Dataset) -> None:
    """Lead time and category of the version then; an item that only orders name is of no kind."""
    then, now = kinds_of(dataset, DAY), kinds_of(dataset, 5 * DAY)
    assert list(now.items) == ["x", "y", "z"]
    assert (then.lead_class.tolist(), now.lead_class.tolist()) == ([0, -1, -1], [5, -1, -1])
    assert now.category.tolist() == [0, -1, -1]
    line = read_lines(dataset, 10 * DAY)[0]
    assert (then.of(line), now.of(line)) == ((0, 0, 0), (0, 0, 5))


def test_a_shop_without_deliveries_is_told_so(dataset: Dataset) -> None:
    """Too few, and none."""
    with pytest.raises(DataError, match="1 lines were delivered, and 200 are needed"):
        measure(dataset, "mine")
    empty = Dataset(dataset.root.parent / "empty")
    empty.commit(ImportRecord("none", "s", "2026-01-01T00:00:00Z", {}))
    with pytest.raises(DataError, match="no order lines"):
        measure(empty, "mine")
    with pytest.raises(ConfigError, match="without the name"):
        command(root=dataset.root)


@pytest.fixture(scope="module")
def trained(
    make_shop: MakeShop, tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Shop, str, Evidence, Bundle, Material]:
    """Evidence and a written bundle of the tiny shop."""
    shop = make_shop(tmp_path_factory.mktemp("deliveries"))
    shutil.copytree(tiny_dataset, shop.dataset)
    with open_session(shop, TrainOptions(), silent) as session:
        material = load_material(shop, session.config)
        bundle = bundle_with(session, material)
        write_bundle(shop.bundles / bundle.id, bundle)
        return shop, session.run.id, of_deliveries(session, material), bundle, material


def bundle_with(session: Session, material: Material) -> Bundle:
    cut = cut_at(session, material, material.as_of)
    recipe = Recipe("r", (SourceSpec("popularity", "popularity"),), {"popularity": 1.0})
    return fit_bundle(cut, recipe, tables=delivery_arrays(session, material, cut))


def test_serving_says_what_training_said(trained) -> None:
    """For open lines of the shop, the bundle from disk answers as the one in memory, by its own rows and codes."""
    shop, _, _, bundle, material = trained
    mapped = open_bundle(shop.bundles / bundle.id)
    mine, theirs = Deliveries.of(bundle), Deliveries.of(mapped)
    assert mine is not None
    assert theirs is not None
    lines = read_lines(material.dataset, material.as_of)
    kinds = kinds_of(material.dataset, material.as_of, items=mapped.items, category=mapped.shared.category)
    questions = asked(lines, kinds, material.as_of - 20 * DAY, material.as_of)
    assert len(questions) > 200
    sources = set()
    for each in questions:
        row = mapped.items.find(each.line.item_id)
        category = -1 if row is None else int(mapped.shared.category[row])
        said = theirs.predict(each.line, -1 if row is None else row, category, each.now)
        assert said == mine.predict(each.line, each.row, each.category, each.now)
        sources.add(said and said.source)
    assert {"item", "category"} <= sources


def test_no_person_is_in_the_arrays(trained) -> None:
    """Only numbers of items, categories and classes, a few megabytes at most."""
    _, _, _, bundle, _ = trained
    mine = {name: array for name, array in bundle.arrays.items() if name.startswith("delivery.")}
    assert len(mine) == 8
    assert {array.dtype.kind for array in mine.values()} <= {"f", "i"}
    assert sum(array.nbytes for array in mine.values()) < 4e6


def test_the_report_tells_shows_and_logs(trained) -> None:
    """Sentences with coverage, one picture, tables, and figures that agree with them."""
    shop, run_id, evidence, _, _ = trained
    from training.tracking import Tracking

    assert evidence.sentences[0].startswith("When an order arrives is predicted as an interval")
    assert evidence.plots["deliveries"].startswith(b"\x89PNG")
    figures = Tracking(shop)._client.get_run(run_id).data.metrics
    folder = shop.mlflow_artifacts / run_id / "artifacts" / "tables"
    table = list(csv.DictReader((folder / "deliveries.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["method"] for row in table} == set(METHODS)
    whole = next(row for row in table if (row["slice"], row["method"]) == (EVERYTHING, "kokyaku"))
    assert figures["delivery/kokyaku/coverage"] == pytest.approx(float(whole["coverage"]))
    assert f"{float(whole['coverage']):.1%}" in evidence.sentences[0]
    choices = list(csv.DictReader((folder / "delivery-choices.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["state"] for row in choices][:3] == ["confirmed", "in_production", "shipped"]


def test_a_shop_without_orders_has_a_sentence_and_no_arrays(make_shop, tiny_dataset, tmp_path) -> None:
    """Its training goes on as before."""
    shop = make_shop(tmp_path / "shop")
    shutil.copytree(tiny_dataset, shop.dataset)
    with open_session(shop, TrainOptions(), silent) as session:
        material = load_material(shop, session.config)
        session.order_lines = []
        assert of_deliveries(session, material) == Evidence(
            ["No delivery is predicted: the shop has no order lines with states."]
        )
        assert delivery_arrays(session, material, cut_at(session, material, material.as_of)) == {}
        assert Deliveries.of(bundle_with(session, material)) is None


def test_the_bench_measures_the_simulated_shop(tmp_path: Path) -> None:
    """Rows of all methods and slices, with intervals about the coverage; coverage about as it is claimed."""
    result, proof = run("tiny", 1, cache=tmp_path)
    found = {(row.task, row.subject, row.metric): row for row in result.rows}
    ours = found[EVERYTHING, "kokyaku", "coverage"]
    assert ours.low is not None
    assert ours.high is not None
    assert ours.low < ours.value < ours.high
    assert ours.value == pytest.approx(0.8, abs=0.1)
    for method in METHODS:
        assert found[EVERYTHING, method, "mean-width"].value > 0
        assert found[EVERYTHING, method, "mean-width"].unit == "days"
    parts = [row.value for (task, method, metric), row in found.items()
             if (method, metric) == ("kokyaku", "questions") and task.startswith("state")]  # fmt: skip
    assert sum(parts) == found[EVERYTHING, "kokyaku", "questions"].value
    assert len(table_of(proof).rows) == len(proof.parts)
    assert np.isfinite(proof.undecided)
    assert c.ORDER_ID not in {row.metric for row in result.rows}
