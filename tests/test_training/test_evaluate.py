"""Evaluation replays the ranker that serves, as of the window's start, and scores what it would have shown."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from features.errors import ConfigError
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from serving.bundle import Bundle
from serving.query import Query
from serving.ranker import Ranker
from serving.recipe import Recipe, SourceSpec, as_json
from training.evaluate import FILTERS, compare, evaluate, purchases, slices_of
from training.fitting import Cut, fit_bundle
from training.metrics import scores
from training.split import Window, truth_of

START = 100 * DAY
WINDOW = Window(START, START + 10 * DAY)
CUSTOMERS, ITEMS = 20, 30


def shop() -> Histories:
    """Two tastes of 15 items; before the window each customer bought ten of the own taste, number u twice as often.

    In the window everyone buys again what was bought last, and one item of the taste for the first time.
    """
    lines: list[tuple[int, float, int]] = []
    for u in range(CUSTOMERS):
        taste = [i for i in range(ITEMS) if i % 2 == u % 2]
        mine = [taste[(u // 2 + n) % 15] for n in range(10)]
        lines += [(u, 50 + n, item) for n, item in enumerate(mine)]
        lines += [(u, 80 + n, mine[n]) for n in range(u % 5)]
        lines += [(u, 95, mine[9]), (u, 101, mine[9]), (u, 102, taste[(u // 2 + 10) % 15])]
    lines.sort()
    history = History(
        time=np.array([int(line[1] * DAY) for line in lines], np.int64),
        recorded=np.array([int(line[1] * DAY) for line in lines], np.int64),
        item=np.array([line[2] for line in lines], np.int32),
        type=np.full(len(lines), EventType.PURCHASE, np.int8),
        quantity=np.ones(len(lines), np.float32),
        value=np.ones(len(lines), np.float32),
        key=np.arange(len(lines), dtype=np.uint64),
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount([line[0] for line in lines]))]).astype(np.int64)
    subjects = Vocabulary.of([f"c:{u:02}" for u in range(CUSTOMERS)])
    return Histories(subjects, Vocabulary.of([f"i{n:02}" for n in range(ITEMS)]), offsets, history)


HISTORIES = shop()
CUT = Cut(HISTORIES, START, min_customers=2)
TRUTH = truth_of(HISTORIES, WINDOW, listed=CUT.listed)
SOURCES = (
    SourceSpec("popularity", "popularity"),
    SourceSpec("personal-frequency", "personal-frequency"),
    SourceSpec("cosine", "neighbours", "cosine"),
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """All sources; its recipe is personal frequency."""
    return fit_bundle(CUT, Recipe("buy-again", SOURCES, {"personal-frequency": 1.0}))


def with_recipe(bundle: Bundle, name: str, weights: dict[str, float]) -> Bundle:
    """The same arrays under another recipe."""
    recipe = msgspec.structs.replace(bundle.recipe, name=name, weights=weights)
    return Bundle({**bundle.manifest, "recipe": as_json(recipe)}, bundle.arrays)


def test_lists_are_what_the_ranker_answers_at_the_windows_start(bundle):
    """Asked with the history known then, for each customer, on both tasks."""
    found = evaluate(bundle, HISTORIES, WINDOW, TRUTH)
    ranker, known = Ranker(bundle), HISTORIES.as_of(START)
    for task, result in found.tasks.items():
        for place in (0, 7, 19):
            query = Query(START, known.at(place), num_results=20, filter=FILTERS[task])
            listed = ranker.rank(query).items
            assert result.lists[place, : len(listed)].tolist() == listed.tolist()


def test_the_task_new_shows_nothing_that_was_bought_and_is_scored_on_new_items_only(bundle):
    """And its metrics are those of the lists against the new part of the truth."""
    found = evaluate(bundle, HISTORIES, WINDOW, TRUTH).tasks["new"]
    known = HISTORIES.as_of(START)
    for place, row in enumerate(TRUTH.subjects):
        assert not set(found.lists[place].tolist()) & set(known.at(int(row)).item.tolist())
    expected = scores(found.lists, TRUTH.new(), [20])
    np.testing.assert_array_equal(found.by_customer["ndcg@20"], expected["ndcg@20"])


def test_each_source_is_good_where_it_should_be(bundle):
    """Repeat purchase finds what is bought again, neighbours find the new item of the taste, popularity neither."""
    results = {name: evaluate(with_recipe(bundle, name, {name: 1.0}), HISTORIES, WINDOW, TRUTH) for name in
               ("popularity", "personal-frequency", "cosine")}  # fmt: skip

    def mean(name: str, task: str) -> float:
        return float(np.nanmean(results[name].tasks[task].by_customer["ndcg@10"]))

    assert mean("personal-frequency", "all") > mean("popularity", "all") + 0.1
    assert mean("cosine", "new") > 0.6 > mean("popularity", "new")


def test_given_weights_are_judged_instead_of_the_recipes(bundle):
    """So that a blend can be tried without another bundle."""
    own = evaluate(with_recipe(bundle, "cosine", {"cosine": 1.0}), HISTORIES, WINDOW, TRUTH)
    given = evaluate(bundle, HISTORIES, WINDOW, TRUTH, weights={"all": {"cosine": 1.0}, "new": {"cosine": 1.0}})
    for task in ("all", "new"):
        np.testing.assert_array_equal(own.tasks[task].lists, given.tasks[task].lists)


def test_the_window_itself_is_never_seen(bundle):
    """The lists are the same when the window's events are not there at all."""
    with_window = evaluate(bundle, HISTORIES, WINDOW, TRUTH)
    without = evaluate(bundle, HISTORIES.as_of(START), WINDOW, TRUTH)
    np.testing.assert_array_equal(with_window.tasks["all"].lists, without.tasks["all"].lists)


