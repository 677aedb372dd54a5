"""What comes next: forward pairs only, by distance, and the order of equal times says nothing."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.compiled import switched
from features.errors import ConfigError, DataError
from features.kinds import EventType
from features.moments import DAY, MINUTE
from serving.query import Query
from serving.recipe import Recipe, SourceSpec
from serving.sources import Sequence, build_sources
from tests.test_training.test_fitting import NOW, histories_of
from training.fitting import Cut, fit_bundle
from training.methods import resolved
from training.sequence import SequenceParams, SessionParams, fit_session, sequences_of, transition_matrix

VIEW, CART, PURCHASE = EventType.VIEW, EventType.CART, EventType.PURCHASE


def csr(sequences: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of items as offsets and items."""
    offsets = np.cumsum([0, *(len(each) for each in sequences)]).astype(np.int64)
    return offsets, np.array([item for each in sequences for item in each], np.int32)


def by_hand(sequences: list[list[tuple[int, int]]], n: int, window: int, power: float) -> np.ndarray:
    """The counts C, pair by pair, for sequences of (step, item): the definition, slowly."""
    counts = np.zeros((n, n))
    for sequence in sequences:
        steps = [{item for step, item in sequence if step == at} for at in sorted({step for step, _ in sequence})]
        told = [each for k, each in enumerate(steps) if not (k and len(each) == 1 and each == steps[k - 1])]
        for a in range(len(told)):
            for b in range(a + 1, min(a + window, len(told) - 1) + 1):
                for i in told[a]:
                    for j in told[b]:
                        counts[i, j] += 0 if i == j else (b - a) ** -power
    return counts


def test_forward_pairs_count_by_their_distance() -> None:
    """0 1 2: a step from 0 to 1 and from 1 to 2, half a step from 0 to 2; nothing back."""
    found = transition_matrix(*csr([[0, 1, 2]]), 3).toarray()
    assert found == pytest.approx(np.array([[0, 1 / 1.5, 0.5 / 1.5], [0, 0, 1], [0, 0, 0]]))


def test_a_row_of_little_weight_says_little() -> None:
    """One step beside a shrinkage of three is believed by a quarter, nine steps by three quarters."""
    found = transition_matrix(*csr([[0, 1], *[[2, 3]] * 9]), 4, shrink=3).toarray()
    assert (found[0, 1], found[2, 3]) == pytest.approx((0.25, 0.75))


def test_damping_takes_popularity_out() -> None:
    """2 is arrived at from everywhere, 1 only from 0: undamped they tie after 0, fully damped 1 leads."""
    sequences = csr([[0, 1], [0, 2], [3, 2], [4, 2]])
    plain, damped = (transition_matrix(*sequences, 5, damping=damping)[0].toarray()[0] for damping in (0, 1))
    assert plain[1] == plain[2]
    assert damped[1] == pytest.approx(3 * damped[2])


def test_what_repeats_is_one_step() -> None:
    """Viewed, put into the cart and bought: the next item is still one step away; and an item never follows itself."""
    found = transition_matrix(*csr([[0, 0, 0, 1]]), 2, window=1).toarray()
    assert found.tolist() == [[0, 1], [0, 0]]


def test_no_pair_crosses_from_one_sequence_to_the_next() -> None:
    assert transition_matrix(*csr([[0, 1], [2, 3]]), 4).nnz == 2


def test_nothing_makes_nothing() -> None:
    for sequences in ([], [[]], [[1]], [[], [2]]):
        assert transition_matrix(*csr(sequences), 3).nnz == 0


def test_a_resellers_basket_makes_no_pairs() -> None:
    steps = np.array([0, 0, 0, 1, 2], np.int64)
    found = transition_matrix(*csr([[0, 1, 2, 3, 4]]), 5, steps=steps, largest_step=2)
    assert found.nnz == 1
    assert found[3, 4] == 1


SEQUENCES = st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=8), max_size=5)


@given(SEQUENCES, st.integers(1, 4), st.sampled_from([0.0, 1.0, 2.0]), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_it_equals_the_definition_and_ignores_the_order_of_equal_times(sequences, window, power, random) -> None:
    """Sparse products against pair by pair; shuffling items within a step changes nothing."""
    told = [sorted(each) for each in sequences]
    shuffled = [sorted(random.sample(each, len(each)), key=lambda pair: pair[0]) for each in told]
    found = []
    for version in (told, shuffled):
        offsets, items = csr([[item for _, item in each] for each in version])
        steps = np.array([step for each in version for step, _ in each], np.int64)
        found.append(transition_matrix(offsets, items, 6, steps=steps, window=window, gap_power=power).toarray())
    counts = by_hand(told, 6, window, power)
    rows = counts.sum(axis=1, keepdims=True)
    assert found[0] == pytest.approx(np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0))
    assert (found[0] == found[1]).all()


