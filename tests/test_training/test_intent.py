"""What the session counts is a part of the recipe that windows cannot judge: who carries it on, and how it is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from serving.recipe import Recipe, SourceSpec
from training.intent import LEAST, Weighed, told, with_session
from training.intervals import Interval
from training.recipes import SESSION, complete, is_same
from training.report import describe
from training.selection import Choice
from training.session import Champion
from training.train import served_on

HABIT, POPULAR, NOW = (
    SourceSpec(name, name, name) for name in ("personal-frequency", "popularity", SESSION)
)  # fmt: skip
HABITUAL = Recipe("personal-frequency", (HABIT, POPULAR), {"personal-frequency": 1.0})
PLAIN = Recipe("popularity", (POPULAR,), {"popularity": 1.0})


def choice_of(*recipes: Recipe) -> Choice:
    names = tuple(recipe.name for recipe in recipes)
    return Choice((HABIT, POPULAR, NOW), recipes, names, {}, (SESSION,))


def weighed(weight: float, low: float = 0.1, visits: int = 99) -> Weighed:
    return Weighed("personal-frequency", "ndcg@20", weight, {0.3: Interval(0.2, low, 0.3, 60, 0)}, visits)


def champion(entrant: str, recipe: Recipe, contestant: Recipe) -> Champion:
    version: Any = None  # it says nothing here
    return Champion(version, recipe, entrant, contestant)


def test_only_the_recipe_that_was_weighed_gets_the_weight() -> None:
    """Its judged sources stay as they are: the session's source joins with those that feed pages."""
    found = with_session(choice_of(HABITUAL, PLAIN), weighed(0.3))
    assert [recipe.session_weight for recipe in found.recipes] == [0.3, 0.0]
    assert found.recipes[0].session is None
    assert complete(found.recipes[0], found.sources, found.feeders).session == SESSION


def test_two_weights_of_the_session_are_one_recipe_to_the_gate() -> None:
    assert is_same(HABITUAL, msgspec.structs.replace(HABITUAL, session_weight=1.0))
    assert not is_same(
        HABITUAL, msgspec.structs.replace(HABITUAL, weights={"personal-frequency": 1.0, "popularity": 1})
    )


@pytest.mark.parametrize(("before", "today"), [(0.0, 0.3), (1.0, 0.3), (1.0, 0.0)])
def test_a_champion_that_is_first_again_takes_the_weight_of_today(before: float, today: float) -> None:
    serving = msgspec.structs.replace(HABITUAL, session_weight=before)
    choice = with_session(choice_of(HABITUAL, PLAIN), weighed(today))
    recipe = served_on(champion("personal-frequency", serving, choice.recipes[0]), choice)
    assert recipe.session_weight == today
    assert recipe.session == SESSION
    assert is_same(recipe, serving)


def test_a_champion_that_was_not_weighed_keeps_its_own() -> None:
    serving = msgspec.structs.replace(PLAIN, session_weight=1.0)
    choice = with_session(choice_of(HABITUAL, PLAIN), weighed(0.3))
    assert served_on(champion("popularity", serving, choice.recipes[1]), choice) == serving


def test_it_is_told() -> None:
    assert told(weighed(0.3)) == [
        "While a session runs it counts 0.3 beside the rest of personal-frequency: ndcg@20 of what the rest of the "
        "visit buys changes by +0.2000 [+0.1000, +0.3000] just after the first view of 99 visits (earlier window)."
    ]
    assert "does not order lists of personal-frequency" in told(weighed(0.0, low=-0.1))[0]
    few = Weighed("personal-frequency", "ndcg@20", 0.0, {}, 3)
    assert f"of 3 visits of the earlier window too few (at least {LEAST})" in told(few)[0]
    assert describe(msgspec.structs.replace(HABITUAL, session_weight=0.3)) == (
        "personal-frequency; while a session runs it counts 0.3 beside that"
    )
    assert "session" not in describe(HABITUAL)
