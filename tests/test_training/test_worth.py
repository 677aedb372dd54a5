"""Which voices of a ranker are worth their time: of twins one leaves, and what the order hangs on stays."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from features.history import Histories
from features.moments import DAY
from serving.recipe import RankerSpec, Recipe, SourceSpec
from serving.settings.shop import GateSettings
from tests.test_training.test_fitting import histories_of
from training import journal, plots, train, worth
from training.contest import Arena, contest, sampled, voices_of
from training.evaluate import TASKS
from training.fitting import Cut, fit_bundle
from training.gate import Entrant
from training.intervals import Interval
from training.journal import Judged
from training.rankers import Effort, Rankers
from training.recipes import BASELINES
from training.selection import Choice
from training.session import Champion
from training.split import Window, truth_of
from training.worth import DOUBT, SEEDS, Loss, told, worth_hearing

ITEMS, CUSTOMERS, STEP = 64, 240, 10
WINDOW = Window(80 * DAY, 90 * DAY)
SOURCES = (
    SourceSpec("popularity", "popularity"), SourceSpec("personal-frequency", "personal-frequency"),
    SourceSpec("sequence", "sequence", "sequence"), SourceSpec("twin", "sequence", "sequence"),
)  # fmt: skip
NAMES = tuple(spec.name for spec in SOURCES)
RECIPE = Recipe(
    "ranker", SOURCES, {"popularity": 1.0}, ranker=RankerSpec("ranker", "binary", NAMES, {"trees": 30, "min_leaf": 10})
)


@pytest.fixture(scope="module")
def histories() -> Histories:
    """Everybody buys one item every ten days, always the one with the next number."""
    lines = [
        (f"c:{n:03}", n % 10 + STEP * step, (7 * n + step) % ITEMS) for n in range(CUSTOMERS) for step in range(9)
    ]  # fmt: skip
    return histories_of(lines, ITEMS)


@pytest.fixture(scope="module")
def rankers(histories: Histories) -> Rankers:
    cuts: dict[int, Cut] = {}

    def cut_at(moment: int) -> Cut:
        return cuts.setdefault(moment, Cut(histories, moment, min_customers=1))

    return Rankers(histories, cut_at, STEP * DAY, regions={}, effort=Effort(400), threads=1)


@pytest.fixture(scope="module")
def arena(histories: Histories, rankers: Rankers) -> Arena:
    """With a few of its customers only, as weights are chosen on."""
    cut = rankers.cut_at(WINDOW.start)
    truth = sampled(truth_of(histories, WINDOW, listed=cut.listed), 30)
    return Arena(fit_bundle(cut, Recipe("arena", SOURCES, {"popularity": 1.0})), histories, WINDOW, truth, {})


def test_of_twins_one_leaves_and_the_other_stays(arena: Arena, rankers: Rankers) -> None:
    """What comes next is all that can be known here: without both nothing is left of the lists."""
    voices, losses = worth_hearing(RECIPE, arena, rankers, GateSettings())
    notes = told(losses)
    assert [name for name in voices if name in BASELINES] == list(BASELINES)
    assert len(voices) == 3
    gone = next(name for name in NAMES if name not in voices)
    kept = next(name for name in voices if name not in BASELINES)
    assert notes[0].startswith(f"No ranker listens to {gone}: without it lists change by ")
    assert notes[1].startswith(f"Rankers listen to {kept}: without it lists change by -")


def test_nothing_is_remembered_of_trials_but_their_trees(
    arena: Arena, rankers: Rankers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trees of the voices that stay are there already when the ranker is fitted; examples of trials are not.

    Each trial gathers those of its own windows, once, and none is kept for the next.
    """
    fresh, made, aside = dataclasses.replace(rankers, _examples={}, _fitted={}), [], Rankers.aside

    def watched(mine: Rankers) -> Rankers:
        made.append(aside(mine))
        return made[-1]

    monkeypatch.setattr(Rankers, "aside", watched)
    voices, losses = worth_hearing(RECIPE, arena, fresh, GateSettings())
    windows = len(rankers.windows(WINDOW.start))
    assert [len(each._examples) for each in made] == [windows] * (1 + len(losses))
    assert RECIPE.ranker is not None
    spec = msgspec.structs.replace(RECIPE.ranker, voices=tuple(voices))
    assert not fresh._examples
    fresh.fit(spec, SOURCES, WINDOW.start)
    assert not fresh._examples, "they would have been gathered once more"


def test_more_customers_are_looked_at_than_weights_are_chosen_on(arena: Arena, rankers: Rankers) -> None:
    heard: dict[str, int] = {}
    heeded = dataclasses.replace(rankers, tell=lambda what, done, total: heard.update({what: total}))
    worth_hearing(RECIPE, arena, heeded, GateSettings())
    assert {total for what, total in heard.items() if what.startswith(("hear all", "leave out"))} == {2 * CUSTOMERS}


