"""Time-forward splits: half-open windows, who is judged, and what counts as bought."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from training.split import Window, buyers, catalogue, customers, last_windows, truth_of

Event = tuple[str, int, str]
WINDOW = Window(100, 200)


def histories_of(events: list[tuple], items: str = "abcde") -> Histories:
    """(subject, time, item[, type[, recorded]]) -> Histories over the items a, b, c ..."""
    subjects = Vocabulary.of(sorted({event[0] for event in events}))
    rows = [(subjects.row(e[0]), e[1], n, e) for n, e in enumerate(events)]
    rows.sort(key=lambda row: row[:3])
    listed = [row[3] for row in rows]
    counts = np.bincount([row[0] for row in rows], minlength=len(subjects))
    history = History(
        time=np.array([e[1] for e in listed], np.int64),
        recorded=np.array([e[4] if len(e) > 4 else e[1] for e in listed], np.int64),
        item=np.array([items.index(e[2]) if e[2] else -1 for e in listed], np.int32),
        type=np.array([e[3] if len(e) > 3 else EventType.PURCHASE for e in listed], np.int8),
        quantity=np.ones(len(listed), np.float32),
        value=np.ones(len(listed), np.float32),
        key=np.arange(len(listed), dtype=np.uint64),
    )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Histories(subjects, Vocabulary.of(items), offsets, history)


def bought(histories: Histories, window: Window = WINDOW, listed=None, **options) -> dict[str, str]:
    """subject -> its true items as letters."""
    mask = np.ones(len(histories.items), bool) if listed is None else listed
    truth = truth_of(histories, window, listed=mask, **options)
    return {
        histories.subjects[int(row)]: "".join(histories.items[int(i)] for i in truth.of(place))
        for place, row in enumerate(truth.subjects)
    }


def test_windows_are_half_open():
    """The start is inside, the end is not, and a microsecond before the start is before it."""
    histories = histories_of(
        [("c:1", 10, "e"), ("c:1", 99, "a"), ("c:1", 100, "b"), ("c:1", 199, "c"), ("c:1", 200, "d")]
    )
    assert bought(histories) == {"c:1": "bc"}


def test_the_last_windows_stand_side_by_side_oldest_first():
    """No instant is in two of them, none between."""
    found = last_windows(1_000, 100, 3)
    assert found == [Window(700, 800), Window(800, 900), Window(900, 1_000)]
    assert all(earlier.end == later.start for earlier, later in itertools.pairwise(found))


@given(st.integers(-(10**6), 10**6), st.integers(1, 1_000), st.integers(1, 5), st.integers(0, 6_000))
def test_every_instant_before_the_end_is_in_exactly_one_window(end, length, count, back):
    """As far as the windows reach back; nothing at or after the end is in any."""
    instant = np.array([end - back])
    inside = sum(int(window.holds(instant)[0]) for window in last_windows(end, length, count))
    assert inside == (1 if 0 < back <= length * count else 0)


@pytest.mark.parametrize(("length", "count"), [(0, 1), (10, 0), (-1, 1)])
def test_windows_without_length_or_number_are_refused(length, count):
    """They would judge nothing."""
    with pytest.raises(ConfigError):
        last_windows(100, length, count)


def test_a_window_that_ends_before_it_starts_is_refused():
    """Also one that is empty."""
    with pytest.raises(ConfigError, match="end after it starts"):
        Window(5, 5)


def test_who_has_no_event_before_the_window_is_not_judged():
    """Nobody could know anything of them; an event of any kind is enough."""
    histories = histories_of(
        [("c:known", 50, "", EventType.SEARCH), ("c:known", 150, "a"), ("c:late", 150, "a"), ("c:late", 160, "b")]
    )
    assert bought(histories) == {"c:known": "a"}


def test_an_event_that_was_recorded_after_the_start_does_not_count_as_known():
    """As of the start it was not there, so nobody could have been recommended anything by it."""
    histories = histories_of([("c:1", 50, "a", EventType.PURCHASE, 120), ("c:1", 150, "b")])
    assert bought(histories) == {}


def test_only_purchases_are_truth_and_repeats_within_the_window_count_once():
    """Views, wishes and returns are not purchases."""
    histories = histories_of(
        [
            ("c:1", 10, "e"),
            ("c:1", 110, "a", EventType.VIEW),
            ("c:1", 120, "b", EventType.WISHLIST),
            ("c:1", 130, "c"),
            ("c:1", 130, "c"),
            ("c:1", 140, "d", EventType.RETURN),
        ]
    )
    assert bought(histories) == {"c:1": "c"}


def test_items_outside_the_catalogue_are_no_truth_and_may_leave_nobody():
    """They cannot be recommended; a customer with nothing else is not judged."""
    histories = histories_of([("c:1", 10, "a"), ("c:1", 150, "a"), ("c:2", 10, "a"), ("c:2", 150, "b")])
    listed = np.array([True, False, False, False, False])
    assert bought(histories, listed=listed) == {"c:1": "a"}


def test_new_drops_what_the_customer_ever_bought_before_and_keeps_places():
    """The customer stays in the same row with nothing left; repeated() is the other half."""
    histories = histories_of(
        [("c:1", 10, "a"), ("c:1", 110, "a"), ("c:1", 120, "b"), ("c:2", 20, "c"), ("c:2", 130, "c")]
    )
    truth = truth_of(histories, WINDOW, listed=np.ones(5, bool))
    assert [truth.of(0).tolist(), truth.of(1).tolist()] == [[0, 1], [2]]
    assert [truth.new().of(0).tolist(), truth.new().of(1).tolist()] == [[1], []]
    assert [truth.repeated().of(0).tolist(), truth.repeated().of(1).tolist()] == [[0], [2]]
    assert truth.new().subjects.tolist() == truth.subjects.tolist()


def test_an_item_seen_but_never_bought_is_new():
    """Only purchases make a repeat."""
    histories = histories_of([("c:1", 10, "a", EventType.VIEW), ("c:1", 150, "a")])
    assert truth_of(histories, WINDOW, listed=np.ones(5, bool)).new().items.tolist() == [0]


def test_visitors_are_judged_only_on_request():
    """Evaluation is about customers."""
    histories = histories_of([("v:x", 10, "a"), ("v:x", 150, "b"), ("c:1", 10, "a"), ("c:1", 150, "b")])
    assert bought(histories) == {"c:1": "b"}
    assert bought(histories, visitors=True) == {"c:1": "b", "v:x": "b"}


def test_named_subjects_only():
    """Names that nobody has are passed over."""
    histories = histories_of([("c:1", 10, "a"), ("c:1", 150, "b"), ("c:2", 10, "a"), ("c:2", 150, "b")])
    assert bought(histories, subjects=["c:2", "c:9"]) == {"c:2": "b"}


def test_the_catalogue_counts_distinct_customers_before_the_cut():
    """Not lines, not visitors, not what comes later."""
    histories = histories_of(
        [
            ("c:1", 10, "a"),
            ("c:1", 11, "a"),
            ("c:2", 20, "a"),
            ("c:1", 30, "b"),
            ("c:1", 31, "b"),
            ("v:x", 32, "b"),
            ("c:1", 40, "c"),
            ("c:2", 100, "c"),
            ("c:1", 50, "d", EventType.VIEW),
            ("c:2", 50, "d", EventType.VIEW),
        ]
    )
    assert buyers(histories, before=100).tolist() == [2, 1, 1, 0, 0]
    assert catalogue(histories, before=100, min_customers=2).tolist() == [True, False, False, False, False]
    assert catalogue(histories, before=101, min_customers=2).tolist() == [True, False, True, False, False]


def test_nobody_and_nothing_is_no_error():
    """An empty shop has an empty truth and an empty catalogue."""
    empty = Histories(Vocabulary.of([]), Vocabulary.of([]), np.zeros(1, np.int64), History.empty())
    assert len(truth_of(empty, WINDOW, listed=np.zeros(0, bool))) == 0
    assert catalogue(empty, before=100).tolist() == []
    assert customers(empty.subjects).tolist() == []


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["c:1", "c:2", "c:3", "v:1"]),
        st.integers(80, 220),
        st.sampled_from("abcde"),
        st.sampled_from([EventType.PURCHASE, EventType.PURCHASE, EventType.VIEW, EventType.RETURN]),
    ),
    max_size=40,
)


@given(EVENTS, st.integers(1, 3))
def test_truth_equals_what_a_slow_loop_finds(events, least):
    """Sets and loops as the second derivation, catalogue and repeats included."""
    histories = histories_of(events)
    listed = catalogue(histories, before=WINDOW.start, min_customers=least)
    truth = truth_of(histories, WINDOW, listed=listed)
    expected, repeats = {}, {}
    for who in {e[0] for e in events if e[0].startswith("c:")}:
        mine = [e for e in events if e[0] == who]
        past = {e[2] for e in mine if e[1] < 100 and e[3] == EventType.PURCHASE}
        inside = {e[2] for e in mine if 100 <= e[1] < 200 and e[3] == EventType.PURCHASE}
        fans = {i: {e[0] for e in events if e[2] == i and e[1] < 100 and e[3] == 7 and e[0][0] == "c"} for i in "abcde"}
        inside = {item for item in inside if len(fans[item]) >= least}
        if inside and any(e[1] < 100 for e in mine):
            expected[who], repeats[who] = sorted(inside), sorted(inside & past)
    found = {
        histories.subjects[int(r)]: [histories.items[i] for i in truth.of(p)] for p, r in enumerate(truth.subjects)
    }
    again = truth.repeated()
    assert found == expected
    assert {
        histories.subjects[int(r)]: [histories.items[i] for i in again.of(p)] for p, r in enumerate(truth.subjects)
    } == repeats
