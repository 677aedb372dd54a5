"""Quotas over a list: never more than allowed, as many as possible, and nothing else moves."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.quotas import Bounds, arrange


@st.composite
def lists(draw, kinds: int = 3, longest: int = 30, overlapping: bool = False):
    """Candidates, rules of different kinds (or of any items), and a number of places."""
    count = draw(st.integers(0, longest))
    kind = draw(st.lists(st.integers(0, kinds), min_size=count, max_size=count))
    rules = []
    for each in range(draw(st.integers(0, kinds))):
        first = draw(st.integers(1, longest + 1))
        most = draw(st.none() | st.integers(0, first))
        least = draw(st.integers(0, first if most is None else most))
        drawn = (
            draw(st.lists(st.booleans(), min_size=count, max_size=count)) if overlapping else [k == each for k in kind]
        )
        rules.append(Bounds(np.array(drawn, bool), first, least, most))
    return count, rules, draw(st.integers(0, longest + 2))


def oracle(count: int, rules: list[Bounds], limit: int) -> list[int]:
    """Of all lists that no `at most` forbids: most of the first `at least`, then of the second ..., then in order."""
    best: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    chosen: tuple[int, ...] = ()
    for length in range(min(limit, count) + 1):
        for some in permutations(range(count), length):
            counts = [int(rule.members[list(some[: rule.first])].sum()) for rule in rules]
            if any(rule.at_most is not None and n > rule.at_most for rule, n in zip(rules, counts, strict=True)):
                continue
            short = tuple(max(rule.at_least - n, 0) for rule, n in zip(rules, counts, strict=True))
            key = short, (*some, *[count] * (limit - length))  # a place that is left empty is the last resort
            if best is None or key < best:
                best, chosen = key, some
    return list(chosen)


@given(lists(longest=5))
def test_it_is_the_first_list_in_order_that_the_rules_allow(given_list) -> None:
    """Against all permutations; no item is under two rules."""
    assert arrange(*given_list).order == oracle(*given_list)


@given(lists(overlapping=True), st.data())
def test_at_most_holds_whatever_else_is_wanted(given_list, data) -> None:
    """Rules of the same items and pins included: no rule is broken, no item lost or doubled that has a place."""
    count, rules, limit = given_list
    pins = (
        data.draw(st.lists(st.tuples(st.integers(0, max(count - 1, 0)), st.integers(0, 32)), max_size=3))
        if count
        else []
    )
    fixed = dict(pins)
    fixed = {each: place for each, place in fixed.items() if list(fixed.values()).count(place) == 1}
    found = arrange(count, rules, limit, fixed)
    assert len(set(found.order)) == len(found.order) <= min(limit, count)
    assert set(found.order) <= set(range(count))
    counts = [int(rule.members[found.order[: rule.first]].sum()) for rule in rules]
    for rule, n in zip(rules, counts, strict=True):
        assert rule.at_most is None or n <= rule.at_most
    assert found.short == [max(rule.at_least - n, 0) for rule, n in zip(rules, counts, strict=True)]
    whole = len(found.order) == min(limit, count)
    for each, place in fixed.items():
        assert each in found.refused or each in found.order
        if whole and each not in found.refused and place < len(found.order):
            last = len(found.order) - 1
            assert found.order.index(each) == place or max(fixed.values()) >= last
    if not rules:
        assert whole


@given(lists(kinds=2))
def test_what_no_rule_is_about_keeps_its_order(given_list) -> None:
    count, rules, limit = given_list
    order = arrange(count, rules, limit).order
    ruled = np.zeros(count, bool)
    for rule in rules:
        ruled |= rule.members
    free = [each for each in order if not ruled[each]]
    assert free == sorted(free)
    for rule in rules:
        mine = [each for each in order if rule.members[each]]
        assert mine == sorted(mine), "the best of a kind moves first"


@given(lists(kinds=1))
def test_at_least_is_met_whenever_it_can_be(given_list) -> None:
    """One rule: as many as there are items and places."""
    count, rules, limit = given_list
    found = arrange(count, rules, limit)
    for rule, short in zip(rules, found.short, strict=True):
        can = min(rule.at_least, int(rule.members.sum()), rule.first, limit)
        assert short == rule.at_least - can


def test_minimal_displacement() -> None:
    """The fourth kind-x item is not needed; the second is moved to the last of the first three places."""
    kind = np.array([0, 0, 0, 1, 0, 1, 0, 1], bool)
    assert arrange(8, [Bounds(kind, 3, at_least=1)], 8).order == [0, 1, 3, 2, 4, 5, 6, 7]
    assert arrange(8, [Bounds(kind, 4, at_least=2)], 8).order == [0, 1, 3, 5, 2, 4, 6, 7]
    assert arrange(8, [Bounds(~kind, 4, at_most=2)], 8).order == [0, 1, 3, 5, 2, 4, 6, 7]
    assert arrange(8, [Bounds(~kind, 8, at_most=2)], 8).order == [0, 1, 3, 5, 7], "the list ends: there is nothing else"


def test_the_earlier_rule_counts_more() -> None:
    """Two of each in three places: the second rule gets what the first leaves, and the gap is told."""
    one, two = np.arange(8) % 4 == 2, np.arange(8) % 4 == 3
    found = arrange(8, [Bounds(one, 3, 2), Bounds(two, 3, 2)], 8)
    assert found.order[:3] == [2, 3, 6]
    assert found.short == [0, 1]


def test_fixed_places() -> None:
    """A place behind the end is the last one; a rule may refuse one; a pinned item counts for its rule."""
    kind = np.array([0, 0, 0, 1, 1, 1], bool)
    assert arrange(6, [], 4, {5: 0, 4: 9}).order == [5, 0, 1, 4]
    assert arrange(6, [Bounds(kind, 3, at_least=1)], 6, {5: 1}).order == [0, 5, 1, 2, 3, 4]
    refused = arrange(6, [Bounds(kind, 3, at_most=1)], 6, {3: 0, 4: 1})
    assert refused.refused == [4]
    assert refused.order == [3, 0, 1, 2, 4, 5]


def test_more_is_fixed_than_there_are_places() -> None:
    """What is fixed inside the list stays; of what is fixed behind it as much as has room; the rest is told."""
    found = arrange(6, [], 2, {5: 0, 4: 1, 3: 7})
    assert (found.order, found.refused) == ([5, 4], [3])
    found = arrange(6, [], 2, {5: 0, 4: 8, 3: 7})
    assert (found.order, found.refused) == ([5, 3], [4])
