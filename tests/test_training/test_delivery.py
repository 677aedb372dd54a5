"""Learning deliveries: worlds with known lead times, censored lines, back-off, choices, and nothing from the future."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.ids import Vocabulary
from features.moments import DAY
from features.orders import OrderLine, Step
from serving.delivery import CLASS_EDGES, PROMISE, STATE_BEGAN, STATES, Deliveries
from training.delivery import TILTS, learn, misses, window_of
from training.delivery_asked import Answers, answers_of, asked
from training.delivery_lines import Kinds, before, counted, groups_of, spells_of
from training.delivery_proof import BY_CATEGORY, EVERYTHING, LATE, OURS, PROMISED, matched_width, prove, told
from training.delivery_tables import ATOM_LEVELS, ATOMS, CLOCKS, Prior, beyond, distributions, mixed, tables_of

ITEMS = ("fast", "slow", "rare", "sofa")
LEADS = (0.0, 5.0, 5.0, 40.0)
KINDS = Kinds(
    Vocabulary.of(ITEMS), np.array([0, 1, 1, 2], np.int32),
    np.array([bisect_right(CLASS_EDGES, lead) for lead in LEADS], np.int8),
)  # fmt: skip
END = 300 * DAY


def made(number: int, item: str, day: float, took: float, *, share: float = 0.4, promised: float | None = None,
         end: str = "delivered") -> OrderLine:  # fmt: skip
    """Confirmed at once, shipped after a share of the time, and then its end."""
    at = [int(each * DAY) for each in (day, day + share * took, day + took)]
    due = None if promised is None else int((day + promised) * DAY)
    steps = (Step(at[0], "confirmed", promised_at=due), Step(at[1], "shipped"), Step(at[2], end))
    return OrderLine(f"o{number:05}", "1", item, at[0], steps)


def world(n: int = 1500, seed: int = 1, *, late: float = 0.0, promise: bool = True) -> list[OrderLine]:
    """Items take lead + U(1, 3) days; some are later by an exponential time. Promised: lead + 3 days."""
    random = np.random.default_rng(seed)
    lines = []
    for number in range(n):
        item = int(random.choice(4, p=[0.6, 0.3, 0.02, 0.08]))
        took = LEADS[item] + random.uniform(1, 3) + (random.random() < late) * (2 + random.exponential(4))
        day, due = random.uniform(0, 300), LEADS[item] + 3 if promise else None
        lines.append(made(number, ITEMS[item], day, took, promised=due))
    return before(sorted(lines, key=lambda line: line.order_id), END)


def kaplan_meier(days: list[float], known: list[bool]) -> dict[float, float]:
    """Time -> P(later than it), by the textbook's product, a death before a loss at the same time."""
    survival, found = 1.0, {}
    for at in sorted(set(days)):
        risk = sum(each >= at for each in days)
        deaths = sum(each == at and k for each, k in zip(days, known, strict=True))
        survival *= 1 - deaths / risk
        found[at] = survival
    found[max(days)] = 0.0
    return found


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 2)), min_size=1, max_size=30))
def test_distributions_are_those_of_kaplan_and_meier(rows) -> None:
    """Each group alone, against the product formula; the level l is where survival first falls to 1 - l."""
    rows = sorted(rows, key=lambda row: (row[0], not row[1]))
    days, known, group = (np.array([row[place] for row in rows]) for place in range(3))
    found, count = distributions(days.astype(float), known.astype(bool), group.astype(np.int64), 3)
    for each in range(3):
        mine = [row for row in rows if row[2] == each]
        assert count[each] == sum(row[1] for row in mine)
        if not count[each]:
            assert np.isnan(found[each]).all()
            continue
        survival = kaplan_meier([row[0] for row in mine], [row[1] for row in mine])
        expected = [next(at for at, s in survival.items() if 1 - s >= level - 1e-9) for level in ATOM_LEVELS]
        assert found[each].tolist() == expected


rising = st.lists(st.floats(-20, 50), min_size=ATOMS, max_size=ATOMS).map(sorted)


