"""The running session beside a recipe: the equation, and nothing at all where no session runs."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import KokyakuError
from features.history import History
from features.moments import MINUTE
from serving.candidates import Candidates
from serving.query import Filter, Query
from serving.ranker import Ranker
from serving.recipe import Recipe, from_json
from serving.scoring import Beside, Blend, InSession
from tests.test_serving.conftest import AS_OF, RECIPE, build_toy_bundle

NAMES = ("one", "session")
SCORES = st.one_of(st.just(np.nan), st.floats(0, 50, width=32))


def ranker_of(**changes) -> Ranker:
    return Ranker(build_toy_bundle(recipe=msgspec.structs.replace(RECIPE, **changes)))


def asked(history: History, minutes: float = 1.0, **changes) -> Query:
    """A question so many minutes after everything that happened."""
    return Query(now=AS_OF + int(minutes * MINUTE), history=history, num_results=8, **changes)


def candidates_of(rows: list[tuple[float, float]]) -> Candidates:
    scores = np.array(rows, np.float32).reshape(-1, 2)
    return Candidates(np.arange(len(scores), dtype=np.int32), NAMES, scores, scores)


@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=8), st.floats(0.1, 10))
def test_the_equation(rows, weight):
    """score = base + weight x largest base x said / largest said, item by item; the leader is who adds more."""
    found, leading = Beside(Blend({"one": 2.0}), "session", weight).score(None, candidates_of(rows))
    one, said = (np.array([0.0 if np.isnan(row[at]) else row[at] for row in rows]) for at in (0, 1))
    base = 2.0 * one / one.max() if one.max() > 0 else np.zeros(len(rows))
    scale = base.max() if base.max() > 0 else 1.0
    more = weight * scale * said / said.max() if said.max() > 0 else np.zeros(len(rows))
    assert found == pytest.approx(base + more, rel=1e-4, abs=1e-5)
    sure = np.abs(more - base) > 1e-3 * (more + base + 1e-3)
    assert (leading[sure] == (more > base)[sure]).all()


def test_nothing_to_score_is_no_error():
    scores, leading = Beside(Blend({"one": 1.0}), "session", 1.0).score(None, candidates_of([]))
    assert (len(scores), len(leading)) == (0, 0)


@pytest.mark.parametrize("history", ["nothing", "yesterday"])
def test_outside_of_a_session_it_is_the_recipe_without(history, history_of):
    """The same scorer, so the same scores to the bit, explanations included."""
    past = {"nothing": (), "yesterday": (("view", "b1", 1.0), ("purchase", "a0", 3.0))}[history]
    with_it, without = ranker_of(session_weight=1.0), ranker_of()
    query = asked(history_of(*past))
    assert not isinstance(with_it.scorer(query), Beside)
    mine, theirs = with_it.rank(query), without.rank(query)
    assert mine.items.tolist() == theirs.items.tolist()
    assert mine.scores.tolist() == theirs.scores.tolist()


def test_what_is_looked_at_now_comes_first(history_of):
    """Bought long ago: group a. Looked at this minute: b2. Without the session nothing of that is the first answer."""
    past = history_of(("purchase", "a0", 3.0), ("purchase", "a0", 9.0), ("view", "b2", 1e-5))
    first = [
        ranker.bundle.items[int(ranker.rank(asked(past)).items[0])]
        for ranker in (ranker_of(), ranker_of(session_weight=3.0))
    ]
    assert first == ["a0", "b2"]
    slate = ranker_of(session_weight=3.0).rank(asked(past))
    assert slate.sources[0] == "session"
    later = ranker_of(session_weight=3.0).rank(asked(past, minutes=45))
    assert later.items[0] == 0  # a0 again: the session is over


def test_what_goes_with_given_items_is_no_question_of_the_session(history_of):
    """Unless somebody asks for it by name."""
    ranker, past = ranker_of(session_weight=3.0), history_of(("view", "b2", 1e-5))
    assert isinstance(ranker.scorer(asked(past)), Beside)
    assert not isinstance(ranker.scorer(asked(past, anchors=(0,))), Beside)
    named = InSession(RECIPE.weights, "session", 3.0)
    assert isinstance(ranker.scorer(asked(past, anchors=(0,)), named), Beside)


def test_filters_hold_in_a_session(history_of):
    """What was viewed is not shown where it is excluded, however much the session speaks for it."""
    past = history_of(("view", "b2", 1e-5))
    ranker = ranker_of(session_weight=10.0)
    shown = ranker.rank(asked(past, filter=Filter(exclude=("viewed",)))).items
    assert ranker.bundle.items.row("b2") not in shown.tolist()
    assert shown[0] // 4 == 1  # its neighbours, of group b


def test_the_holdout_is_not_served_by_its_session(history_of):
    past = history_of(("view", "b2", 1e-5))
    mine, theirs = (ranker_of(session_weight=weight).rank(asked(past), personal=False) for weight in (10.0, 0.0))
    assert mine.items.tolist() == theirs.items.tolist()
    assert "session" not in mine.sources


def test_a_recipe_without_the_source_takes_no_notice(history_of):
    sources = tuple(spec for spec in RECIPE.sources if spec.kind != "session")
    ranker = ranker_of(sources=sources, session_weight=3.0)
    assert ranker.rank(asked(history_of(("view", "b2", 1e-5)))).items.tolist()
    assert ranker.bundle.recipe.session is None


def test_several_at_once_is_one_after_the_other(history_of):
    ranker = ranker_of()
    query = asked(history_of(("purchase", "a0", 3.0), ("view", "b2", 1e-5), ("view", "a3", 2e-5)))
    voices = [RECIPE.weights, *(InSession(RECIPE.weights, "session", weight) for weight in (0.0, 0.3, 3.0))]
    together = ranker.rank_each(query, voices)
    for voice, slate in zip(voices, together, strict=True):
        alone = ranker.rank(query, voice)
        assert slate.items.tolist() == alone.items.tolist()
        assert slate.scores.tolist() == alone.scores.tolist()
        assert slate.sources == alone.sources
    assert together[0].items.tolist() == together[1].items.tolist()
    assert together[0].items.tolist() != together[3].items.tolist()


def test_given_items_are_ordered_by_the_session_too(history_of):
    rows = np.arange(8, dtype=np.int32)
    past = history_of(("purchase", "a0", 3.0), ("view", "b2", 1e-5))
    assert ranker_of(session_weight=5.0).rank_given(asked(past), rows).items[0] == 6
    assert ranker_of().rank_given(asked(past), rows).items[0] == 0


def test_a_recipe_of_before_reads_as_one_without(history_of):
    plain = msgspec.to_builtins(RECIPE)
    plain.pop("session_weight")
    assert from_json(plain) == RECIPE
    with pytest.raises((KokyakuError, msgspec.ValidationError)):
        msgspec.convert({**plain, "session_weight": -1.0}, Recipe)
