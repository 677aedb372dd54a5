"""Questions: what an answer is worth, and that nobody is asked too much."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.ids import Vocabulary
from serving.prior import ContextPrior
from serving.questions import (
    HOURS,
    Hours,
    Learned,
    Question,
    Rarity,
    best_question,
    learned_of,
    rarity,
    value_of_answer,
)

PET = Question("pet", "pet", ("dog", "cat", "none"), cost=0.001)
URGENT = Question("urgent", "urgent", ("yes", "no"), ("Home > Refrigerators", "Boilers"), unusual=0.05, gain=0.01)
NAME = Question("name", "name", gain=0.002)
ALL = (PET, URGENT, NAME)
RARE, USUAL = Rarity(0.01, "rare"), Rarity(0.6, "usual")
COLD = "Home > Refrigerators > Large"


def hours_of() -> Hours:
    """Refrigerators are looked at by day; snacks have no row of their own, the food department has."""
    paths = ("Home > Refrigerators", "Food", "Home")
    tail = np.full((4, 2, 24), 0.5, np.float32)
    tail[0, :, :6], tail[1, :, 5], tail[2, 0, 5], tail[3, 0, 5] = 0.01, 0.4, 0.03, 0.06
    looks = np.arange(8).reshape(4, 2)
    voc = Vocabulary.of(paths).arrays(f"{HOURS}.paths") | Vocabulary.of(["mobile", "tv"]).arrays(f"{HOURS}.devices")
    found = Hours.from_arrays({f"{HOURS}.rarity": tail, f"{HOURS}.looks": looks, **voc})
    assert found is not None
    return found


def test_a_category_stands_for_those_below_and_the_shop_for_what_is_unknown() -> None:
    hours = hours_of()
    for category, value in [(COLD, 0.01), ("Food > Snacks", 0.4), ("Home > Sofas", 0.03), ("Homeware", 0.06), ("", 0.06)]:  # noqa: E501  # fmt: skip
        assert rarity(hours, "mobile", 5, category).value == pytest.approx(value)
    assert rarity(hours, "mobile", 12, COLD).value == pytest.approx(0.5)
    assert "Home > Refrigerators" in rarity(hours, "mobile", 5, COLD).why


def test_where_nothing_was_learned_nothing_is_unusual_and_that_is_said() -> None:
    assert Hours.from_arrays({}) is None
    for found in (rarity(None, "mobile", 5, COLD), rarity(hours_of(), "fridge", 5, COLD), rarity(hours_of(), None, 5, COLD)):  # noqa: E501  # fmt: skip
        assert found.value == 1.0
        assert "nothing was learned" in found.why


def test_the_value_of_an_answer_by_hand() -> None:
    """Tips for owners, popular for the rest: 0.3 x 0.10 + 0.7 x 0.06 against popular for all, 0.055."""
    value = np.array([[0.10, 0.045], [0.02, 0.06]])
    best_without = max(0.3 * 0.10 + 0.7 * 0.02, 0.3 * 0.045 + 0.7 * 0.06)
    assert value_of_answer(np.array([0.3, 0.7]), value) == pytest.approx(0.3 * 0.10 + 0.7 * 0.06 - best_without)
    assert value_of_answer(np.array([3.0, 7.0]), value) == value_of_answer(np.array([0.3, 0.7]), value)


@given(
    arrays(np.float64, 3, elements=st.floats(0, 1)), arrays(np.float64, (3, 4), elements=st.floats(-1, 1)),
    st.floats(-1, 1),
)  # fmt: skip
def test_an_answer_is_never_worth_less_than_nothing(chance, value, moved) -> None:
    gain = value_of_answer(chance, value)
    assert 0 <= gain <= np.ptp(value) + 1e-12
    if chance.sum() > 0:
        assert value_of_answer(chance, value + moved) == pytest.approx(gain, abs=1e-9), (
            "what all actions bring is no news"
        )
    assert value_of_answer(chance, np.tile(value[:1], (3, 1))) == pytest.approx(0, abs=1e-12), "an answer that tells nothing"  # noqa: E501  # fmt: skip
    assert value_of_answer(np.array([0.0, 1.0, 0.0]), value) == 0, "what is known already"
    assert value_of_answer(chance, value[:, :1]) == pytest.approx(0, abs=1e-12), "nothing to choose"


def test_nothing_known_is_worth_nothing() -> None:
    nan = np.nan
    assert value_of_answer(np.array([0.5, 0.5]), np.full((2, 3), nan)) == 0
    assert value_of_answer(np.array([nan, 0.5]), np.ones((2, 3))) == 0
    assert value_of_answer(np.zeros(2), np.ones((2, 3))) == 0
    half = np.array([[1.0, 0.0, nan], [0.0, 1.0, 5.0]])
    assert value_of_answer(np.array([0.5, 0.5]), half) == pytest.approx(0.5), "an action half known is left out"
    assert learned_of({}) == {}


def test_a_page_gains_slot_by_slot_from_what_may_stand_there() -> None:
    prior = ContextPrior(("cat", "dog"), (), (), np.array([0.5, 0.5]), np.empty(0), {})
    value = np.array([[1.0, 0.0, 0.2], [0.0, 1.0, 0.2]])
    learned = Learned(prior, {"home/hero": (("a", "b", "c"), value), "home/band": (("a", "c"), value[:, [0, 2]])})
    assert learned.gain({}, {"home/hero": {"a", "b", "c"}}) == pytest.approx(0.5)
    assert learned.gain({}, {"home/hero": {"a", "c"}, "home/band": {"a", "c"}}) == pytest.approx(2 * (0.6 - 0.5))
    assert learned.gain({}, {"home/other": {"a"}, "home/hero": {"b"}}) == 0


def test_the_question_that_brings_most_beyond_its_cost_is_asked() -> None:
    asking = best_question(ALL, (), False, {"pet": 0.004}, category=COLD, moment=RARE)
    assert asking.question == URGENT
    assert asking.gain == 0.01
    assert any("rare" in reason for reason in asking.reasons)
    assert best_question(ALL, (), False, {"pet": 0.004}, category=COLD, moment=USUAL).question == PET
    assert best_question(ALL, ("pet",), False, {"pet": 0.004}, category=COLD, moment=USUAL).question == NAME
    assert best_question(ALL, (), False, {"pet": 0.001}).question == NAME, "a gain of its cost is none"
    assert best_question(ALL, (), False, {}, cost=0.5).question is None


@pytest.mark.parametrize(
    ("category", "moment", "asked"),
    [(COLD, RARE, True), ("Boilers", RARE, True), ("Food > Snacks", RARE, False), ("Boilersuits", RARE, False),
     ("", RARE, False), (COLD, USUAL, False), (COLD, None, False), (COLD, Rarity(0.05, ""), True)],
)  # fmt: skip
def test_the_urgent_question_needs_its_category_and_an_unusual_moment(category, moment, asked) -> None:
    found = best_question([URGENT], (), False, {}, category=category, moment=moment)
    assert (found.question is not None) == asked
    assert asked or found.reasons


@given(
    st.lists(st.builds(
        Question, st.sampled_from("abcdef"), st.just("x"), st.sampled_from([(), ("y", "n")]),
        st.sampled_from([(), ("Home",)]), st.sampled_from([None, 0.05]), st.floats(0, 1), st.floats(0, 1),
    ), max_size=6, unique_by=lambda question: question.id),
    st.frozensets(st.sampled_from("abcdef")), st.booleans(),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1) | st.just(float("nan"))), st.floats(0, 1),
    st.sampled_from(["", "Home", "Home > Sofas"]), st.sampled_from([None, RARE, USUAL]),
)  # fmt: skip
def test_nobody_is_asked_too_much(questions, asked, session, gains, cost, category, moment) -> None:
    found = best_question(questions, asked, session, gains, cost, category=category, moment=moment)
    again = best_question(questions, asked, session, gains, cost, category=category, moment=moment)
    assert found.question == again.question
    assert found.reasons
    if found.question is None:
        assert np.isnan(found.gain)
        return
    chosen = found.question
    assert not session
    assert chosen.id not in asked
    assert found.gain > chosen.cost + cost or found.gain - chosen.cost - cost > 0
    assert not chosen.categories or category.startswith("Home")
    assert chosen.unusual is None or moment is RARE
    if not chosen.options:
        assert found.gain == chosen.gain, "free text brings what the shop declares"
    assert best_question(questions, {*asked, chosen.id}, False, gains, cost, category=category, moment=moment).question != chosen  # noqa: E501  # fmt: skip
    assert best_question(questions, asked, True, gains, cost, category=category, moment=moment).question is None


def test_a_declaration_with_a_typo_is_refused() -> None:
    read = msgspec.convert({"id": "pet", "attribute": "pet", "options": ["dog"], "unusual": 0.05}, Question)
    assert read.options == ("dog",)
    with pytest.raises(msgspec.ValidationError, match="option"):
        msgspec.convert({"id": "pet", "attribute": "pet", "option": ["dog"]}, Question)
    with pytest.raises(msgspec.ValidationError, match="unusual"):
        msgspec.convert({"id": "pet", "attribute": "pet", "unusual": 5}, Question)