def bundle(lines: list[tuple], *sources: SourceSpec, items: int = 6):
    cut = Cut(histories_of(lines, items), NOW, min_customers=1)
    floor = SourceSpec("popularity", "popularity")
    return fit_bundle(cut, Recipe("r", (floor, *sources), {"popularity": 1.0}))


SEQUENCE = SourceSpec("sequence", "sequence", "sequence", {"shrink": 0.0, "damping": 0.0})
CHAIN = [(f"c:{n}", 50 + 5 * item, item) for n in range(5) for item in range(5)]


def test_the_next_item_of_a_chain_leads() -> None:
    """Everybody buys 0 1 2 3 4 in this order: after 0 and 1 comes 2; after 1 and then 0, 1 is what follows 0."""
    source = build_sources(bundle(CHAIN, SEQUENCE))["sequence"]
    for bought, expected in (((0, 1), 2), ((1, 2), 3), ((0, 2), 3)):
        past = histories_of([("c:x", 90 + at, item) for at, item in enumerate(bought)]).at(0)
        asked = Query(now=NOW, history=past)
        best = source.opine(asked).best(1).items
        assert best.tolist() == [expected]
        assert source.causes(asked, best).tolist() == [bought[-1]]


def test_older_steps_count_geometrically() -> None:
    """After 0 then 3 (two unrelated chains) the follower of 3 has 1, that of 0 the decay."""
    lines = [("c:1", 50, 0), ("c:1", 51, 1), ("c:2", 50, 3), ("c:2", 51, 4)]
    spec = SourceSpec("sequence", "sequence", "sequence", {**SEQUENCE.params, "decay": 0.25, "last": 2})
    source = build_sources(bundle(lines, spec))["sequence"]
    past = histories_of([("c:x", 10, 1), ("c:x", 90, 0), ("c:x", 91, 3), ("c:x", 91, 5)]).at(0)
    said = source.opine(Query(now=NOW, history=past))
    assert dict(zip(said.items.tolist(), said.scores.tolist(), strict=True)) == pytest.approx({4: 1.0, 1: 0.25})


@pytest.fixture(scope="module")
def chained():
    return bundle(CHAIN, SEQUENCE)


EVENTS = st.tuples(st.integers(1, 9), st.integers(0, 5), st.sampled_from([PURCHASE, VIEW, EventType.SEARCH]))


@given(lines=st.lists(EVENTS), last=st.integers(1, 4))
def test_the_last_steps_are_the_same_with_and_without_kernels(chained, lines, last) -> None:
    """Also where an item came again, nothing follows, or one event comes in several steps; marks are left clean."""
    source = Sequence(SourceSpec("sequence", "sequence", "sequence", {"last": last}), chained)
    past = histories_of([("c:x", day, item, kind) for day, item, kind in lines]).events
    told = [[each.tolist() for each in source._latest(past)] for _ in range(2)]
    with switched(False):
        assert told == 2 * [[each.tolist() for each in source._latest(past)]]


def test_nothing_after_the_moment_is_learned() -> None:
    """Steps that happen, or are recorded, later leave no trace."""
    later = [("c:0", 100, 5), ("c:1", 101, 5), ("c:2", 99, 5, PURCHASE, 100.5)]
    one, two = (bundle(lines, SEQUENCE).source_arrays("sequence") for lines in (CHAIN, CHAIN + later))
    assert all((one[name] == two[name]).all() for name in one)


def test_unlisted_items_are_not_followers() -> None:
    """What fewer customers bought than the catalogue asks takes no neighbour's place."""
    lines = [*CHAIN, ("c:0", 56, 5)]
    cut = Cut(histories_of(lines), NOW, min_customers=2)
    assert 5 not in cut.fit(SEQUENCE).arrays["edges"].view(np.int32)[:, 0]


def test_sequences_end_with_the_subject_and_with_a_pause() -> None:
    lines = [("c:1", 1.0, 0), ("c:1", 1.001, 1), ("c:1", 2.0, 2), ("c:2", 2.0, 3), ("c:2", 2.0, 4, EventType.SEARCH)]
    histories = histories_of(lines)
    whole, items, _ = sequences_of(histories, (PURCHASE,))
    assert (whole.tolist(), items.tolist()) == ([0, 3, 4], [0, 1, 2, 3])
    assert sequences_of(histories, (PURCHASE,), pause=30 * MINUTE)[0].tolist() == [0, 2, 3, 4]