@given(own=rising, parent=rising, share=st.floats(0.01, 0.99))
def test_a_mixture_lies_between_and_rises(own, parent, share) -> None:
    """Of every value, the share below it is the mixture of both shares, up to one atom."""
    found = mixed(np.array([own]), np.array([parent]), np.array([share]))[0]
    assert (np.diff(found) >= -1e-9).all()
    assert min(own[0], parent[0]) - 1e-9 <= found[0] <= found[-1] <= max(own[-1], parent[-1]) + 1e-9
    for level, value in zip(ATOM_LEVELS, found, strict=True):
        below, upto = (
            share * np.mean(fits(own, value)) + (1 - share) * np.mean(fits(parent, value))
            for fits in (lambda them, v: np.array(them) < v - 1e-9, lambda them, v: np.array(them) <= v + 1e-9)
        )
        assert below - 1.01 / ATOMS <= level <= upto + 1.01 / ATOMS


@given(values=rising, before_it=st.floats(-30, 10), more=st.floats(0.01, 30))
def test_what_has_not_come_comes_later(values, before_it, more) -> None:
    """A distribution given that a clock has passed rises and is no earlier than without."""
    values = np.array(values)
    found = beyond(values, before_it, before_it + more)
    assert (np.diff(found) >= -1e-9).all()
    assert (found >= values - 1e-9).all()


PRIOR = Prior(20.0, 20.0, 20.0, 20.0)


def table(lines: list[OrderLine], prior: Prior = PRIOR, as_of: int = END) -> tuple[np.ndarray, object]:
    groups = groups_of(lines, KINDS, least=10, most=10)
    return tables_of(spells_of(lines, as_of), groups, [prior] * len(STATES)), groups


def test_tables_hold_the_known_times() -> None:
    """`fast` takes U(1, 3) days: at order .1, .5 and .9 are 1.2, 2 and 2.8; after 2 days, U(2, 3)."""
    found, groups = table(world(6000))
    mine = found[STATE_BEGAN, 0, groups.item[0]]
    at = [float(np.interp(level, ATOM_LEVELS, mine[0])) for level in (0.1, 0.5, 0.9)]
    assert at == pytest.approx([1.2, 2.0, 2.8], abs=0.06)
    shipped = found[STATE_BEGAN, STATES.index("shipped"), groups.item[0]]  # 0.6 of the time is left
    assert float(np.interp(0.5, ATOM_LEVELS, shipped[0])) == pytest.approx(1.2, abs=0.06)
    place = CLOCKS[STATE_BEGAN].tolist().index(1.5)  # 1.5 days after shipping only those remain that take more
    assert shipped[place].min() >= 1.49
    assert float(np.interp(0.5, ATOM_LEVELS, shipped[place])) == pytest.approx(1.65, abs=0.06)
    promised = found[PROMISE, 0, groups.item[3]]  # the sofa: delays of U(-2, 0) days, long before the promise
    assert float(np.interp(0.5, ATOM_LEVELS, promised[CLOCKS[PROMISE].tolist().index(-35)])) == pytest.approx(
        -1, abs=0.2
    )


def test_states_that_few_went_through_are_not_told() -> None:
    """Nobody was in production."""
    found, _ = table(world(500))
    assert np.isnan(found[:, STATES.index("in_production")]).all()
    assert np.isfinite(found[:, STATES.index("confirmed")]).all()


def test_groups_back_off_where_little_is_known() -> None:
    """`rare` has too few deliveries for tables of its own; its category is drawn to the class, the class to all."""
    lines = world(400)
    groups = groups_of(lines, KINDS, least=20, most=10)
    assert groups.item[2] == -1
    assert groups.item[0] >= 0
    assert groups.level.tolist() == sorted(groups.level.tolist())
    assert groups.parent[groups.item[0]] == groups.category[0]
    assert groups.parent[groups.category[1]] == groups.lead_class[KINDS.lead_class[1]]
    assert groups.parent[groups.lead_class[KINDS.lead_class[1]]] == 0
    few, _ = table(lines, Prior(*[1e9] * 4))
    assert few[STATE_BEGAN, 0, groups.item[0], 0] == pytest.approx(few[STATE_BEGAN, 0, 0, 0], abs=0.01)


def test_open_lines_count_as_censored() -> None:
    """All ordered in the last week: without those still open the median is too short, with them it is right."""
    random = np.random.default_rng(3)
    lines = before([made(n, "fast", 300 - random.uniform(0, 7), random.uniform(1, 7)) for n in range(4000)], END)
    open_share = counted(lines)["open"] / len(lines)
    assert open_share > 0.5
    days = [(line.delivered_at - line.ordered_at) / DAY for line in lines if line.delivered_at is not None]
    assert np.median(days) < 3.3
    found, _ = table(lines)
    assert float(np.interp(0.5, ATOM_LEVELS, found[STATE_BEGAN, 0, 0, 0])) == pytest.approx(4.0, abs=0.15)


