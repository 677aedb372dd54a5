"""`kokyaku bench cold`: what is hidden is hidden everywhere, and the same people are asked whatever is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY, format_instant
from serving.recipe import Recipe, SourceSpec
from training.bench import cold
from training.bench.accuracy import Result
from training.bench.cold import CHOSEN, EVENTS_OF_CUSTOMER, EVENTS_OF_ITEM, PRIMARY, shown, table_of
from training.bench.cold_items import item_trial, tried
from training.bench.hiding import HidingDataset, ListingCut, all_but_last, customers_but_last, items_but_last
from training.catalogue import item_arrays
from training.split import Window, truth_of

FIRST = 1_483_228_800_000_000  # 2017-01-01


def at(day: float) -> str:
    return format_instant(FIRST + int(day * DAY))


def histories_of(lines: list[tuple[int, int, int]], subjects: int, items: int) -> Histories:
    """(subject, time, item) lines as purchases."""
    lines = sorted(lines)
    n = len(lines)
    events = History(
        *(np.array([line[1] for line in lines], np.int64) for _ in range(2)),
        np.array([line[2] for line in lines], np.int32), np.full(n, EventType.PURCHASE, np.int8),
        np.ones(n, np.float32), np.ones(n, np.float32), np.arange(n, dtype=np.uint64),
    )  # fmt: skip
    counts = np.bincount(np.array([line[0] for line in lines], np.int64), minlength=subjects)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    names = [f"c:{row:02}" for row in range(subjects)], [f"i{row:02}" for row in range(items)]
    return Histories(Vocabulary.of(names[0]), Vocabulary.of(names[1]), offsets, events)


LINES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(-1, 4)), max_size=40)


@given(LINES, st.integers(0, 6), st.integers(0, 20), st.data())
def test_the_last_few_events_stay(lines, keep, before, data):
    """Of each group the latest, at most as many as asked; what is later or in no group is never touched."""
    histories = histories_of(lines, 4, 5)
    events = histories.events
    groups = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=len(lines), max_size=len(lines))), np.int64)
    hidden = all_but_last(histories, groups, before, keep)
    assert not hidden[(groups < 0) | (events.time >= before)].any()
    for group in range(3):
        mine = (groups == group) & (events.time < before)
        assert (mine & ~hidden).sum() == min(keep, mine.sum())
        if (mine & hidden).any() and keep:
            assert events.time[mine & hidden].max() <= events.time[mine & ~hidden].min()


@given(LINES, st.integers(0, 20))
def test_showing_more_only_adds(lines, before):
    """The events of k are among those of k + 1, so that columns of the table are one series."""
    histories = histories_of(lines, 4, 5)
    few, more = (items_but_last(histories, np.array([1, 4], np.int32), before, keep) for keep in (1, 2))
    assert not (more & ~few).any()
    assert not few[~np.isin(histories.events.item, [1, 4])].any()


def test_a_customer_is_known_by_the_last_events_and_others_by_all():
    histories = histories_of([(0, t, 0) for t in range(9)] + [(1, t, 1) for t in range(9)], 2, 2)
    short = customers_but_last(histories, np.array([1], np.int32), before=6, keep=2)
    assert short.at(0).time.tolist() == list(range(9))
    assert short.at(1).time.tolist() == [4, 5, 6, 7, 8]
    assert short.as_of(6).at(1).time.tolist() == [4, 5]


@pytest.fixture(scope="module")
def shop(make_dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two tastes of twelve items whose titles share a word; the first item of each taste is bought anew in the window.

    Twenty customers a taste buy items 1 to 11 of their taste before day 100 in turn; the halves that never bought item
    0 buy it on day 105, the others have bought it before.
    """
    words = ("lantern", "teapot")
    items = [
        {"item_id": f"{word}{n:02}", "title": f"{word} {word}ware no{n}", "price": 10.0 + n}
        for word in words for n in range(12)
    ]  # fmt: skip
    events = []
    for taste, word in enumerate(words):
        for who in range(20):
            name = f"c{taste}{who:02}"
            events += [
                {"customer_id": name, "item_id": f"{word}{1 + (who + n) % 11:02}", "at": at(10 + 8 * n + who / 50)}
                for n in range(8)
            ]
            day = 50 + who / 50 if who < 10 else 105 + who / 50
            events.append({"customer_id": name, "item_id": f"{word}00", "at": at(day)})
            events.append({"customer_id": name, "item_id": f"{word}{1 + who % 11:02}", "at": at(106)})
            events += [{"customer_id": f"z{taste}{who:02}", "item_id": f"{word}00", "at": at(60 + who / 50)}]
    return make_dataset(tmp_path_factory.mktemp("cold") / "dataset", events=events, items=items)