def test_who_bought_nothing_new_is_undefined_there_and_judged_on_all(bundle):
    """The same customers stand in the same rows on both tasks."""
    kept = HISTORIES.where((HISTORIES.events.time < 102 * DAY) | (HISTORIES.subject_rows() > 0))
    truth = truth_of(kept, WINDOW, listed=CUT.listed)
    found = evaluate(bundle, kept, WINDOW, truth)
    new, everything = (found.tasks[task].by_customer["ndcg@20"] for task in ("new", "all"))
    assert np.isnan(new[0])
    assert not np.isnan(new[1:]).any()
    assert not np.isnan(everything).any()


def test_coverage_and_novelty_come_with_every_task(bundle):
    """Shares of the catalogue and bits, at both cuts."""
    found = evaluate(bundle, HISTORIES, WINDOW, TRUTH).tasks["all"]
    assert 0 < found.overall["coverage@10"] <= found.overall["coverage@20"] <= 1
    bits = found.by_customer["novelty@20"]
    assert ((bits >= 0) & (bits <= np.log2(CUSTOMERS))).all()


def test_progress_counts_every_customer_once_a_task(bundle):
    """A bar over customers."""
    heard: list[int] = []
    evaluate(bundle, HISTORIES, WINDOW, TRUTH, progress=heard.append)
    assert sum(heard) == 2 * len(TRUTH)


def test_slices_split_customers_by_how_much_they_bought():
    """Tertiles are apart and together everyone; cold means under ten purchases before the window."""
    known = HISTORIES.as_of(START)
    slices = slices_of(known, TRUTH)
    tertiles = np.array([slices[f"{size} customers"] for size in ("light", "middling", "heavy")])
    assert (tertiles.sum(axis=0) == 1).all()
    counts = purchases(known)
    assert counts.tolist() == [len(known.at(row)) for row in range(CUSTOMERS)]
    assert counts[slices["heavy customers"]].min() > counts[slices["light customers"]].max()
    assert not slices["cold customers (under 10 purchases)"].any()
    assert slices["warm customers"].all()


def test_nobody_to_judge_is_no_error(bundle):
    """A window without purchases."""
    later = Window(START + 50 * DAY, START + 60 * DAY)
    truth = truth_of(HISTORIES, later, listed=CUT.listed)
    found = evaluate(bundle, HISTORIES, later, truth)
    assert found.tasks["all"].lists.shape == (0, 20)
    assert found.slices == {}
    assert compare(found, found, "ndcg@20", "all").n == 0


def test_compare_is_the_paired_difference_of_the_same_customers(bundle):
    """The mean of the differences, with its interval; a recipe against itself is exactly zero."""
    mine, other = (evaluate(with_recipe(bundle, name, {name: 1.0}), HISTORIES, WINDOW, TRUTH) for name in
                   ("cosine", "popularity"))  # fmt: skip
    found = compare(mine, other, "ndcg@20", "new")
    gap = mine.tasks["new"].by_customer["ndcg@20"] - other.tasks["new"].by_customer["ndcg@20"]
    assert found.value == pytest.approx(gap.mean())
    assert 0 < found.low <= found.value <= found.high
    assert compare(mine, mine, "ndcg@20", "new").high == 0


def test_recipes_judged_on_other_customers_are_not_compared(bundle):
    """A difference of means over different people says nothing of the recipes."""
    mine = evaluate(bundle, HISTORIES, WINDOW, TRUTH)
    fewer = truth_of(HISTORIES, WINDOW, listed=CUT.listed, subjects=["c:01", "c:02"])
    with pytest.raises(ConfigError, match="same customers"):
        compare(mine, evaluate(bundle, HISTORIES, WINDOW, fewer), "ndcg@20", "all")