def test_other_ends_are_left_out_and_counted() -> None:
    """Cancelled and lost lines say nothing of the time; their share is told."""
    lines = [*world(300), *(made(9000 + n, "fast", 10, 200, end="lost") for n in range(50))]
    kept = spells_of(lines, END)
    assert kept.line.max() < 300
    assert counted(lines)["lost"] == 50
    assert not [each for each in asked(lines, KINDS, 0, END) if each.line.order_id >= "o09000"]


def test_spells_follow_states_and_promises() -> None:
    """A new promise splits a spell without beginning the state again; what is open ends at the moment."""
    line = OrderLine("o", "1", "fast", 0, (
        Step(0, "confirmed", promised_at=100), Step(5, ""), Step(10, "", promised_at=200), Step(20, "in_production"),
        Step(30, "in_production"), Step(40, "shipped"),
    ))  # fmt: skip
    found = spells_of([line], 50)
    told_of = list(zip(found.state, found.began, found.promised, found.start, found.end, strict=True))
    assert told_of == [(0, 0, 100, 0, 10), (0, 0, 200, 10, 20), (1, 20, 200, 20, 40), (2, 40, 200, 40, 50)]
    assert not found.known.any()
    assert (found.delivered == 50).all()


def test_the_interval_holds_four_of_five_in_a_later_window() -> None:
    """In a world with late lines; the proof's own figure and a count of fresh lines of the same world agree with it."""
    lines = world(3000, late=0.1)
    proof = prove(lines, KINDS, END)
    assert proof is not None
    ours = proof.part(EVERYTHING, OURS)
    assert ours is not None
    assert ours.coverage.low - 0.02 <= 0.8 <= ours.coverage.high + 0.02
    deliveries = Deliveries.from_arrays(proof.learned.arrays)
    assert deliveries is not None
    inside = []
    for each in asked(world(2000, seed=99, late=0.1), KINDS, proof.start, END - 30 * DAY):
        said = deliveries.predict(each.line, each.row, each.category, each.now)
        assert said is not None
        inside.append(each.delivered is not None and said.earliest <= each.delivered <= said.latest)
    assert np.mean(inside) == pytest.approx(0.8, abs=0.05)
    late, promised = proof.part(LATE, OURS), proof.part(LATE, PROMISED)
    assert late is not None
    assert promised is not None
    assert late.coverage.high > 0.7 > 0.3 > promised.coverage.value
    assert any("80%" in sentence for sentence in told(proof))


def test_each_state_counts_from_what_tells_more() -> None:
    """Promises at random say nothing; promises that are kept to the hour say all."""
    random = np.random.default_rng(5)
    kept, loose = [], []
    for number in range(1500):
        day, took = random.uniform(0, 300), random.uniform(1, 20)
        kept.append(made(number, "fast", day, took, promised=took + 0.1 * random.random()))
        loose.append(made(number, "fast", day, 2 + random.random(), promised=random.uniform(1, 30)))
    for lines, anchor in ((kept, PROMISE), (loose, STATE_BEGAN)):
        learned = learn(before(lines, END), KINDS, END)
        assert learned is not None
        used = learned.arrays["delivery.anchor"]
        assert used[0] == anchor
        assert used[STATES.index("shipped")] == anchor


def test_without_promises_the_state_is_counted_from() -> None:
    """And the baseline of promises says nothing."""
    lines = world(1500, promise=False)
    proof = prove(lines, KINDS, END)
    assert proof is not None
    assert set(proof.learned.arrays["delivery.anchor"].tolist()) == {STATE_BEGAN}
    assert proof.part(EVERYTHING, PROMISED) is None
    assert proof.part(EVERYTHING, BY_CATEGORY) is not None