WINDOW = Window(FIRST + 100 * DAY, FIRST + 120 * DAY)
SOURCES = {
    "popularity": SourceSpec("popularity", "popularity"),
    "content": SourceSpec("content", "neighbours", "content"),
    "item-item": SourceSpec("item-item", "neighbours", "cosine"),
}
RECIPES = [
    *(Recipe(name, tuple({each.name: each for each in (SOURCES["popularity"], spec)}.values()), {name: 1.0})
      for name, spec in SOURCES.items()),
    Recipe(CHOSEN, tuple(SOURCES.values()), {"item-item": 1.0, "content": 0.5}),
]  # fmt: skip


def test_hidden_events_are_in_no_statistic(shop):
    """Sales, buyers and age of an item are those of a dataset that never held the events."""
    histories = histories_as_of(shop)
    row = histories.items.find("lantern00")
    hidden = items_but_last(histories, np.array([row], np.int32), WINDOW.start, 1)
    assert hidden.sum() == 29
    some, whole = (
        item_arrays(dataset, histories.items, WINDOW.start)
        for dataset in (HidingDataset(shop.root, histories.events.key[hidden]), shop)
    )
    assert (whole["shared.buyers"][row], some["shared.buyers"][row]) == (30, 1)
    assert some["shared.age_days"][row] < whole["shared.age_days"][row]
    others = np.arange(len(histories.items)) != row
    assert np.array_equal(some["shared.buyers"][others], whole["shared.buyers"][others])
    again = histories_as_of(HidingDataset(shop.root, histories.events.key[hidden]))
    assert np.array_equal(again.events.key, histories.where(~hidden).events.key)


def test_a_held_out_item_is_listed_and_bought_by_nobody(shop):
    histories = histories_as_of(shop)
    also = np.array([name == "lantern00" for name in histories.items])
    hidden = items_but_last(histories, np.flatnonzero(also).astype(np.int32), WINDOW.start, 0)
    cut = ListingCut(histories.where(~hidden), WINDOW.start, also=also, min_customers=5)
    assert cut.buyers[also].tolist() == [0]
    assert cut.listed.all()


@pytest.mark.parametrize("keep", [0, 1, None])
def test_content_finds_what_nobody_bought(shop, keep):
    """Its first buyers find an item without events by its title alone; what learns from purchases needs some."""
    histories = histories_as_of(shop)
    listed = np.ones(len(histories.items), bool)
    truth = truth_of(histories, WINDOW, listed=listed)
    trial = item_trial(
        histories, shop, WINDOW, listed, truth, items=5, buyers=50, regions={}, min_customers=5
    )  # fmt: skip
    assert [histories.items[item] for item in trial.items.tolist()] == ["lantern00", "teapot00"]
    assert len(trial.truth) == len(trial.truth.items) == 20
    found, failed = tried(trial, keep, RECIPES, CHOSEN, {})
    assert not failed
    assert np.isfinite(found["content"].percentile).all()
    assert found["content"].percentile.mean() > 0.6
    if keep == 0:
        # no opinion, or one that tells nothing: not above the middle of what is left to buy
        assert found["item-item"].percentile.mean() < 0.5
        assert found["popularity"].percentile.max() < 0.05  # nothing sells less: the two share the last places
        assert found[CHOSEN].percentile.mean() > found["popularity"].percentile.mean()
    if keep is None:
        assert found["item-item"].percentile.mean() > 0.8
        assert found["popularity"].hit.mean() == 1.0


def test_a_source_that_cannot_be_fitted_is_named_and_undefined(shop):
    """The others are measured all the same; the recipe that needs it is undefined, not bad."""
    histories = histories_as_of(shop)
    listed = np.ones(len(histories.items), bool)
    truth = truth_of(histories, WINDOW, listed=listed)
    trial = item_trial(
        histories, shop, WINDOW, listed, truth, items=1, buyers=5, regions={}, min_customers=5
    )  # fmt: skip
    never = SourceSpec("co-purchase", "neighbours", "co-purchase", {"least_llr": 1e9})
    recipes = [RECIPES[0], Recipe(CHOSEN, (SOURCES["popularity"], never), {"popularity": 1.0, "co-purchase": 1.0})]
    found, failed = tried(trial, 0, recipes, CHOSEN, {})
    assert set(failed) == {"co-purchase"}
    assert np.isnan([*found[CHOSEN].hit, *found[CHOSEN].percentile]).all()
    assert np.isfinite(found["popularity"].percentile).all()


