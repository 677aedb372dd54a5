"""Tuning: spaces that suit their parameters, searches that resume, and nothing learned from the judged window."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import columns as c
from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import DataError
from features.moments import DAY, format_instant
from features.shop import Shop
from serving.recipe import Recipe, SourceSpec
from training import tuning
from training.cli import main
from training.conclusion import tuned_in
from training.course import Course, TuneOptions
from training.evaluate import evaluate
from training.fitting import Cut, fit_bundle
from training.found import Found
from training.popularity import FrequencyParams
from training.recipes import source_names
from training.session import TrainOptions, open_session, silent
from training.spaces import read_space
from training.split import truth_of
from training.tracking import Tracking
from training.train import read as read_material
from training.train import tune as choose_as_training_does
from training.tuned import read_tuned, write_tuned
from training.tuning import by_customer, objective, tune

MakeShop = Callable[[Path], Shop]
HABIT = "personal-frequency"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, make_shop: MakeShop, tiny_dataset: Path) -> tuple[Shop, Found]:
    """Personal frequency tuned on the tiny shop in one go of six trials."""
    shop = make_shop(tmp_path_factory.mktemp("whole"))
    shutil.copytree(tiny_dataset, shop.dataset)
    return shop, tune(shop, HABIT, TuneOptions(trials=6))


@pytest.fixture
def shop(tmp_path: Path, make_shop: MakeShop, tiny_dataset: Path) -> Shop:
    shop = make_shop(tmp_path / "shop")
    shutil.copytree(tiny_dataset, shop.dataset)
    return shop


def outcomes(found: Found) -> list[tuple[int, Any, str, float]]:
    return [(each.number, each.params, each.state, each.value) for each in found.tried]


def test_the_default_is_trial_0_and_its_value_is_what_evaluation_says(whole: tuple[Shop, Found]) -> None:
    """Trial 0 has the default parameters, and its value is the mean of the metric by `evaluate` over its customers."""
    shop, found = whole
    course = found.course
    assert found.default is found.tried[0]
    assert found.default.params == {key: getattr(FrequencyParams(), key) for key in read_space(HABIT)[0]}
    material = course.material
    cut = Cut(material.histories, course.window.start, regions=material.regions, dataset=Dataset(shop.dataset))
    sources = (SourceSpec(HABIT, HABIT), SourceSpec("popularity", "popularity"))
    bundle = fit_bundle(cut, Recipe("alone", sources, {HABIT: 1.0}))
    truth = truth_of(material.histories, course.window, listed=cut.listed)
    scores = evaluate(bundle, material.histories, course.window, truth, regions=material.regions).tasks["all"]
    values = scores.by_customer["ndcg@20"]
    assert found.default.value == pytest.approx(np.nanmean(values[0::2]), abs=1e-12)
    assert found.held[0] == pytest.approx(np.nanmean(values[1::2]), abs=1e-12)


def test_trials_and_proof_have_customers_of_their_own(whole: tuple[Shop, Found]) -> None:
    """No customer both picks the best and says whether it is better; together they are all of the window."""
    course = whole[1].course
    mine = np.concatenate([part.subjects for part in course.parts])
    assert len(np.unique(mine)) == len(mine) == course.customers
    assert not np.isin(mine, course.held.subjects).any()
    truth = truth_of(course.material.histories, course.window, listed=Cut(
        course.material.histories, course.window.start).listed)  # fmt: skip
    assert sorted([*mine.tolist(), *course.held.subjects.tolist()]) == truth.subjects.tolist()
    places = {row: place for place, row in enumerate(truth.subjects.tolist())}
    for part in (*course.parts, course.held):
        for place, row in enumerate(part.subjects.tolist()):
            assert part.of(place).tolist() == truth.of(places[row]).tolist()


def test_a_search_in_two_halves_tries_what_one_in_one_go_tries(whole: tuple[Shop, Found], shop: Shop) -> None:
    """Resumed after two trials it goes on with the third, and says so; fresh, with another seed, it tries others."""
    first = tune(shop, HABIT, TuneOptions(trials=2))
    assert len(first.tried) == 2
    second = tune(shop, HABIT, TuneOptions(trials=6))
    assert outcomes(second) == outcomes(whole[1])
    assert [each.number for each in second.tried] == list(range(6))
    assert any("goes on after 2 trials" in note for note in second.notes)
    fresh = tune(shop, HABIT, TuneOptions(trials=2, fresh=True, seed=1))
    assert len(fresh.tried) == 2
    assert fresh.tried[0].params == second.tried[0].params
    assert fresh.tried[1].params != second.tried[1].params


def test_the_judged_window_is_not_looked_at(
    whole: tuple[Shop, Found], shop: Shop, make_dataset: Callable[..., Dataset]
) -> None:
    """A judged window in which everybody buys other things, new items among them: the very same trials."""
    judged = whole[1].course.material.judged
    assert judged is not None
    table = Dataset(shop.dataset).read("events", [c.CUSTOMER_ID, c.ITEM_ID])
    people = sorted({text for text in table[c.CUSTOMER_ID].to_pylist() if text})
    items = [*sorted({text for text in table[c.ITEM_ID].to_pylist() if text})[:3], "aaa-new", "zzz-new"]
    at = [format_instant(judged.start + hour * DAY // 24) for hour in range(5)]
    before = histories_as_of(Dataset(shop.dataset))
    bought = [(who, what, when) for who in people for what, when in zip(items, at, strict=True)]
    events = [{"customer_id": who, "item_id": what, "at": when} for who, what, when in bought]
    make_dataset(shop.dataset, events=events)
    assert len(histories_as_of(Dataset(shop.dataset)).events) == len(before.events) + 5 * len(people)
    found = tune(shop, HABIT, TuneOptions(trials=6))
    assert found.course.window == whole[1].course.window
    assert outcomes(found) == outcomes(whole[1])
    assert (found.held, found.difference) == (whole[1].held, whole[1].difference)


def test_every_trial_is_a_nested_run(whole: tuple[Shop, Found]) -> None:
    """Parameters and figures of each trial, and a table, a plot and the best parameters at the parent."""
    shop, found = whole
    tracking = Tracking(shop)
    run = tracking._client.get_run(found.run_id)
    assert run.info.run_name == f"tune {HABIT}"
    assert run.data.tags["mlflow.source.name"] == "kokyaku tune"
    assert run.data.metrics["best"] == pytest.approx(found.best.value)
    assert run.data.metrics["held/difference"] == pytest.approx(found.difference.value)
    children = tracking._client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{found.run_id}'"
    )  # fmt: skip
    assert {child.info.run_name for child in children} == {f"trial {number}" for number in range(6)}
    last = next(child for child in children if child.info.run_name == "trial 5")
    assert float(last.data.params["half_life_days"]) == found.tried[5].params["half_life_days"]
    folder = shop.mlflow_artifacts / found.run_id / "artifacts"
    lines = (folder / "tables/trials.csv").read_text().splitlines()
    assert lines[0] == "trial,state,value,all,seconds,half_life_days,count_weight,popular_weight,why"
    assert len(lines) == 7
    assert (folder / "plots/history.png").read_bytes().startswith(b"\x89PNG")
    assert f"[{HABIT}]" in (folder / "best.toml").read_text()


def test_minutes_end_a_search_but_not_before_the_default(shop: Shop) -> None:
    found = tune(shop, HABIT, TuneOptions(minutes=0.0))
    assert [each.state for each in found.tried] == ["complete"]
    assert found.best is found.default
    assert (found.difference.value, found.better) == (0.0, False)
    assert found.outcome == "No trial was better than the default, which is kept."
    assert not shop.tuned.exists()


def test_what_cannot_be_fitted_is_named_and_the_rest_goes_on(shop: Shop, tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text("together = {choices = [2, 1000000]}\nz = {low = 0.0, high = 4.0}")
    found = tune(shop, "co-purchase", TuneOptions(trials=6, space=space))
    failed = [each for each in found.tried if each.params["together"] != 2]
    assert failed
    assert {each.state for each in failed} == {"failed"}
    assert all("no pair" in each.why for each in failed)
    assert len(found.tried) == 6
    assert any(each.state == "complete" for each in found.tried[failed[0].number :])


def test_a_default_that_cannot_be_fitted_ends_the_search(shop: Shop) -> None:
    """The tiny shop has too few buyers for a ranker: a sentence with the reason."""
    with pytest.raises(DataError, match=r"ranker: the default cannot be fitted: .* needs 40 customers"):
        tune(shop, "ranker", TuneOptions(trials=2))


def test_an_interrupted_trial_is_marked_and_the_rest_stays(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, calls = tuning.judge, []

    def stopped(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return judge(*given)

    monkeypatch.setattr(tuning, "judge", stopped)
    with pytest.raises(KeyboardInterrupt):
        tune(shop, HABIT, TuneOptions(trials=5))
    tracking = Tracking(shop)
    runs = tracking._client.search_runs([tracking._experiment], "attributes.status = 'KILLED'")
    assert {run.info.run_name for run in runs} == {f"tune {HABIT}", "trial 2"}
    found = tune(shop, HABIT, TuneOptions(trials=4))
    assert [each.state == "interrupted" for each in found.tried] == [False, False, True, False, False]


def test_two_searches_of_one_source_do_not_meet(shop: Shop) -> None:
    from features.files import exclusive

    with (
        exclusive(shop.studies / f".{HABIT}.lock", busy="mine"),
        pytest.raises(DataError, match="is being tuned by another process"),
    ):
        tune(shop, HABIT, TuneOptions(trials=2))


class Stub:
    """A trial of which every part looks hopeless."""

    number = 7

    def __init__(self, params: Any) -> None:
        self.params, self.told = params, []

    def hopeless(self, part: int, value: float) -> bool:
        self.told.append((part, value))
        return True

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *given: self.told.append((name, given))


def test_a_hopeless_trial_stops_after_its_first_part_but_never_the_default(whole: tuple[Shop, Found]) -> None:
    shop, found = whole
    course = found.course
    with Tracking(shop).run("stubs") as run:
        other, default = Stub({**course.default, "count_weight": 0.5}), Stub(course.default)
        tuning.attempt(run, course, other)  # type: ignore[arg-type]
        tuning.attempt(run, course, default)  # type: ignore[arg-type]
    assert [told[0] for told in other.told] == [1, "prune"]
    assert [told[0] for told in default.told] == [1, 2, 3, "complete"]
    assert default.told[-1][1][0] == pytest.approx(found.default.value)


def test_nothing_that_was_fitted_is_kept(whole: tuple[Shop, Found]) -> None:
    """Hundreds of fits would fill the memory: only the popularity beside the subject is remembered."""
    cut = whole[1].course.subject.cut  # type: ignore[attr-defined]
    assert len(cut._fitted) == 1


SCORES = st.lists(
    st.tuples(*[st.one_of(st.just(float("nan")), st.floats(0, 1))] * 2), min_size=1, max_size=20
)  # fmt: skip


@given(SCORES)
def test_what_customers_add_has_the_objective_as_its_mean(rows: list[tuple[float, float]]) -> None:
    scores = {"all": np.array([row[0] for row in rows]), "new": np.array([row[1] for row in rows])}
    means = [each[np.isfinite(each)].mean() for each in scores.values() if np.isfinite(each).any()]
    expected = np.mean(means) if means else np.nan
    assert objective(scores) == pytest.approx(expected, nan_ok=True)  # type: ignore[arg-type]
    assert np.mean(by_customer(scores)) == pytest.approx(expected, nan_ok=True)  # type: ignore[arg-type]


def test_training_uses_what_was_better_and_forgets_what_is_not(shop: Shop, tmp_path: Path) -> None:
    """The default of iALS forgets this shop's purchases too soon: tuned, told, used; something worse is taken out."""
    space = tmp_path / "space.toml"
    space.write_text("alpha = {low = 60.0, high = 90.0}\nconfidence.half_life_days = {low = 300.0, high = 600.0}")
    found = tune(shop, "ials", TuneOptions(trials=3, space=space))
    assert found.better
    assert found.difference.low > 0
    assert any("alpha was widened" in note for note in found.notes)
    tuned = read_tuned(shop.tuned, source_names())
    assert tuned == {"ials": dict(found.best.params)}
    assert "kept apart" in shop.tuned.read_text()
    with open_session(shop, TrainOptions(), silent) as session:
        choice = choose_as_training_does(session, read_material(session))
        assert tuned_in(session, choice) == ["Tuned parameters are used of ials (tuned.toml)."]
    params = next(spec.params for spec in choice.sources if spec.name == "ials")
    assert params["alpha"] == found.best.params["alpha"]
    assert params["factors"] == 64
    write_tuned(shop.tuned, "ials", {"alpha": 0.0, "confidence.half_life_days": 1.0})
    space.write_text("alpha = {low = 0.0, high = 0.1}\nconfidence.half_life_days = {low = 1.0, high = 2.0}")
    found = tune(shop, "ials", TuneOptions(trials=2, space=space))
    assert found.tried[1].params == {"alpha": 0.0, "confidence.half_life_days": 1.0}
    assert found.best is found.default
    assert "taken out of tuned.toml" in found.outcome
    assert read_tuned(shop.tuned, source_names()) == {}


