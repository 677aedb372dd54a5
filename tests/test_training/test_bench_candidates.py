"""`kokyaku bench candidates`: a breadth changes what is ordered, in learning as in serving."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from features.errors import ConfigError
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from serving.bundle import Bundle, text_arrays
from serving.recipe import USUAL, Breadth, Recipe, SelectionSpec
from training.bench import candidates, category_asked
from training.bench.accuracy import Result
from training.bench.candidates import ALL, METRICS, WHOLE, Ready, judge, learn, measure, prepare, run, table_of
from training.cli import main
from training.contest import Arena, contest, contest_of
from training.split import Window

EACH, MOST = Breadth(40, 0, past=0), Breadth(100, 80, past=0)
BASE = "100 each, trees of 100 each"
FEWER = ("40 each, trees of 100 each", "80 in all, trees of 100 each")
OWN = ("40 each, trees of 40 each", "80 in all, trees of 80 in all")


def shop(customers: int = 90, items: int = 160) -> Histories:
    """Two tastes over 100 days; every ten days everybody buys two usual items and two others of that taste."""
    random = np.random.default_rng(7)
    lines = []
    for u in range(customers):
        taste = np.arange(u % 2, items, 2)
        usual = random.choice(taste, 6, replace=False)
        for day in range(0, 100, 10):
            bought = {*random.choice(usual, 2, replace=False).tolist(), *random.choice(taste, 2).tolist()}
            lines += [(u, int((day + u / customers) * DAY), item) for item in sorted(bought)]
    times = np.array([line[1] for line in lines], np.int64)
    n = len(lines)
    history = History(
        times, times, np.array([line[2] for line in lines], np.int32), np.full(n, EventType.PURCHASE, np.int8),
        np.ones(n, np.float32), np.ones(n, np.float32), np.arange(n, dtype=np.uint64),
    )  # fmt: skip
    offsets = np.concatenate([[0], np.cumsum(np.bincount([line[0] for line in lines]))]).astype(np.int64)
    subjects = Vocabulary.of([f"c:{u:02}" for u in range(customers)])
    return Histories(subjects, Vocabulary.of([f"i{n:03}" for n in range(items)]), offsets, history)


@pytest.fixture(scope="module")
def ready() -> Ready:
    return prepare(shop(), Window(60 * DAY, 80 * DAY), Window(80 * DAY, 100 * DAY))


@pytest.fixture(scope="module")
def result(ready) -> Result:
    return measure(ready, "toy", [EACH, MOST], resamples=50)


def test_every_breadth_is_judged_by_both_trees_on_both_tasks(result):
    for task in ("all", "new"):
        there = {(row.subject, row.metric) for row in result.rows if row.task == task}
        assert {(s, m) for s in (BASE, *FEWER, *OWN) for m in (*METRICS, "candidates", "answer-us")} <= there
        assert {s for s, metric in there if metric.endswith("-difference")} == {*FEWER, *OWN}


def test_fewer_are_ordered(result):
    """As many as are asked for in all; of a few each at least so many, and fewer than of a hundred each."""
    counts = {(row.task, row.subject): row.value for row in result.rows if row.metric == "candidates"}
    for task in ("all", "new"):
        assert EACH.per_source < counts[task, FEWER[0]] < counts[task, BASE]
        assert counts[task, FEWER[1]] == MOST.most < counts[task, BASE]


def test_differences_are_those_of_the_same_customers(result):
    value = {(row.task, row.subject, row.metric): row.value for row in result.rows}
    for task in ("all", "new"):
        for metric in METRICS:
            for subject in (*FEWER, *OWN):
                gap = value[task, subject, metric] - value[task, BASE, metric]
                assert value[task, subject, f"{metric}-difference"] == pytest.approx(gap)


@pytest.mark.parametrize("fewer", [EACH, MOST])
def test_trees_learn_on_as_many_as_they_will_order(ready, fewer):
    """Examples of fewer candidates are fewer; trees of another breadth are other trees, and each is remembered."""
    window = ready.rankers.windows(ready.judged.window.start)[-1]
    ([few], trees), ([many], others) = learn(ready, fewer), learn(ready, ALL)
    assert (few.breadth, many.breadth) == (fewer, ALL)
    named = {each.name: each for each in few.sources}
    heard = [named[name] for name in few.ranker.voices]
    sizes = [len(ready.rankers.examples(window, few.ranker.voices, heard, each)["all"]) for each in (fewer, ALL)]
    assert sizes[0] < sizes[1]
    assert any(not np.array_equal(trees[key], others.get(key)) for key in trees)
    again = learn(ready, fewer)[1]
    assert all(again[key] is trees[key] for key in trees)


def test_less_of_the_past_is_compared_with_all_of_it(ready):
    """Examples, trees and lists are those of sources that hear so little; everybody has more than one item."""
    short = msgspec.structs.replace(WHOLE, past=1)
    rows = measure(ready, "toy", [short], base=WHOLE, resamples=50).rows
    base, *others = dict.fromkeys(row.subject for row in rows)
    assert base == "120 in all, trees of 120 in all"
    assert others == ["past 1, trees of 120 in all", "past 1, trees of past 1"]
    gaps = [row.value for row in rows if row.metric == "recall@20-difference" and row.subject in others]
    assert any(gaps)
    [recipe], trees = learn(ready, short)
    assert recipe.past == 1
    assert any(not np.array_equal(tree, learn(ready, WHOLE)[1].get(name)) for name, tree in trees.items())


def test_figures_of_several_seeds_are_their_mean(ready):
    """Of each customer, so that intervals are of what all trees do."""
    recipes, trees = learn(ready, MOST, seeds=2)
    mean = judge(ready, recipes, trees, MOST, MOST, lambda *_: None).by_customer
    each = [judge(ready, [recipe], trees, MOST, MOST, lambda *_: None).by_customer for recipe in recipes]
    assert not np.array_equal(each[0]["new"][METRICS[0]], each[1]["new"][METRICS[0]], equal_nan=True)
    for task, told in mean.items():
        for metric in METRICS:
            assert told[metric] == pytest.approx((each[0][task][metric] + each[1][task][metric]) / 2, nan_ok=True)


def test_recipes_are_judged_beside_each_other_as_each_would_serve(ready):
    """A champion that considers more is judged so, whatever its challenger considers: novelty reaches far down."""
    weights, novel = dict.fromkeys(("popularity", "ials", "item-item", "bpr"), 1.0), SelectionSpec(novelty=1.0)
    recipes = {
        name: Recipe(name, (), weights, selection=novel).broad(breadth)
        for name, breadth in (("few", MOST), ("many", ALL), ("same", MOST))
    }
    found = contest_of(ready.judged, recipes)
    lists = {name: each.tasks["new"].lists for name, each in found.items()}
    assert list(found) == list(recipes)
    assert np.array_equal(lists["few"], lists["same"])
    assert not np.array_equal(lists["few"], lists["many"])
    alone = (
        contest(ready.judged.broad(MOST), {"few": {"new": weights}}, selections={"few": novel})["few"]
        .tasks["new"]
        .lists
    )
    assert np.array_equal(lists["few"], alone)


@pytest.fixture(scope="module")
def sorted_out(ready) -> Arena:
    """The judged place, whose items have categories: two below one step, and two of their own; some have none."""
    bundle = ready.judged.bundle
    codes = np.arange(len(bundle.items), dtype=np.int32) % 5 - 1
    paths = text_arrays("category_path", ["A > 1 > x", "A > 1 > y", "A > 2", "B > 1"])
    arrays = {**bundle.arrays, **paths, "shared.category": codes}
    return replace(ready.judged, bundle=Bundle(bundle.manifest, arrays))


def test_lists_of_one_category_are_asked_for_by_its_page(sorted_out, monkeypatch):
    """To two steps; what is to be found was bought and stands in that category, whatever is considered."""
    wanted, truth = category_asked.asked_of(sorted_out)
    assert {path for each in wanted for path in each.categories} == {"A > 1", "A > 2", "B > 1"}
    codes, seen = sorted_out.bundle.shared.category, []
    for place, each in enumerate(wanted):
        allowed = sorted_out.bundle.categories_under(each.categories)
        at = int(np.searchsorted(sorted_out.truth.subjects, truth.subjects[place]))
        bought = sorted_out.truth.of(at)
        assert truth.of(place).tolist() == bought[np.isin(codes[bought], allowed)].tolist() != []
    monkeypatch.setattr(category_asked, "scores", lambda lists, truth, ks: seen.append(lists) or {})
    for breadth in (ALL, MOST, EACH):
        category_asked.by_customer(sorted_out.broad(breadth), {"popularity": 1.0, "item-item": 1.0})
    assert np.array_equal(seen[0], seen[1])  # a filter takes so much away that all of the rest is ordered
    for each, items in zip(wanted, seen[2], strict=True):
        assert np.isin(codes[items[items >= 0]], sorted_out.bundle.categories_under(each.categories)).all()


def test_without_categories_none_are_asked_for(ready, result):
    assert category_asked.by_customer(ready.judged, {"popularity": 1.0}) == {}
    assert {row.task for row in result.rows} == {"all", "new"}


def test_the_table_has_a_line_for_who_learned_and_who_serves(result):
    table = table_of(result.rows, "all")
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == [BASE, FEWER[0], OWN[0], FEWER[1], OWN[1]]
    assert not cells[2][0]  # nothing differs from itself
    assert all(" to " in cell for cell in cells[2][1:])


def test_the_verb_tells_and_writes_what_was_measured(result, monkeypatch, tmp_path, capsys):
    """By default several of each way are tried; one way alone where only that is named."""
    asked, bases = [], []

    def told(breadths, *_, base, **__) -> Result:
        asked.append(breadths)
        bases.append(base)
        return result

    monkeypatch.setattr(candidates, "run", told)
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "candidates", "--json", str(tmp_path / "rows.json")])
    told = capsys.readouterr().out
    assert "all purchases" in told
    assert "never bought before" in told
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["subject"] for row in rows} == {BASE, *FEWER, *OWN}
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "candidates", "--most", "200"])
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "candidates", "--past", "50", "--past", "200"])
    assert [len(each) for each in asked] == [6, 1, 2]
    assert asked[1] == [Breadth(100, 200, past=0)]
    assert asked[2] == [msgspec.structs.replace(USUAL, past=number) for number in (50, 200)]
    assert bases == [ALL, ALL, WHOLE]
    assert msgspec.structs.replace(USUAL, past=0) == WHOLE


def test_two_questions_at_once_are_refused(capsys):
    """Each would be compared with something else."""
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "candidates", "--past", "50", "--most", "120"])
    assert "ask twice" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "least"), [("--each", 40), ("--most", 80)])
def test_too_few_candidates_are_refused_before_anything_is_read(capsys, option, least):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "candidates", option, str(least - 1)])
    assert f"asks for {least} at least" in capsys.readouterr().err


def test_another_shop_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such data"):
        run([MOST], "gowalla", cache=tmp_path)
