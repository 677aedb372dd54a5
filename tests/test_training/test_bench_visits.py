"""`kokyaku bench visits` in worlds where it is known what the session must bring: everything, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.history import Histories
from features.moments import DAY, MINUTE, format_instant
from features.shop import Shop
from serving.bundle import Bundle
from serving.explain import contributions
from serving.query import Query
from serving.ranker import Ranker
from serving.recipe import Recipe, SourceSpec, as_json
from serving.scoring import InSession
from training.bench import visits as bench
from training.bench.accuracy import CHOSEN, PRIMARY, Result
from training.bench.rows import Row
from training.bench.visit_rows import BESIDE, CONTEXT, GROUPS, UNTOLD, groups_of, shown, table_of
from training.bench.visits import VIEWS
from training.cli import main
from training.fitting import Cut, fit_bundle
from training.intent import LEAST, PARTS, Asked, ask, told, weigh
from training.rankers import EFFORT, Rankers, ranked
from training.recipes import SESSION, complete
from training.split import Window
from training.visits import visits_of

FIRST = 1_483_228_800_000_000  # 2017-01-01
PEOPLE, ITEMS, DAYS = 60, 12, 60
WINDOWS = Window(FIRST + 40 * DAY, FIRST + 50 * DAY), Window(FIRST + 50 * DAY, FIRST + DAYS * DAY)
SPECS = (SourceSpec("popularity", "popularity"), SourceSpec(SESSION, "session", "session"))
HABIT = SourceSpec("personal-frequency", "personal-frequency")


def item(number: int) -> str:
    return f"i{number % ITEMS:02}"


def shop_of(make_dataset: Callable[..., Dataset], root: Path, bought: Callable[[int, int], int]) -> Dataset:
    """Everybody visits every fifth day, looks at an item drawn at random and, eight minutes on, buys one.

    Every third visit is a visitor's; every sixth one's who signs in after the look.

    Args:
        make_dataset: fixture.
        root: its folder.
        bought: (person, item looked at) -> item bought.
    """
    random, events, links = np.random.default_rng(0), [], []
    for person in range(PEOPLE):
        for number, day in enumerate(range(person % 5, DAYS, 5)):
            start, looked = FIRST + day * DAY + person * 20 * MINUTE, int(random.integers(ITEMS))
            customer, visitor = {"customer_id": f"c{person:02}"}, {"visitor_id": f"v{person:02}-{number}"}
            kind = (person + number) % 6  # 0: a stranger, 3: signs in, else known
            first = visitor if kind in (0, 3) else customer
            events.append({"type": "view", "item_id": item(looked), "at": format_instant(start), **first})
            paying = visitor if kind == 0 else customer
            moment = format_instant(start + 8 * MINUTE)
            events.append({"item_id": item(bought(person, looked)), "at": moment, **paying})
            if kind == 3:
                links.append({**visitor, **customer, "linked_at": start + 5 * MINUTE})
    return make_dataset(root, events=events, identities=links)


@pytest.fixture(scope="module")
def telling(make_dataset: Callable[..., Dataset], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Who looks at an item buys the one that stands opposite, whoever it is: only the visit tells."""
    root = tmp_path_factory.mktemp("telling") / "dataset"
    return shop_of(make_dataset, root, lambda person, looked: looked + ITEMS // 2)


@pytest.fixture(scope="module")
def empty(make_dataset: Callable[..., Dataset], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Everybody buys an item of their own each time, whatever they look at: views mean nothing."""
    root = tmp_path_factory.mktemp("empty") / "dataset"
    return shop_of(make_dataset, root, lambda person, looked: person)


def measured(dataset: Dataset) -> Result:
    return bench.measure(histories_as_of(dataset), dataset, "toy", *WINDOWS, resamples=200)


@pytest.fixture(scope="module")
def found(telling: Dataset) -> Result:
    return measured(telling)


@pytest.fixture(scope="module")
def nothing(empty: Dataset) -> Result:
    return measured(empty)


def rows_of(result: Result, part: str, moment: str, group: str = "customers") -> Mapping[tuple[str, str], Row]:
    """(subject, metric without its end) -> row."""
    end = f":{group}:{moment}"
    return {
        (row.subject, row.metric.removesuffix(end)): row
        for row in result.rows
        if row.task == part and row.metric.endswith(end)
    }


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("part", PARTS)
def test_where_views_tell_everything_the_session_must_win(found: Result, part: str, group: str) -> None:
    """Of what was not viewed it is the first item; with the viewed one before it, at worst the second."""
    told_now = rows_of(found, part, "1 view", group)
    best = 1.0 if part == "not viewed" else 1 / np.log2(3)
    assert told_now["session", PRIMARY].value >= 0.95 * best
    assert told_now[CHOSEN + BESIDE, PRIMARY].value >= 0.9 * best
    gain = told_now[CHOSEN + BESIDE, f"{PRIMARY}-difference:{CHOSEN}"]
    assert gain.low is not None
    assert gain.low > 0.05
    assert told_now["popularity", PRIMARY].value < 0.75 * best


def test_at_arrival_the_session_says_nothing(found: Result) -> None:
    """Nobody has looked at anything: with and without it the lists are the same, to the last place."""
    for group in GROUPS:
        gain = rows_of(found, "all", "arrival", group)[CHOSEN + BESIDE, f"{PRIMARY}-difference:{CHOSEN}"]
        assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)


def test_where_views_mean_nothing_the_session_must_not_count(nothing: Result) -> None:
    """Its weight is chosen on the earlier window, where it helps nobody: what serves stays what it is."""
    for part in PARTS:
        now = rows_of(nothing, part, "1 view")
        gain = now[CHOSEN + BESIDE, f"{PRIMARY}-difference:{CHOSEN}"]
        assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)
        alone = now[SESSION, f"{PRIMARY}-difference:{CHOSEN}"]
        assert alone.high is not None
        assert alone.high < 0
    assert rows_of(nothing, "all", "1 view")[CHOSEN, PRIMARY].value > 0.95
    assert any("does not order lists" in note for note in nothing.notes)


def test_groups_are_apart_and_counted(found: Result) -> None:
    """A third of the visits begin as a visitor's, each of a visitor's is a first one; all buy something listed."""
    counts = {group: rows_of(found, "all", "1 view", group)["all", "visits"].value for group in GROUPS}
    whole = counts["customers"] + counts["visitors"]
    assert whole == PEOPLE * 2  # every fifth of ten days
    assert counts["visitors"] / whole == pytest.approx(1 / 3, abs=0.02)
    assert counts["first visits"] == counts["visitors"]
    assert f"{int(whole):,} are judged" in found.notes[-1]
    assert rows_of(found, "all", "2 views")["all", "visits"].value == 0  # nobody looks twice
    assert np.isnan(rows_of(found, "all", "2 views")[SESSION, PRIMARY].value)


def test_differences_are_paired(found: Result) -> None:
    now = rows_of(found, "all", "1 view", "visitors")
    for mine, other in ((SESSION, CHOSEN), (CHOSEN, "popularity")):
        told_row = now[mine, f"{PRIMARY}-difference:{other}"]
        assert told_row.value == pytest.approx(now[mine, PRIMARY].value - now[other, PRIMARY].value)


def test_the_table_has_a_line_a_subject_and_differences_below(found: Result) -> None:
    table = table_of(found.rows, "customers", "all", VIEWS)
    names = [str(name) for name in table.columns[0].cells]
    assert [str(column.header) for column in table.columns[1:]] == [shown(views) for views in VIEWS]
    assert names[0] == "visits (persons)"
    assert {"popularity", "session", CHOSEN, CHOSEN + BESIDE, f"{CHOSEN + BESIDE}\n  minus {CHOSEN}"} <= set(names)
    cells = dict(zip(names, table.columns[2].cells, strict=True))
    value = rows_of(found, "all", "1 view")
    assert cells[SESSION] == f"{value[SESSION, PRIMARY].value:.3f} {value[SESSION, 'hr@20'].value:.3f}"


def test_context_is_told_only_where_it_is_asked_for(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    """Phones buy one half of the shop and desktops the other: told the device, popularity by context finds the half."""
    events = []
    for number in range(600):
        device, moment = ("phone", "desktop")[number % 2], FIRST + number * DAY // 8
        bought, who = 2 * (number * 7 % 13) + number % 2, {"visitor_id": f"v{number}", "device": device}
        if number < 480:  # known customers teach it
            who = {"customer_id": f"c{number % 240}", "device": device}
        events += [
            {"type": "view", "item_id": f"i{bought:02}", "at": format_instant(moment), **who},
            {"item_id": f"i{bought:02}", "at": format_instant(moment + MINUTE), **who},
        ]  # fmt: skip
    dataset = make_dataset(tmp_path / "dataset", events=events)
    histories, window = histories_as_of(dataset), Window(FIRST + 60 * DAY, FIRST + 75 * DAY)
    cut = Cut(histories, window.start, dataset=dataset)
    spec = SourceSpec(CONTEXT, CONTEXT, CONTEXT)
    bundle = fit_bundle(cut, Recipe("arena", (SPECS[0], spec), {"popularity": 1.0}))
    visits = visits_of(dataset, histories, window, listed=cut.listed)
    entries = {CONTEXT: Asked({CONTEXT: 1.0}), UNTOLD: Asked({CONTEXT: 1.0}, told=False)}
    answers = ask(bundle, visits, 0, entries, regions={})
    assert groups_of(visits, answers)["first visits"].all()
    told_it, untold = (answers.scores["all"][name][PRIMARY].mean() for name in (CONTEXT, UNTOLD))
    assert told_it > untold + 0.03


def test_trees_with_the_session_beside_them_rank_alike_however_they_are_asked(telling: Dataset) -> None:
    """Several weights at once, which share the rows of the trees, and each alone."""
    histories = histories_as_of(telling)
    cut_at = cache(lambda moment: Cut(histories, moment, dataset=telling))
    base = Recipe("base", (*SPECS, HABIT), {"popularity": 1.0})
    recipe = ranked(base, base.sources, ["popularity", "personal-frequency"])[0]
    rankers = Rankers(histories, cut_at, 10 * DAY, regions={}, effort=EFFORT["quick"], threads=1)
    assert recipe.ranker is not None
    trees = rankers.fit(recipe.ranker, recipe.sources, WINDOWS[0].start)
    bundle = fit_bundle(cut_at(WINDOWS[0].start), base, rankers=trees)
    visits, ranker = visits_of(telling, histories, WINDOWS[0], listed=bundle.catalogue), Ranker(bundle)
    voices = [recipe.ranker, *(InSession(recipe.ranker, SESSION, weight) for weight in (0.3, 3.0))]
    led = 0
    for moment in visits.moments(1)[::15]:
        query = Query(now=moment.now, history=visits.shown(moment))
        for voice, slate in zip(voices, ranker.rank_each(query, voices), strict=True):
            alone = ranker.rank(query, voice)
            assert slate.items.tolist() == alone.items.tolist()
            assert slate.scores.tolist() == alone.scores.tolist()
            led += "session" in slate.sources
    assert led
    served = msgspec.structs.replace(complete(recipe, base.sources, (SESSION,)), session_weight=3.0)
    serving: Any = SimpleNamespace(bundle=Bundle({**bundle.manifest, "recipe": as_json(served)}, bundle.arrays))
    serving.ranker = Ranker(serving.bundle)
    slate = serving.ranker.rank(query)
    assert slate.items.tolist() == alone.items.tolist()  # the last voice asked was that one
    names = {each["itemId"] for each in contributions(serving, query, slate)}  # what the trees say can still be audited
    assert names == {bundle.items[row] for row in slate.items[: len(slate.items) - slate.filled].tolist()}


def weighed_on(dataset: Dataset, histories: Histories, at_most: int) -> tuple[float, list[str]]:
    cut = Cut(histories, WINDOWS[0].start, dataset=dataset)
    bundle: Bundle = fit_bundle(cut, Recipe("arena", (*SPECS, HABIT), {"popularity": 1.0}))
    visits = visits_of(dataset, histories, WINDOWS[0], listed=cut.listed, at_most=at_most)
    found = weigh(bundle, visits, "habit", {HABIT.name: 1.0}, SESSION, regions={}, resamples=200)
    return found.weight, told(found)


def test_the_weight_is_chosen_where_it_surely_helps(telling: Dataset, empty: Dataset) -> None:
    """Much of it in the first world, none in the second, and none where there are too few visits to tell."""
    helps, said = weighed_on(telling, histories_as_of(telling), 60)
    assert helps > 0
    assert said[0].startswith(f"While a session runs it counts {helps:g} beside the rest of habit: ndcg@20")
    useless, said = weighed_on(empty, histories_as_of(empty), 60)
    assert useless == 0
    assert "does not order lists of habit" in said[0]
    few, said = weighed_on(telling, histories_as_of(telling), LEAST - 1)
    assert few == 0
    assert "too few" in said[0]


def test_a_shop_without_views_is_a_sentence_and_exit_code_2(
    make_dataset: Callable[..., Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Shop("plain", tmp_path / "plain")
    events = [
        {"customer_id": f"c{n % 9}", "item_id": item(n), "at": format_instant(FIRST + n * DAY)} for n in range(90)
    ]
    dataset = make_dataset(shop.dataset, events=events)
    with pytest.raises(DataError, match="no views"):
        bench.measure(histories_as_of(dataset), dataset, "plain", *WINDOWS)
    with pytest.raises(SystemExit) as ended:
        main(["bench", "visits", "--shop", "plain", "--root", str(shop.root)])
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "this shop has no views" in said
    assert "Traceback" not in said


def test_views_that_lead_nowhere_are_a_sentence_too(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    events = [
        {"customer_id": f"c{n % 9}", "item_id": item(n), "at": format_instant(FIRST + n * DAY)} for n in range(99)
    ]
    events.append({"type": "view", "customer_id": "c1", "item_id": item(1), "at": format_instant(FIRST)})
    dataset = make_dataset(tmp_path / "dataset", events=events)
    with pytest.raises(DataError, match="no visit of the judged window"):
        bench.measure(histories_as_of(dataset), dataset, "toy", *WINDOWS)


def test_bad_options_are_one_line() -> None:
    with pytest.raises(ConfigError, match="preset"):
        bench.command(preset="huge")
    with pytest.raises(ConfigError, match="shop"):
        bench.command(root=Path("somewhere"))


def test_help_has_examples() -> None:
    from training.commands.bench import app

    said = CliRunner().invoke(app, ["visits", "--help"]).output
    assert "kokyaku bench visits --shop mine" in " ".join(said.split())