@pytest.fixture(scope="module")
def result(tiny_dataset: Path) -> Result:
    """The benchmark on the tiny simulated shop."""
    dataset = Dataset(tiny_dataset)
    histories = histories_as_of(dataset)
    end = int(histories.events.time.max()) // DAY * DAY
    windows = Window(end - 40 * DAY, end - 20 * DAY), Window(end - 20 * DAY, end)
    return cold.measure(histories, dataset, "tiny", *windows, resamples=50, min_customers=2)


def test_every_number_of_events_has_every_subject(result):
    """The chosen recipe and all single sources, on both tasks and on items."""
    subjects = {CHOSEN, "popularity", "personal-frequency", "ials", "ease", "item-item", "content", "bpr"}
    for task, metrics, kept in (
        ("all", (PRIMARY,), EVENTS_OF_CUSTOMER), ("new", (PRIMARY,), EVENTS_OF_CUSTOMER),
        ("items", ("recall@20", "percentile"), EVENTS_OF_ITEM),
    ):  # fmt: skip
        there = {(row.subject, row.metric) for row in result.rows if row.task == task}
        assert {(s, f"{m}:{shown(k)}") for s in subjects for m in metrics for k in kept} <= there


def test_popularity_does_not_depend_on_what_is_known_of_a_customer(result):
    """On all purchases: it reads no history, so its column is one figure; and the differences are paired."""
    value = {(row.task, row.subject, row.metric): row for row in result.rows}
    columns = {value["all", "popularity", f"{PRIMARY}:{shown(k)}"].value for k in EVENTS_OF_CUSTOMER}
    assert len(columns) == 1
    for keep in EVENTS_OF_CUSTOMER:
        gap = value["all", CHOSEN, f"{PRIMARY}:{shown(keep)}"].value - columns.copy().pop()
        told = value["all", CHOSEN, f"{PRIMARY}-difference:popularity:{shown(keep)}"]
        assert told.value == pytest.approx(gap)
        assert told.low <= told.value <= told.high
    nothing = value["all", "personal-frequency", f"{PRIMARY}:{shown(0)}"].value
    assert nothing == pytest.approx(columns.pop())  # nothing known: the list is filled with what sells
    assert value["all", "personal-frequency", f"{PRIMARY}:{shown(None)}"].value > nothing


def test_the_table_has_a_line_a_subject_and_the_difference_below(result):
    table = table_of(result.rows, "all", PRIMARY, EVENTS_OF_CUSTOMER)
    names = list(table.columns[0].cells)
    assert (names[0], names[-1]) == (CHOSEN, "minus popularity")
    assert [str(column.header) for column in table.columns[1:]] == [
        "0 events", "1 event", "2 events", "5 events", "all events",
    ]  # fmt: skip
    told = dict(zip(names, table.columns[1].cells, strict=True))
    value = {(row.subject, row.metric): row for row in result.rows if row.task == "all"}
    mine = value[CHOSEN, f"{PRIMARY}:0 events"]
    assert told[CHOSEN] == f"{mine.value:.3f}\n{mine.low:.3f} {mine.high:.3f}"
    assert told["minus popularity"].startswith(("+", "-"))
    assert "\n" not in told["ials"]


def test_newcomers_and_rules_are_told(result):
    said = " ".join(result.notes)
    assert "who are new to the fit" in said
    assert "kokyaku is " in said


def test_bad_input_is_one_line(shop, tmp_path: Path):
    """Nobody to show newcomers, an unknown shop, a file that is not there."""
    histories = histories_as_of(shop)
    early = Window(FIRST + 5 * DAY, FIRST + 15 * DAY), Window(FIRST + 15 * DAY, FIRST + 25 * DAY)
    with pytest.raises(DataError, match="nobody"):
        cold.measure(histories, shop, "toy", *early)
    with pytest.raises(ConfigError, match="one of: complete-journey"):
        cold.run("online-retial")
    with pytest.raises((ConfigError, DataError)):
        cold.run("online-retail", tmp_path / "nothing.csv", cache=tmp_path)
    with pytest.raises(ConfigError, match="preset"):
        cold.command(preset="huge")