def test_a_ranker_that_cannot_be_fitted_is_no_reason_to_leave_anybody_out(arena: Arena, rankers: Rankers) -> None:
    """The caller keeps all voices, and the fit itself says why there is none."""
    first = int(arena.histories.events.time.min())
    early = dataclasses.replace(arena, window=Window(first + DAY, first + 11 * DAY))
    with pytest.raises(DataError, match="too short"):
        worth_hearing(RECIPE, early, rankers, GateSettings())


def test_a_voice_without_which_nothing_can_be_learned_stays(
    arena: Arena, rankers: Rankers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are tried all the same: what was found of them is not lost."""
    fit = Rankers.fit

    def refusing(mine: Rankers, spec: RankerSpec, *rest: object) -> object:
        if "twin" not in spec.voices:
            raise DataError("too few")
        return fit(mine, spec, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Rankers, "fit", refusing)
    voices, losses = worth_hearing(RECIPE, arena, rankers, GateSettings())
    assert "twin" in voices
    assert list(losses) == ["sequence"] and losses["sequence"].bearable


def test_figures_of_a_trial_are_the_mean_of_several_trees(arena: Arena, rankers: Rankers) -> None:
    """Of seeds that follow its own; each judged alone says the same. Baselines know nothing here: trees guess."""
    params = {"trees": 5, "min_leaf": 5, "columns": 0.2, "seed": 7}
    spec = RankerSpec("ranker", "binary", tuple(BASELINES), params)
    apart = dataclasses.replace(rankers, _examples={}, _fitted={})
    recipe = msgspec.structs.replace(RECIPE, ranker=spec)
    found = worth._scores(recipe, arena, rankers, "ndcg@20", "hear all voices")
    alone = []
    for seed in range(7, 7 + SEEDS):
        one = msgspec.structs.replace(spec, params={**spec.params, "seed": seed})
        seen = arena.seeing(apart.fit(one, SOURCES, WINDOW.start))
        voices = voices_of(msgspec.structs.replace(RECIPE, ranker=one))
        alone.append(contest(seen, {"one": voices})["one"].tasks)
    for task in TASKS:
        each = [tasks[task].by_customer["ndcg@20"] for tasks in alone]
        np.testing.assert_allclose(found[task], sum(each) / SEEDS)
        assert not np.array_equal(each[0], each[1]), "one seed would do"


OFFSETS = st.lists(st.tuples(*[st.integers(-3, 3)] * 2), min_size=3, max_size=3)


@given(OFFSETS)
def test_a_gain_is_no_allowance_for_the_next(arena: Arena, rankers: Rankers, offsets: list[tuple[int, int]]) -> None:
    """Where nothing is in doubt the lists that stay are, on each task, no worse than those of any set before."""
    steps = iter(offsets)

    def scores(*_: object) -> dict[str, np.ndarray]:
        level = next(steps)
        return {task: np.linspace(0.2, 0.4, 50) + 0.01 * level[at] for at, task in enumerate(TASKS)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worth, "_scores", scores)
        patch.setattr(worth, "_least_used", lambda *_: ["sequence", "twin"])
        voices, losses = worth_hearing(RECIPE, arena, rankers, GateSettings())
    whole, first, second = offsets
    left = [whole]
    for name, level in (("sequence", first), ("twin", second)):
        assert losses[name].bearable == all(level[at] >= max(each[at] for each in left) for at in range(len(TASKS)))
        assert (name in voices) != losses[name].bearable
        left += [level] if losses[name].bearable else []
    assert all(left[-1][at] == max(each[at] for each in left) for at in range(len(TASKS)))


def test_small_losses_do_not_add_up(arena: Arena, rankers: Rankers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two could be borne beside the lists before it; the second not beside the best, which came before both."""
    level, noise, other = np.linspace(0.2, 0.4, 48), np.resize([1, -1], 48), np.resize([1, 1, -1, -1], 48)
    before, after = level - 0.0008 + 0.008 * noise, level - 0.0016 + 0.008 * other
    steps = iter([level, before, after])
    monkeypatch.setattr(worth, "_scores", lambda *_: dict.fromkeys(TASKS, next(steps)))
    monkeypatch.setattr(worth, "_least_used", lambda *_: ["sequence", "twin"])
    voices, losses = worth_hearing(RECIPE, arena, rankers, GateSettings())
    assert {name: loss.bearable for name, loss in losses.items()} == {"sequence": True, "twin": False}
    assert "twin" in voices
    step = worth._loss(dict.fromkeys(TASKS, after), dict.fromkeys(TASKS, before), GateSettings())
    assert step.bearable, "it would be no test"


MEANS = st.integers(-1_000, 1_000).map(lambda thousandths: thousandths / 1_000)
SHARES = st.integers(0, 1_000).map(lambda thousandths: thousandths / 1_000)


@given(MEANS, MEANS, SHARES, SHARES, SHARES, SHARES, st.sampled_from([0.25, 2.0, 64.0]))
def test_a_loss_is_bearable_where_it_is_on_each_task_whatever_the_unit(
    mean: float, other: float, error: float, whole: float, reached: float, margin: float, unit: float
) -> None:
    """Both tasks have a say; twice the metric with twice the loss is the same.

    An error within the margin asks nothing of its own; with one beyond twice the margin only a gain can show enough.
    """

    def bearable(scale: float, **means: tuple[float, float]) -> bool:
        by_task = {
            task: Interval(scale * at, scale * (at - error), scale * (at + error), 50, 0)
            for task, (at, _) in means.items()
        }
        return Loss(by_task, {task: scale * value for task, (_, value) in means.items()}, margin).bearable  # type: ignore[arg-type]

    both = bearable(1.0, all=(mean, whole), new=(other, reached))
    assert both == (bearable(1.0, all=(mean, whole)) and bearable(1.0, new=(other, reached)))
    assert both == bearable(unit, all=(mean, whole), new=(other, reached))
    assert bearable(1.0, all=(abs(mean), whole)) or error > DOUBT * margin * whole
    assert not bearable(1.0, all=(-error - 1e-9, whole))
    assert not bearable(1.0, all=(-margin * whole - 1e-9, whole))
    assert not bearable(1.0, all=(error - DOUBT * margin * whole - 1e-9, whole))
    assert bearable(1.0, all=(-min(error, margin * whole) + 1e-9, whole)) or error > margin * whole


def test_what_nobody_can_say_is_no_loss_and_what_one_says_is_no_proof() -> None:
    """Nobody bought anything new: nothing can be lost there. One customer has no interval: the voice stays."""
    nobody = Interval(np.nan, np.nan, np.nan, 0, 9)
    one = Interval(0.0, np.nan, np.nan, 1, 8)
    fine = Interval(0.0, -0.001, 0.001, 50, 0)
    assert Loss({"all": fine, "new": nobody}, {"all": 0.3, "new": np.nan}, 0.02).bearable
    assert not Loss({"all": fine, "new": one}, {"all": 0.3, "new": 0.1}, 0.02).bearable


@pytest.mark.parametrize(
    ("voices", "spared", "only"), [(NAMES[:3], True, "fewer voices"), (NAMES[:3], False, ""), (NAMES, True, "")]
)
def test_training_asks_less_of_the_champion_with_fewer_voices(
    voices: tuple[str, ...], spared: bool, only: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With equal figures, which no other challenger gets through with; as many voices are no reason to change."""
    registered: list[object] = []
    monkeypatch.setattr(train, "register_refused", lambda *told: registered.append(told))
    assert RECIPE.ranker is not None
    ours = msgspec.structs.replace(RECIPE, ranker=msgspec.structs.replace(RECIPE.ranker, voices=voices))
    scores = {"all": np.linspace(0, 1, 50), "new": np.linspace(0, 1, 50)}
    recipes = {"ours": ours, "serves": RECIPE}
    judged = Judged(None, {}, recipes, [Entrant(name, scores) for name in recipes])  # type: ignore[arg-type]
    session = SimpleNamespace(config=SimpleNamespace(gate=GateSettings()), tracking=None, run=None)
    none = Interval(0.0, 0.0, 0.0, 50, 0)
    losses = {"twin": Loss({"all": none}, {"all": 0.3}, 0.02)} if spared else {}
    choice = Choice(SOURCES, (ours,), ("ours",), {}, (), losses=losses)
    served = Champion(SimpleNamespace(bundle_id="b0"), RECIPE, "serves", RECIPE)  # type: ignore[arg-type]
    verdict = train.ask_gate(session, judged, choice, served)  # type: ignore[arg-type]
    assert (verdict.accepted, verdict.only) == (bool(only), only)
    assert len(registered) == (not verdict.accepted)


def test_the_table_and_the_plot_hold_every_voice_that_was_tried() -> None:
    """One row a voice and task, one mark a voice in each panel; what left is marked so."""
    gone = Loss({task: Interval(0.001, 0.0, 0.002, 50, 0) for task in TASKS}, dict.fromkeys(TASKS, 0.3), 0.02)
    kept = Loss({task: Interval(-0.1, -0.2, -0.05, 50, 0) for task in TASKS}, dict.fromkeys(TASKS, 0.3), 0.02)
    losses = {"content": gone, "ials": kept}
    heads, rows = journal._lost(losses)
    assert {len(row) for row in rows} == {len(heads)}
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("content", "all", True), ("content", "new", True), ("ials", "all", False), ("ials", "new", False),
    ]  # fmt: skip
    panels = journal._losses(losses)
    assert [[mark.name for mark in marks] for marks in panels.values()] == [["content (left out)", "ials"]] * 2
    assert plots.forest(panels, metric="NDCG@20", share="68 %", beside="without").startswith(b"\x89PNG")