def test_nothing_is_learned_from_later_steps() -> None:
    """Another future of the same lines gives the same tables."""
    lines = world(1500, late=0.1)
    start = END - window_of(lines, END)
    other = [
        OrderLine(line.order_id, line.line, line.item_id, line.ordered_at, tuple(
            step if step.at < start else Step(step.at + 20 * DAY, step.state) for step in line.steps
        ))
        for line in lines
    ]  # fmt: skip
    one, two = (learn(before(each, start), KINDS, start) for each in (lines, other))
    proof = prove(lines, KINDS, END)
    assert one is not None
    assert two is not None
    assert proof is not None
    for name, array in one.arrays.items():
        assert np.array_equal(array, two.arrays[name], equal_nan=array.dtype.kind == "f"), name
        assert np.array_equal(array, proof.learned.arrays[name], equal_nan=array.dtype.kind == "f"), name
    assert all(step.at < each.now for each in asked(lines, KINDS, start, END) for step in each.line.steps)


def test_too_little_is_not_learned_from() -> None:
    """Too few deliveries, none at all, or all of them in the last window."""
    assert learn(world(100), KINDS, END) is None
    assert learn([], KINDS, END) is None
    assert prove([], KINDS, END) is None
    young = before([made(n, "fast", 299 - n / 1000, 1 + n % 7 / 10) for n in range(900)], END)
    assert learn([made(9999, "fast", 0, 2), *young], KINDS, END) is None


def test_a_shop_that_opened_late_is_still_learned_from() -> None:
    """Nothing was known when the choices are fitted: defaults are used, and no error."""
    lines = [made(n, "fast", 150 + n / 10, 1 + n % 7 / 10, promised=3) for n in range(800)]
    first = made(9999, "fast", 0, 2, promised=3)
    learned = learn(before([first, *lines], END), KINDS, END)
    assert learned is not None
    assert np.isfinite(learned.arrays["delivery.table"][:, 0]).all()


def answers(took: np.ndarray, days: np.ndarray, state: int = 0) -> Answers:
    n = len(took)
    return Answers(
        np.arange(n), np.full(n, state), np.ones(n, bool), np.zeros(n, bool), np.zeros(n), took, np.tile(days, (n, 1))
    )


@given(st.sampled_from(TILTS), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_levels_are_corrected_to_hold_four_of_five(tilt, seed) -> None:
    """Tables that say U(0, 1) while it is U(0, 2) hold half; corrected ones would hold 80 % of these very answers."""
    took = np.random.default_rng(seed).uniform(0, 1.1, 500)
    miss, count = misses(answers(took, ATOM_LEVELS.copy()), np.full(5, tilt))
    assert count.tolist() == [500, 0, 0, 0, 0]
    held = answers(took, ATOM_LEVELS.copy()).allowed(tilt) >= miss[0] - 1e-12
    assert 0.8 <= held.mean() <= 0.803
    few, _ = misses(answers(took[:50], ATOM_LEVELS.copy()), np.full(5, tilt))
    assert few == pytest.approx(np.full(5, 0.2))


def test_an_answer_counts_when_its_tail_has_passed() -> None:
    """Whether it came fast or slowly: what is left out is known when it is asked."""
    lines = world(800)
    arrays = {
        key: array
        for key, array in learn(lines, KINDS, END).arrays.items()
        if key != "delivery.table"  # type: ignore[union-attr]
    }
    arrays["delivery.table"] = np.broadcast_to(
        (10 + np.arange(ATOMS)).astype(np.float32), (2, 5, len(arrays["delivery.level"]), 31, ATOMS)
    )
    arrays["delivery.anchor"] = np.zeros(5, np.int8)
    questions = asked(lines, KINDS, 0, END)
    found = answers_of(arrays, questions, END)
    asked_of = [questions[place] for place in found.question]
    began = [each.now / DAY - clock for each, clock in zip(asked_of, found.clock, strict=True)]
    assert max(began) <= 300 - 58 < max(each.now / DAY for each in questions)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(0, 20)), min_size=1, max_size=40), st.floats(0.05, 1)
)
def test_matched_widths_hold_what_they_should(rows, share) -> None:
    """Both ends moved by the same days hold the share, and a little less does not."""
    low, wide, came = (np.array(column) * DAY for column in zip(*rows, strict=True))
    said = np.stack([low, low, low + wide], axis=1)
    found = matched_width(said, came, np.full(len(rows), -1e9 * DAY), share)
    move = (found - wide.mean() / DAY) / 2 * DAY
    held = np.mean((low - move - 60 <= came) & (came <= low + wide + move + 60))  # a minute of slack at most
    assert held >= share - 1e-9