def test_parameters_beyond_the_space_are_not_judged_and_stay(shop: Shop, tmp_path: Path) -> None:
    write_tuned(shop.tuned, HABIT, {"count_weight": 0.3, "half_life_days": 50.0})
    space = tmp_path / "space.toml"
    space.write_text("half_life_days = {low = 0.001, high = 0.002, log = true}")
    found = tune(shop, HABIT, TuneOptions(trials=2, space=space))
    assert "keeps its parameters" in found.outcome
    assert read_tuned(shop.tuned, (HABIT,))[HABIT]["count_weight"] == 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ial"], 'did you mean "ials"'),
        (["ials", "--space", "nowhere.toml"], "nowhere.toml: no search space there"),
        ([HABIT, "--task", "new"], "proposes nothing new"),
        ([HABIT, "--as-of", "2025-01-05"], "too short to tune on"),
        ([HABIT, "--trials", "1"], "--trials"),
    ],
)
def test_what_cannot_be_tuned_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, whole: tuple[Shop, Found], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["tune", *arguments, "--shop", "toy", "--root", str(whole[0].root)])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_the_command_prints_the_default_beside_the_best(
    whole: tuple[Shop, Found], capsys: pytest.CaptureFixture[str]
) -> None:
    shop, found = whole
    main_arguments = ["tune", HABIT, "--shop", "toy", "--root", str(shop.root), "--trials", "6"]
    with pytest.raises(SystemExit) as ended:
        main(main_arguments)
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert f"Tuned on {found.course.window}" in " ".join(told.split())
    for cell in ("default", f"{found.default.value:.4f}", f"{found.held[1]:.4f}", "6 trials:", found.outcome):
        assert cell in told


def test_a_course_counts_its_customers(whole: tuple[Shop, Found]) -> None:
    course: Course = whole[1].course
    assert course.customers == sum(len(part) for part in course.parts) > 0
