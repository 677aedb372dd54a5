"""The training run from end to end on the tiny simulated shop: what it judges, publishes, logs and refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from features import columns as c
from features.dataset import Dataset
from features.errors import DataError, GateRefusalError
from features.moments import DAY
from features.shop import Shop
from serving.artifact import live_name
from serving.bundle import open_live_bundle
from serving.query import Query
from serving.questions import Hours
from serving.ranker import Ranker
from training import methods, sanity
from training.batch import open_answerer
from training.conclusion import Outcome
from training.publish import manifest_of, models, rollback, verdict_of
from training.session import TrainOptions
from training.tracking import CHAMPION, Tracking
from training.train import train

MakeShop = Callable[[Path], Shop]
Heard = list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, make_shop: MakeShop, tiny_dataset: Path) -> tuple[Shop, Outcome]:
    """A shop after its first training."""
    shop = make_shop(tmp_path_factory.mktemp("first"))
    shutil.copytree(tiny_dataset, shop.dataset)
    return shop, train(shop)


@pytest.fixture
def shop(first: tuple[Shop, Outcome], tmp_path: Path) -> Shop:
    """A copy of the trained shop, to be changed."""
    shutil.copytree(first[0].root, tmp_path / "copy")
    return Shop("toy", tmp_path / "copy")


def test_the_first_training_ends_in_something_that_serves(first: tuple[Shop, Outcome]) -> None:
    """The winner is no worse than any plain baseline, is promoted, and its bundle answers."""
    shop, outcome = first
    assert outcome.promoted
    assert outcome.verdict.accepted
    assert outcome.verdict.champion is None
    values = {row.recipe: row.all[0] for row in outcome.verdict.table}
    assert set(values) == {
        "popularity", "personal-frequency", "ials", "bpr", "item-item", "ease", "graph-filter", "content",
        "co-purchase", "replenishment", "wishlist", "sequence", "context-popularity",
        "frequency+ials", "frequency+item-item", "frequency+ease",
    }  # fmt: skip
    assert values[outcome.verdict.winner] >= 0.98 * max(values["popularity"], values["personal-frequency"])
    bundle = open_live_bundle(shop.bundles)
    assert bundle is not None
    assert bundle.recipe.name == outcome.verdict.winner
    assert {spec.kind for spec in bundle.recipe.sources} >= {"popularity", "personal-frequency", "neighbours"}
    assert "session" in {spec.kind for spec in bundle.recipe.sources}  # for pages: nobody is there to be judged on
    heard = [note for note in outcome.report.notes if note.startswith("Rankers listen to those")]
    assert len(heard) == 1
    assert "popularity " in heard[0]
    weighed = [note for note in outcome.report.notes if note.startswith("While a session runs it counts")]
    assert len(weighed) == 1  # in this shop people buy what they have just looked at
    assert bundle.recipe.session_weight > 0
    assert bundle.recipe.session == "session"
    hours = Hours.from_arrays(bundle.arrays)
    assert hours is not None
    assert set(bundle.categories) <= set(hours.paths)
    answerer = open_answerer(shop)
    rows = answerer.answer(answerer.histories.subjects[0].removeprefix("c:"), 10)
    assert len(rows) == 10


def test_everything_is_logged(first: tuple[Shop, Outcome]) -> None:
    """One run with one nested run a recipe; parameters, intervals, slices, costs, inputs, plots, tables and report."""
    shop, outcome = first
    tracking = Tracking(shop)
    client, run = tracking._client, tracking._client.get_run(outcome.run_id)
    assert run.info.status == "FINISHED"
    assert {"data_hash", "preset", "judged_window", "model.min-customers", "gate.metric", "version.implicit"} <= set(
        run.data.params
    )
    assert {"seconds/total", "peak_mb/highest", "seconds/fit ials _judged window_", "winner/all"} <= set(
        run.data.metrics
    )
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{outcome.run_id}'")
    assert {child.info.run_name for child in children} == {row.recipe for row in outcome.verdict.table}
    ials = next(child for child in children if child.info.run_name == "ials")
    expected = ("all/ndcg_at_20", "all/ndcg_at_20/low", "new/recall_at_10", "all/map_at_20", "all/coverage_at_20",
                "all/novelty_at_20", "all/diversity_at_20", "new/category-coverage_at_20",
                "all/ndcg_at_20/light customers", "all/ndcg_at_20/repeat items")  # fmt: skip
    assert [name for name in expected if name not in ials.data.metrics] == []
    assert ials.data.params["ials.factors"] == "64"
    folder = shop.mlflow_artifacts / outcome.run_id / "artifacts"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files >= {
        "report.html", "inputs.json", "verdict.json", "tables/recipes.csv", "tables/tuning.csv", "tables/variety.csv",
        "tables/steps.csv", "tables/category-lists.csv",
        "plots/comparison.png", "plots/differences.png", "plots/slices.png", "plots/coverage.png", "plots/variety.png",
        "plots/months.png",
        "bundle/recipe.json", "bundle/manifest.json", "bundle/verdict.json",
    }  # fmt: skip
    assert "**" in run.data.tags["mlflow.note.content"]
    assert any(
        said.startswith(("In lists of a category", "Lists of a category are not measured"))
        for said in outcome.report.findings
    )
    assert any(said.startswith(("The score of", "On all purchases the score of")) for said in outcome.report.findings)


def test_no_customer_is_in_the_tracking_store(first: tuple[Shop, Outcome]) -> None:
    """Neither the database nor any artefact holds a customer's or visitor's id."""
    shop, _ = first
    table = Dataset(shop.dataset).read("events", [c.CUSTOMER_ID, c.VISITOR_ID])
    ids = {str(text).encode() for name in table.column_names for text in table[name].unique().to_pylist() if text}
    assert len(ids) > 200
    kept = [path for path in shop.mlflow_artifacts.rglob("*") if path.is_file() and path.suffix != ".png"]
    for path in (*kept, shop.mlflow_db):
        content = path.read_bytes()
        assert not [name for name in ids if name in content], path


def test_the_second_training_on_the_same_data_changes_nothing(shop: Shop) -> None:
    """Same data, same winner: nothing is published, what serves goes on serving, and it is said."""
    before = live_name(shop.bundles)
    outcome = train(shop)
    assert (outcome.version, outcome.promoted) == (None, False)
    assert live_name(shop.bundles) == before
    assert len(models(shop)) == 1
    assert outcome.report.outcome.startswith("Nothing new was published")


def test_grown_data_renew_what_serves(make_shop: MakeShop, tiny_dataset: Path, tmp_path: Path) -> None:
    """Trained as of a month ago, then on everything: the bundle is renewed by a verdict, and rollback returns."""
    shop = make_shop(tmp_path)
    shutil.copytree(tiny_dataset, shop.dataset)
    end = int(Dataset(shop.dataset).read("events", [c.OCCURRED_AT])[c.OCCURRED_AT].to_numpy().max().astype("int64"))
    old = train(shop, TrainOptions(as_of=end - 28 * DAY))
    first_bundle = open_live_bundle(shop.bundles)
    assert first_bundle is not None
    assert first_bundle.as_of == end - 28 * DAY
    new = train(shop)
    assert new.promoted
    assert new.version is not None
    live = open_live_bundle(shop.bundles)
    assert live is not None
    assert live.as_of > first_bundle.as_of
    verdict = verdict_of(Tracking(shop), new.version)
    assert (verdict.accepted, verdict.champion_bundle) == (True, first_bundle.id)
    if not new.verdict.accepted:  # then the champion's own recipe was fitted on the newer data
        assert live.recipe.weights == first_bundle.recipe.weights
    assert rollback(shop).bundle_id == first_bundle.id
    assert old.version is not None


def test_an_as_of_in_the_past_is_published_but_does_not_serve(shop: Shop) -> None:
    """What was known then: the run sees nothing later, its bundle answers `batch --as-of`, the newer one serves on."""
    live = live_name(shop.bundles)
    champion = Tracking(shop).alias(CHAMPION)
    assert champion is not None
    moment = int(manifest_of(Tracking(shop), champion)["as_of"]) - 20 * DAY
    outcome = train(shop, TrainOptions(as_of=moment))
    assert outcome.version is not None
    assert not outcome.promoted
    assert live_name(shop.bundles) == live
    assert any("was not promoted" in note for note in outcome.report.notes)
    answerer = open_answerer(shop, as_of=moment)
    assert answerer.ranker.bundle.id == outcome.version.bundle_id
    assert answerer.histories.events.time.max() < moment


def test_no_promote_leaves_the_pointer(make_shop: MakeShop, tiny_dataset: Path, tmp_path: Path) -> None:
    """--no-promote registers and publishes, and nothing serves."""
    shop = make_shop(tmp_path)
    shutil.copytree(tiny_dataset, shop.dataset)
    outcome = train(shop, TrainOptions(promote=False))
    assert outcome.version is not None
    assert (outcome.promoted, live_name(shop.bundles)) == (False, None)
    assert [line.state for line in models(shop)] == ["accepted"]


def test_too_little_data_falls_back_to_popularity(make_shop: MakeShop, make_dataset: Callable[..., Dataset],
                                                  tmp_path: Path) -> None:  # fmt: skip
    """Three customers and two days: no failure but sentences, and a bundle that answers with what sells."""
    shop = make_shop(tmp_path)
    shop.config.write_text("[model]\nmin-customers = 1\n")
    bought = [("ann", "tea", "2017-03-01"), ("bob", "tea", "2017-03-02"), ("cat", "cup", "2017-03-02")]
    make_dataset(shop.dataset, events=[{"customer_id": who, "item_id": what, "at": at} for who, what, at in bought])
    outcome = train(shop)
    assert (outcome.verdict.winner, outcome.promoted) == ("popularity", True)
    assert any("too few to judge" in note for note in outcome.report.notes)
    bundle = open_live_bundle(shop.bundles)
    assert bundle is not None
    slate = Ranker(bundle).rank(Query(now=bundle.as_of, history=open_answerer(shop).histories.at(0), num_results=2))
    assert [bundle.items[int(row)] for row in slate.items] == ["tea", "cup"]
    again = train(shop)
    assert (again.version, again.verdict.winner) == (None, "popularity")


def test_a_source_that_cannot_be_fitted_is_left_out_and_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """EASE breaks: its recipes do not compete, the report says why, and the gate still decides."""

    def broken(*_: object, **__: object) -> None:
        raise DataError("the matrix cannot be inverted", where="ease")

    method = methods.METHODS["ease"]
    broken_method = methods.Method(method.kind, method.params, broken)
    monkeypatch.setattr(methods, "METHODS", {**methods.METHODS, "ease": broken_method})
    outcome = train(shop)
    assert not any("ease" in row.recipe for row in outcome.verdict.table if row.role == "candidate")
    assert any(
        note.startswith("ease is left out: ease: the matrix cannot be inverted") for note in outcome.report.notes
    )


def test_an_insane_refit_is_not_published(
    make_shop: MakeShop, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that answers unlike the judged one stops the run with the reason; nothing serves."""
    shop = make_shop(tmp_path)
    shutil.copytree(tiny_dataset, shop.dataset)
    odd = {"overlap": 0.01, "coverage-ratio": 1.0, "score-ratio": 1.0, "full-lists": 1.0, "bad-scores": 0.0}
    monkeypatch.setattr(sanity, "figures", lambda *_: odd)
    with pytest.raises(GateRefusalError, match=r"share only 1\.0%"):
        train(shop)
    assert live_name(shop.bundles) is None
    assert models(shop) == []
    tracking = Tracking(shop)
    runs = tracking._client.search_runs([tracking._experiment], "tags.error LIKE '%not sane%'")
    assert [run.info.status for run in runs] == ["FAILED"]


