"""`kokyaku bench defaults`: worlds where it is known which setting is best, and on which data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.moments import DAY, format_instant
from training.bench import defaults, places, trials
from training.bench.defaults import Options, measure, rows_of, tried_table, written
from training.bench.leaving import leave_one_out
from training.bench.places import DataSets, Place, course_of, data_sets, place_of
from training.bench.trials import Line, Results, settings_of, space_of
from training.cli import main
from training.course import WEIGHTS
from training.popularity import PopularityParams
from training.recipes import source_names
from training.simulation.oracle import world_of
from training.simulation.truth import FOLDER, Truth
from training.simulation.world import WORLD_VERSION
from training.spaces import Dimension
from training.split import Window
from training.tuning import objective

START = 1_483_228_800_000_000 + 200 * DAY  # 2017-07-20, where the judged window begins
WINDOW = Window(START, START + 30 * DAY)
POPULARITY = "popularity"
FADS, CLASSICS, PEOPLE, CUSTOMERS = 25, 5, 30, 10
"""More fads than a list is long: where they come first, no classic is shown."""


def at(day: float) -> str:
    return format_instant(START + int(day * DAY))


def shop_of(make_dataset, folder: Path, wanted: str, later: str = "") -> Dataset:
    """Everybody bought the classics long ago, half of the people the fads just now; who wants what in the window.

    With a half-life of days the fads sell best, with one of months the classics do. Those who have neither buy them.
    """
    items = {"fad": [f"fad{n:02}" for n in range(FADS)], "classic": [f"classic{n}" for n in range(CLASSICS)]}
    bought = []
    for who in range(PEOPLE):
        bought += [(f"c{who:02}", item, -40) for item in items["classic"]]
        bought += [(f"c{who:02}", item, -2) for item in items["fad"] if who % 2]
    bought += [(f"n{who:02}", "other", -50) for who in range(PEOPLE)]  # newcomers, who have bought one thing only
    for kind, day in ((wanted, 5), (later, 31)):
        bought += [(f"n{who:02}", item, day) for who in range(PEOPLE) for item in items.get(kind, [])]
    events = [{"customer_id": who, "item_id": item, "at": at(day)} for who, item, day in bought]
    return make_dataset(folder, events=events)


def place_in(make_dataset, folder: Path, name: str, wanted: str, later: str = "") -> Place:
    return place_of(name, shop_of(make_dataset, folder / name, wanted, later), WINDOW, CUSTOMERS)


@pytest.fixture(scope="module")
def world(make_dataset, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Place]:
    """Shops of classics, and one of fads."""
    folder = tmp_path_factory.mktemp("world")
    wanted = {"a": "classic", "b": "classic", "c": "classic", "fads": "fad"}
    return {name: place_in(make_dataset, folder, name, what) for name, what in wanted.items()}


CLASSIC = ("a", "b", "c")
OPTIONS = Options(settings=4, resamples=100)
"""Two of the four have a half-life that shows the classics: at 38 days they and the fads are level."""


def of(world: Mapping[str, Place], *names: str) -> DataSets:
    return {name: (world[name],) for name in names}


def test_a_setting_that_is_best_everywhere_is_found_on_every_left_out_shop(world, tmp_path):
    """Where all shops sell classics a long half-life is best, and the default of 14 days shows none of them."""
    found = measure(POPULARITY, of(world, *CLASSIC), tmp_path, OPTIONS)
    verdict = found.verdict
    assert found.settings[0] == {"half_life_days": 14.0, "back_off": 200.0}
    assert found.settings[verdict.pick]["half_life_days"] > 38
    for each in verdict.left:
        assert (each.share, each.default) == (1.0, 0.0)
        assert (each.lack.value, each.lack.low, each.lack.high) == (0, 0, 0)
        assert each.gain.low > 0
    assert verdict.pooled.value == pytest.approx(1.0)
    assert verdict.better
    assert any("Another is better everywhere" in note for note in found.notes)


def test_where_shops_disagree_the_default_stands(world, tmp_path):
    """What is best for two shops of classics shows the fads last to those who want fads."""
    found = measure(POPULARITY, of(world, "a", "b", "fads"), tmp_path, OPTIONS)
    left = {each.data: each for each in found.verdict.left}
    assert left["fads"].share < left["fads"].default == 1.0
    assert left["fads"].gain.high < 0
    assert not found.verdict.better
    told = " ".join(found.notes)
    assert "The current default stands: the pick of the others does not beat it on" in told
    assert "fads" in told


def test_a_default_that_all_pick_stands(world, tmp_path):
    found = measure(POPULARITY, {"one": (world["fads"],), "two": (world["fads"],)}, tmp_path, OPTIONS)
    assert [each.pick for each in found.verdict.left] == [0, 0]
    assert "The current default stands: it is the pick of the others on every data set." in found.notes


def test_shops_of_a_data_set_count_as_one(world, tmp_path):
    """Their customers stand side by side, and the mean over them is the objective over all."""
    found = measure(POPULARITY, {"both": (world["a"], world["fads"]), "b": (world["b"],)}, tmp_path, OPTIONS)
    customers = len(world["a"].truth) + len(world["fads"].truth)
    assert found.tables["both"].shape == (4, customers)
    alone = measure(POPULARITY, of(world, "a", "fads"), tmp_path, OPTIONS)
    halves = [alone.tables[name].mean(axis=1) for name in ("a", "fads")]  # as many customers in each
    assert found.tables["both"].mean(axis=1) == pytest.approx(np.mean(halves, axis=0))


def test_a_result_is_the_objective_of_tuning(world, tmp_path):
    """The same fit, the same judge: what `tune` would say of the default on these customers."""
    found = measure(POPULARITY, of(world, "a", "fads"), tmp_path, OPTIONS)
    space, default = space_of(POPULARITY, "quick")
    for name in ("a", "fads"):
        course = course_of(world[name], POPULARITY, "quick", space, default)
        scores = trials.judge(course, course.subject.stage(default), course.parts)
        assert found.tables[name][0].mean() == pytest.approx(objective(scores))


def test_what_happens_after_the_window_is_not_read(make_dataset, world, tmp_path):
    """Newcomers who buy all fads afterwards change nothing, not even who is judged."""
    later = place_in(make_dataset, tmp_path, "later", "classic", later="fad")
    assert later.truth.items.tolist() == world["a"].truth.items.tolist()
    assert later.material.histories.events.time.max() < WINDOW.end
    one, two = (measure(POPULARITY, {"a": (each,), "fads": (world["fads"],)}, tmp_path / str(number), OPTIONS)
                for number, each in enumerate((world["a"], later)))  # fmt: skip
    assert np.array_equal(one.tables["a"], two.tables["a"])


def test_a_stopped_run_loses_one_setting_and_goes_on(world, tmp_path, monkeypatch):
    """Stopped in the third setting two lines are there; resumed, the figures are those of a run in one go."""
    data = of(world, "a", "fads")
    whole = measure(POPULARITY, data, tmp_path / "whole", OPTIONS)
    real, calls = trials.judge, []

    def until_third(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(trials, "judge", until_third)
    with pytest.raises(KeyboardInterrupt):
        measure(POPULARITY, data, tmp_path / "half", OPTIONS)
    (file,) = (tmp_path / "half" / "defaults" / POPULARITY).iterdir()
    assert file.read_bytes().count(b"\n") == 2
    with file.open("ab") as torn:
        torn.write(b'{"shop":"a","par')
    again = measure(POPULARITY, data, tmp_path / "half", OPTIONS)
    assert len(calls) == 3 + 2 * 4 - 2
    assert all(np.array_equal(again.tables[name], whole.tables[name]) for name in data)
    assert any("2 of 4 results are of earlier calls" in note for note in again.notes)


def test_more_settings_go_on_and_fresh_starts_over(world, tmp_path, monkeypatch):
    data, calls, real = of(world, "a", "fads"), [], trials.judge
    monkeypatch.setattr(trials, "judge", lambda *given: calls.append(given) or real(*given))
    few = measure(POPULARITY, data, tmp_path, OPTIONS)
    more = measure(POPULARITY, data, tmp_path, Options(settings=5, resamples=100))
    assert len(calls) == 2 * 5
    assert more.settings[:4] == few.settings
    assert np.array_equal(more.tables["a"][:4], few.tables["a"])
    measure(POPULARITY, data, tmp_path, Options(settings=4, resamples=100, fresh=True))
    assert len(calls) == 2 * (5 + 4)


def test_results_of_other_customers_are_other_results(world, make_dataset, tmp_path, monkeypatch):
    """The same shop with fewer customers is measured, not read."""
    calls, real = [], trials.judge
    monkeypatch.setattr(trials, "judge", lambda *given: calls.append(given) or real(*given))
    fewer = place_of("a", world["a"].material.dataset, WINDOW, 7)
    for place in (world["a"], fewer):
        measure(POPULARITY, {"a": (place,), "fads": (world["fads"],)}, tmp_path, OPTIONS)
    assert len(calls) == 3 * 4


def test_a_data_set_that_cannot_feed_a_source_is_named(world, tmp_path):
    """These shops have no texts: nothing is judged, and a sentence says why for each."""
    found = measure("content", of(world, "a", "b"), tmp_path, OPTIONS)
    assert found.verdict is None
    assert [note for note in found.notes if note.startswith("content is not judged on")]
    assert found.notes[-1] == "content: leaving one data set out needs two."
    assert {row.task for row in rows_of(found)} == {"settings"}


def test_a_setting_that_cannot_be_fitted_is_told_and_never_picked(world, tmp_path, monkeypatch):
    """One that fails on a single shop is undefined there; a default that fails leaves the shop out."""
    real, data = trials.judge, of(world, *CLASSIC)
    best = measure(POPULARITY, data, tmp_path / "all", OPTIONS).verdict.pick
    space, default = space_of(POPULARITY, "quick")
    settings = settings_of(space, default, 4, 0)

    def failing(number: int):
        def judged(course, staged, parts):
            mine = staged[0].recipe.sources[0].params
            if course.material is world["b"].material and mine["half_life_days"] == settings[number]["half_life_days"]:
                raise DataError("diverged", where="here")
            return real(course, staged, parts)

        return judged

    monkeypatch.setattr(trials, "judge", failing(best))
    found = measure(POPULARITY, data, tmp_path / "one", OPTIONS)
    assert np.isnan(found.verdict.shares["b"][best])
    assert found.verdict.pick != best
    assert any(f"setting-{best} of popularity cannot be fitted on b" in note for note in found.notes)
    assert "undefined" in [str(cell) for cell in tried_table(POPULARITY, found.verdict).columns[2].cells]
    left = next(each for each in found.verdict.left if each.data == "b")
    assert left.pick == best  # the others cannot know
    assert np.isnan([left.gain.value, found.verdict.pooled.value]).all()
    assert not found.verdict.better
    monkeypatch.setattr(trials, "judge", failing(0))
    found = measure(POPULARITY, data, tmp_path / "two", OPTIONS)
    assert set(found.tables) == {"a", "c"}
    assert any("the default cannot be fitted" in note for note in found.notes)


TABLES = st.lists(
    arrays(np.float64, st.tuples(st.just(4), st.integers(2, 6)), elements=st.floats(0.01, 1)), min_size=2, max_size=4
)


@given(TABLES)
def test_shares_and_differences_say_the_same(tables):
    """The best of a data set has share 1, nobody is above it, and the pooled figure is the mean gain in shares."""
    named = {f"d{n}": table for n, table in enumerate(tables)}
    verdict = leave_one_out(named, resamples=20)
    for each in verdict.left:
        means = named[each.data].mean(axis=1)
        assert verdict.shares[each.data].max() == 1.0
        assert each.lack.value <= 1e-12
        assert each.gain.value == pytest.approx(means[each.pick] - means[0])
        assert each.share - each.default == pytest.approx(each.gain.value / means.max())
    gains = [each.share - each.default for each in verdict.left]
    assert verdict.pooled.value == pytest.approx(np.mean(gains))
    assert verdict.better == (min(each.gain.value for each in verdict.left) > 0 and verdict.pooled.low > 0)


@given(TABLES, st.integers(0, 3), st.data())
def test_a_left_out_data_set_has_no_say_in_its_pick(tables, which, data):
    """Whatever is found on it, the pick of the others stays."""
    which %= len(tables)
    named = {f"d{n}": table for n, table in enumerate(tables)}
    other = data.draw(arrays(np.float64, tables[which].shape, elements=st.floats(0.01, 1)))
    before, after = (leave_one_out({**named, f"d{which}": each}, resamples=10) for each in (tables[which], other))
    assert before.left[which].pick == after.left[which].pick


@given(TABLES, st.integers(0, 3))
def test_what_is_best_everywhere_is_picked_everywhere(tables, winner):
    named = {}
    for n, table in enumerate(tables):
        named[f"d{n}"] = table.copy()
        named[f"d{n}"][winner] = 1.5
    verdict = leave_one_out(named, resamples=10)
    assert {verdict.pick, *(each.pick for each in verdict.left)} == {winner}
    assert all(each.lack.value == 0 for each in verdict.left)
    assert verdict.better == (winner != 0)


@given(TABLES)
def test_equal_settings_leave_the_default(tables):
    named = {f"d{n}": np.tile(table[:1], (4, 1)) for n, table in enumerate(tables)}
    verdict = leave_one_out(named, resamples=10)
    assert verdict.pick == 0
    assert not verdict.better


def test_too_little_to_leave_out_is_an_error_of_one_line():
    with pytest.raises(DataError, match="needs two"):
        leave_one_out({"a": np.ones((2, 3))})
    with pytest.raises(DataError, match="finds anything"):
        leave_one_out({"a": np.ones((2, 3)), "b": np.zeros((2, 3))})


@pytest.mark.parametrize("source", source_names())
def test_settings_lie_in_the_space_and_begin_alike(source):
    """The default is first; a longer design begins with the shorter one; another seed gives other points."""
    space, default = space_of(source, "quick")
    assert not any(key.startswith(WEIGHTS) for key in space)
    long = settings_of(space, default, 20, 0)
    assert long[0] == default
    assert len(long) == 20
    assert all(space[key].holds(value) for setting in long[1:] for key, value in setting.items())
    assert all(isinstance(setting[key], int) for setting in long[1:] for key in space if space[key].whole)
    assert not any(setting in long[:n] for n, setting in enumerate(long))
    assert settings_of(space, default, 7, 0) == long[:7]
    assert settings_of(space, default, 7, 1)[1:] != long[1:7]


def test_a_small_space_gives_what_it_has():
    space = {"binary": Dimension(choices=(True, False))}
    assert settings_of(space, {"binary": True}, 12, 0) == [{"binary": True}, {"binary": False}]


RANGES = st.one_of(
    st.builds(lambda low, more, log: Dimension(low, low + more, log), st.integers(1, 9), st.integers(1, 99),
              st.booleans()),
    st.builds(lambda low, more, log: Dimension(low, low + more, log), st.floats(0.01, 9), st.floats(0.1, 99),
              st.booleans()),
    st.just(Dimension(choices=(1, 2.5, "x"))),
)  # fmt: skip


@given(RANGES, st.floats(0, 1), st.floats(0, 1))
def test_a_share_of_a_range_is_a_value_of_it(dimension, one, other):
    """Inside, larger for larger shares, and at the ends for 0 and 1."""
    low, high = sorted((one, other))
    values = [dimension.at(share) for share in (0.0, low, high, 1.0)]
    assert all(dimension.holds(value) for value in values)
    ends = dimension.extremes
    assert (values[0], values[-1]) == (pytest.approx(ends[0]), pytest.approx(ends[-1]) if ends[-1] != "x" else "x")
    if not dimension.choices:
        assert values == sorted(values)


def test_whole_numbers_are_equally_likely():
    drawn = [Dimension(1, 4).at(share) for share in np.linspace(0, 0.999, 400)]
    assert np.bincount(drawn, minlength=5)[1:].tolist() == pytest.approx([100] * 4, abs=2)


def test_results_that_cannot_be_read_are_an_error_with_a_way_out(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text('{"shop": 3}\n')
    with pytest.raises(DataError, match="--fresh"):
        Results(path)
    results = Results(path, fresh=True)
    line = Line("a", {"x": 1.0}, {"all": [0.5, None]}, 0.1)
    results.add(line)
    assert Results(path).get("a", {"x": 1.0}) == line
    assert Results(path).get("b", {"x": 1.0}) is None


def test_what_is_not_there_is_left_out_with_a_reason(tmp_path, monkeypatch):
    """Without its file and without its package only the simulated shops are left, on the window before the last."""

    def gone(*given, **more):
        raise DataError("the package is not installed", hint="install it")

    monkeypatch.setattr(places, "dataset_of", gone)
    there, notes = data_sets(None, tmp_path, "tiny", 40, lambda *told: None)
    assert list(there) == ["simulated-tiny"]
    assert "online-retail is left out: --path" in " ".join(notes)
    assert "complete-journey is left out: the package is not installed" in " ".join(notes)
    shops = there["simulated-tiny"]
    assert [place.name for place in shops] == ["simulated-tiny-0", "simulated-tiny-1"]
    assert all(len(place.truth) <= 20 for place in shops)
    end = world_of(Truth.load(tmp_path / f"simulated-{WORLD_VERSION}-tiny-0" / FOLDER).manifest).calendar.end
    assert {place.window for place in shops} == {Window(end - 60 * DAY, end - 30 * DAY)}  # the last 30 are the oracle's
    assert all(int(place.material.histories.events.time.max()) < place.window.end for place in shops)
    with pytest.raises(DataError, match="not installed"):  # a file that somebody named is asked for
        data_sets(tmp_path / "named.csv", tmp_path, "tiny", 40, lambda *told: None)


def test_the_command_prints_a_table_and_writes_rows(world, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(defaults, "data_sets", lambda *given: (of(world, *CLASSIC), ["d is left out: gone."]))
    out = tmp_path / "rows.json"
    given = ["--settings", "4", "--resamples", "50", "--cache", str(tmp_path), "--json", str(out)]
    main_of("bench", "defaults", POPULARITY, *given)
    printed = capsys.readouterr().out
    for word in ("a: 10 customers", "d is left out", "minus default", "minus best", "better everywhere", "half_life"):
        assert word in printed
    rows = {(row["data"], row["task"], row["subject"], row["metric"]): row for row in json.loads(out.read_text())}
    assert rows["every", "settings", "popularity:default", "half_life_days"]["value"] == 14.0
    assert rows["a", "tried", "popularity:default", "share"]["value"] == 0.0
    assert rows["every", "left-out", "popularity:pick", "share-difference:default"]["value"] == pytest.approx(1.0)
    pick = next(subject for data, task, subject, metric in rows if metric == "ndcg@20-difference:default")
    assert rows["a", "left-out", pick, "ndcg@20-difference:best"]["value"] == 0.0


def test_a_pick_that_is_ahead_by_chance_leaves_the_default():
    """Ahead on both, by one customer of many: the interval holds 0, and the sentence says so."""
    table = np.full((2, 40), 0.5)
    table[1, 0] = 0.6
    verdict = leave_one_out({"a": table, "b": table.copy()}, resamples=200)
    assert not verdict.better
    lines = defaults.sentences("ease", [{"l2": 1.0}, {"l2": 2.0}], verdict)
    assert "holds 0" in lines[-1]
    assert written({"l2": 123.456, "binary": True, "factors": 12345}) == "l2 123.5, binary true, factors 12345"


def test_bad_input_is_one_line(capsys):
    for words, hint in ((["esae"], "ease"), ([POPULARITY, "--preset", "huge"], "quick or full")):
        with pytest.raises(SystemExit) as stop:
            main(["bench", "defaults", *words])
        assert stop.value.code == 2
        assert hint in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no such source"):
        space_of("session", "quick")


def main_of(*given: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(list(given))
    assert not stop.value.code


def test_too_few_customers_are_named(make_dataset, tmp_path):
    dataset = shop_of(make_dataset, tmp_path / "empty", "nothing")
    with pytest.raises(DataError, match="too few customers of empty"):
        place_of("empty", dataset, WINDOW, 10)


def test_the_default_is_the_methods_own():
    """What is compared is what a shop without settings of its own gets."""
    _, default = space_of(POPULARITY, "quick")
    assert default == {key: getattr(PopularityParams(), key) for key in default}
