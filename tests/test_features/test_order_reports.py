"""Reports of order lines: any order of arrival gives the same lines, and what says nothing new is no step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from features.order_reports import Report, lines_of, same_report
from features.orders import OrderLine, Step


def report(at=1, state="", *, order_id="o", line="1", item_id="sofa", **fields):
    return Report(order_id=order_id, line=line, at=at, state=state, item_id=item_id, **fields)


def test_reports_of_a_line_are_its_steps_oldest_first():
    """What has no history is what was said last; the promise is a step's only where it changed."""
    (line,) = lines_of(
        [
            report(5, "shipped", promised_at=90, quantity=2.0, tracking_url="https://t"),
            report(1, "confirmed", ordered_at=0, promised_at=50, quantity=1.0, gift=True),
            report(3, "in_production", promised_at=50, text="the frame", image_url="https://i"),
            report(7, place="Shop", hours="9-17", confirmed_for=8),
        ]
    )
    assert line == OrderLine(
        "o", "1", "sofa", 0,
        (
            Step(1, "confirmed", promised_at=50),
            Step(3, "in_production", "the frame", "https://i"),
            Step(5, "shipped", tracking_url="https://t", promised_at=90),
            Step(7, "", confirmed_for=8, place="Shop", hours="9-17"),
        ),
        2.0, True,
    )  # fmt: skip
    assert (line.first_promised_at, line.promised_at, line.state) == (50, 90, "shipped")


def test_a_line_without_a_named_order_moment_was_ordered_at_its_first_step():
    assert lines_of([report(4, "shipped"), report(2, "confirmed")])[0].ordered_at == 2


def test_lines_stand_in_the_order_of_ordering_and_one_without_an_item_is_none():
    lines = lines_of(
        [report(9, order_id="b"), report(3, order_id="c"), report(1, order_id="a", item_id=None),
         report(1, order_id="d", item_id=None), report(9, order_id="d", line="2")]
    )  # fmt: skip
    assert [(line.order_id, line.line) for line in lines] == [("c", "1"), ("b", "1"), ("d", "2")]


def test_the_item_may_be_named_by_any_report():
    (line,) = lines_of([report(1, "confirmed", item_id=None), report(2, "shipped")])
    assert (line.item_id, len(line.steps)) == ("sofa", 2)


def test_what_says_nothing_new_is_no_step():
    """The same state each night, a payment, a text that is repeated; but a text that comes back is news."""
    told = [
        report(1, "confirmed", text="thanks"), report(2, "confirmed", text="thanks"), report(3, payment_state="paid"),
        report(4, "confirmed"), report(5, "in_production", text="cutting"), report(6, text="sewing"),
        report(7, "in_production", text="cutting"),
    ]  # fmt: skip
    (line,) = lines_of(told)
    assert [(step.at, step.state, step.text) for step in line.steps] == [
        (1, "confirmed", "thanks"), (5, "in_production", "cutting"), (6, "", "sewing"), (7, "in_production", "cutting"),
    ]  # fmt: skip


def test_the_first_report_is_a_step_whatever_it_says():
    assert lines_of([report(1)])[0].steps == (Step(1, ""),)
    assert lines_of([]) == ()


def test_states_of_one_moment_follow_each_other():
    """A batch without times: confirmed, then shipped, then words."""
    (line,) = lines_of([report(1, "shipped"), report(1, text="words"), report(1, "confirmed")])
    assert [step.state for step in line.steps] == ["confirmed", "shipped", ""]


def test_a_moment_that_the_shop_left_open_does_not_make_another_report():
    assert same_report(report(1, "shipped", stamped=True), report(9, "shipped", stamped=True))
    assert same_report(report(1, "shipped"), report(9, "shipped", stamped=True))
    assert not same_report(report(1, "shipped"), report(9, "shipped"))
    assert not same_report(report(1, "shipped", stamped=True), report(1, "shipped", stamped=True, text="x"))


REPORTS = st.lists(
    st.builds(
        report,
        st.integers(0, 3),
        st.sampled_from(["", "confirmed", "shipped"]),
        order_id=st.sampled_from("ab"),
        quantity=st.sampled_from([None, 1.0, 3.0]),
        text=st.sampled_from([None, "x", "y"]),
        promised_at=st.sampled_from([None, 5, 6]),
    ),
    max_size=8,
)


@given(REPORTS, st.randoms(use_true_random=False))
def test_the_lines_do_not_depend_on_the_order_or_the_number_of_arrivals(reports, random):
    """Files and service may both bring a report, in any order."""
    shuffled = [*reports, *random.choices(reports, k=3)] if reports else []
    random.shuffle(shuffled)
    assert lines_of(shuffled) == lines_of(reports)


@given(REPORTS)
def test_the_last_state_and_promise_are_those_of_the_last_report_that_has_one(reports):
    """An oracle that looks at the reports themselves; ties are left out."""
    for line in lines_of(reports):
        rows = sorted((each for each in reports if each.order_id == line.order_id), key=lambda each: each.at)
        if len({each.at for each in rows}) == len(rows):
            states = [each.state for each in rows if each.state] or ["confirmed"]
            promises = [each.promised_at for each in rows if each.promised_at is not None] or [None]
            assert (line.state, line.promised_at, line.first_promised_at) == (states[-1], promises[-1], promises[0])
            assert line.quantity == ([each.quantity for each in rows if each.quantity] or [1.0])[-1]