def test_a_champion_of_other_parameters_is_judged_beside_todays_recipes(shop: Shop) -> None:
    """After the shop changed its weights of events, the champion's recipe keeps its own and is judged as it serves."""
    before = open_live_bundle(shop.bundles)
    assert before is not None
    shop.config.write_text("[model]\nhalf-life-days = 45.0\n")
    outcome = train(shop, TrainOptions(promote=False))
    champion = next(row for row in outcome.verdict.table if row.role == "champion")
    assert champion.recipe in (f"{before.recipe.name} (serving)", before.recipe.name)
    assert any(row.recipe == "frequency+ials" for row in outcome.verdict.table)


def test_without_a_dataset_nothing_is_made(tmp_path: Path) -> None:
    """The error says what to do, and no empty store is left behind."""
    shop = Shop("empty", tmp_path / "shop")
    with pytest.raises(DataError, match="import something first"):
        train(shop)
    assert not shop.mlflow_db.exists()


def test_before_the_first_event_there_is_nothing_to_learn(shop: Shop) -> None:
    """--as-of before the shop's time is a sentence, not a traceback."""
    with pytest.raises(DataError, match=r"no events before 1980-01-01"):
        train(shop, TrainOptions(as_of=315_532_800_000_000))


def test_progress_is_told_to_the_end(shop: Shop) -> None:
    """Every line that begins also ends."""
    heard: Heard = []
    train(shop, tell=lambda what, done, total: heard.append((what, done, total)))
    last = {what: (done, total) for what, done, total in heard}
    assert {"read the dataset", "fit ials (earlier window)", "judge (last window)"} <= set(last)
    assert [what for what, (done, total) in last.items() if done != total] == []


def test_the_verdict_of_a_version_can_be_read_again(first: tuple[Shop, Outcome]) -> None:
    """What is registered with the version is the verdict that was given."""
    shop, outcome = first
    assert outcome.version is not None
    stored = verdict_of(Tracking(shop), outcome.version)
    assert stored == outcome.verdict
    assert msgspec.json.encode(stored)