MINUTES = MINUTE / DAY
SESSIONS = [
    (f"v:{n}", 50 + n + at * MINUTES, item, kind)
    for n in range(5)
    for at, (item, kind) in enumerate([(0, VIEW), (1, VIEW), (1, CART), (2, VIEW)])
] + [(f"c:{n}", 80, item) for n in range(5) for item in range(4)]
SESSION = SourceSpec("session", "session", "session", {"shrink": 0.0, "damping": 0.0})


@pytest.fixture(scope="module")
def source():
    return build_sources(bundle(SESSIONS, SESSION))["session"]


class TestSession:
    """What goes with the session that runs now."""

    def said(self, source, *lines: tuple) -> dict[int, float]:
        """Scores by item, for (minutes ago, item, type)."""
        past = histories_of([("v:x", 100 - ago * MINUTES, *rest) for ago, *rest in lines]).at(0)
        opinion = source.opine(Query(now=NOW, history=past))
        return dict(zip(opinion.items.tolist(), opinion.scores.tolist(), strict=True))

    def test_a_view_speaks_for_itself_and_for_what_follows(self, source) -> None:
        """Ten minutes are half: 0.5 for the item; of what follows 0, item 1 has two thirds and item 2 one."""
        expected = {0: 0.5, 1: 0.5 / 1.5, 2: 0.25 / 1.5}
        assert self.said(source, (10, 0, VIEW)) == pytest.approx(expected, rel=1e-4)

    def test_a_cart_says_more_than_a_view(self, source) -> None:
        one, two = self.said(source, (1, 3, VIEW)), self.said(source, (1, 3, CART))
        assert two[3] == pytest.approx(3 * one[3])

    def test_an_emptied_cart_and_a_bought_item_are_not_proposed(self, source) -> None:
        emptied = self.said(
            source, (2, 1, VIEW), (2, 1, CART), (2, 1, EventType.CART_REMOVE), (2, 1, EventType.CART_REMOVE)
        )
        assert emptied == {}
        bought = self.said(source, (2, 1, CART), (1, 1, PURCHASE))
        assert set(bought) == {2}

    def test_an_earlier_session_says_nothing(self, source) -> None:
        """A break of more than thirty minutes ends it; a chain of shorter ones does not."""
        assert self.said(source, (31, 0, VIEW)) == {}
        assert 0 not in self.said(source, (40, 0, VIEW), (5, 3, VIEW))
        assert 0 in self.said(source, (40, 0, VIEW), (20, 3, VIEW))

    def test_its_cause_is_the_item_itself_or_what_led_there(self, source) -> None:
        past = histories_of([("v:x", 99.999, 0, VIEW)]).at(0)
        found = source.causes(Query(now=NOW, history=past), np.array([2, 0, 5], np.int32))
        assert found.tolist() == [0, 0, -1]

    def test_a_query_is_read_once(self, source, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever is asked of it: its opinion, its causes, and both again with another length of the list."""
        calls, read = [], source.running
        monkeypatch.setattr(source, "running", lambda query: calls.append(1) or read(query))
        asked = Query(now=NOW, history=histories_of([("v:x", 99.999, 0, VIEW)]).at(0))
        for each in (asked, msgspec.structs.replace(asked, num_results=3)):
            source.causes(each, source.opine(each).items)
        assert len(calls) == 1
        source.opine(msgspec.structs.replace(asked, now=NOW + 1))
        assert len(calls) == 2

    def test_asked_about_items_it_tells_what_follows_them(self, source) -> None:
        past = histories_of([("v:x", 99.999, 3, VIEW)]).at(0)
        said = source.opine(Query(now=NOW, history=past, anchors=(0,)))
        assert said.items.tolist() == [1, 2]

    def test_a_shop_that_sells_and_shows_nothing_has_none(self) -> None:
        cut = Cut(histories_of(CHAIN), NOW, min_customers=1)
        with pytest.raises(DataError, match="no events of pages"):
            fit_session(cut, SessionParams())

    def test_lonely_views_teach_nothing(self) -> None:
        cut = Cut(histories_of([("c:1", 50, 1), ("c:1", 60, 1, VIEW)]), NOW, min_customers=1)
        with pytest.raises(DataError, match="no listed item follows"):
            fit_session(cut, SessionParams())


def test_parameters_have_bounds() -> None:
    """A decay above one would let the past grow; an event that there is not is refused by name."""
    with pytest.raises(ConfigError, match="decay"):
        resolved(SourceSpec("s", "sequence", "sequence", {"decay": 1.5}))
    with pytest.raises(ConfigError, match="weights"):
        resolved(SourceSpec("s", "session", "session", {"weights": {"veiw": 1.0}}))
    assert resolved(SourceSpec("s", "sequence")).params["types"] == SequenceParams().types
