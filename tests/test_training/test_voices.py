"""Which sources a ranker listens to: what finds nothing alone leaves, and each decision has its figure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.moments import DAY
from serving.recipe import Recipe, SourceSpec
from tests.test_training.test_fitting import histories_of
from training.contest import Arena
from training.fitting import Cut, fit_bundle
from training.recipes import BASELINES
from training.split import Window, truth_of
from training.voices import LEAST_HITS, LEAST_SHARE, Hits, hits_of, needed, voices_for

NAMES = ("popularity", "a", "b", "c")


def hits(**found: list[int]) -> Hits:
    """By source, numbers of the purchases that it finds, out of a hundred."""
    matrix = np.zeros((100, len(NAMES)), bool)
    for name, numbers in found.items():
        matrix[numbers, NAMES.index(name)] = True
    return Hits(NAMES, matrix[matrix.any(axis=1)], 100)


def test_of_two_that_find_the_same_one_stays() -> None:
    """a and b find purchases 0 to 9 both: together neither is needed, alone each is; the later one leaves."""
    both = hits(a=list(range(10)), b=list(range(10)), c=list(range(20, 40)))
    voices, left = needed({"all": both, "new": both}, NAMES)
    assert voices == ["popularity", "a", "c"]
    assert left == {"b": {"all": 0, "new": 0}}


def test_one_task_is_enough() -> None:
    """c is of no use for all purchases but finds new items that nobody else does."""
    voices, _ = needed({"all": hits(a=[1, 2, 3]), "new": hits(a=[1], c=[5, 6, 7])}, NAMES)
    assert voices == ["popularity", "a", "c"]


def test_one_or_two_hits_are_chance() -> None:
    voices, left = needed({"all": hits(a=[1, 2], b=[3, 4, 5])}, NAMES)
    assert voices == ["popularity", "b"]
    assert left["a"] == {"all": 2}


def test_plain_baselines_stay_whatever_they_find() -> None:
    voices, _ = needed({"all": hits(a=[1, 2, 3])}, NAMES)
    assert voices == ["popularity", "a"]


MATRICES = st.lists(st.lists(st.booleans(), min_size=4, max_size=4), max_size=60)


@given(MATRICES, MATRICES)
def test_those_that_stay_are_needed_and_those_that_left_are_not(one, two) -> None:
    """Each that stays finds enough alone; each that left found less, and all together lose less than they did."""
    found = [np.array(rows, bool).reshape(-1, 4) for rows in (one, two)]
    seen = {task: Hits(NAMES, each, max(len(each), 1)) for task, each in zip(("all", "new"), found, strict=True)}
    voices, left = needed(seen, NAMES)
    assert sorted([*voices, *left]) == sorted(NAMES)
    need = {task: max(LEAST_HITS, LEAST_SHARE * each.purchases) for task, each in seen.items()}
    for name in voices:
        assert name in BASELINES or any(each.alone(voices)[name] >= need[task] for task, each in seen.items())
    for own in left.values():
        assert all(own[task] < need[task] for task in seen)
    for task, each in seen.items():
        kept = each.found[:, [NAMES.index(name) for name in voices]].any(axis=1).sum()
        assert each.found.any(axis=1).sum() - kept == sum(own[task] for own in left.values())


@pytest.fixture(scope="module")
def arena() -> Arena:
    """Customers buy 0, 1, 2, 3 in order, each twelve days after the other; the window holds their next item."""
    lines = [
        (f"c:{n:03}", 10 + n % 7 + 12 * step, (n % 3 + step) % 8) for n in range(60) for step in range(5)
    ]  # fmt: skip
    window = Window(54 * DAY, 70 * DAY)
    histories = histories_of(lines, 8)
    cut = Cut(histories, window.start, min_customers=1)
    sources = (
        SourceSpec("popularity", "popularity"), SourceSpec("personal-frequency", "personal-frequency"),
        SourceSpec("sequence", "sequence", "sequence"), SourceSpec("twin", "sequence", "sequence"),
    )  # fmt: skip
    bundle = fit_bundle(cut, Recipe("arena", sources, {"popularity": 1.0}))
    return Arena(bundle, histories, window, truth_of(histories, window, listed=cut.listed), {})


def test_hits_are_what_the_sources_would_propose(arena: Arena) -> None:
    """Popularity knows all eight items, so it finds all; twins find the same; repeats are found by frequency alone."""
    names = [spec.name for spec in arena.bundle.recipe.sources]
    heard: list[tuple[int, int]] = []
    found = hits_of(arena, names, lambda what, done, total: heard.append((done, total)))
    assert heard[-1] == (len(arena.truth), len(arena.truth))
    assert found["all"].purchases == len(arena.truth.items)
    assert found["new"].purchases == len(arena.truth.new().items)
    column = {name: found["all"].found[:, at] for at, name in enumerate(names)}
    assert column["popularity"].all()
    assert (column["sequence"] == column["twin"]).all()
    assert column["sequence"].any()
    assert not found["new"].found[:, names.index("personal-frequency")].any()


def test_every_decision_is_said_with_its_figure(arena: Arena) -> None:
    """Popularity finds everything in so small a shop: the rest is silent, and why stands in the notes."""
    voices, notes = voices_for(arena, ["popularity", "personal-frequency", "sequence", "twin"])
    assert voices == ["popularity", "personal-frequency"]
    assert [note.split(":")[0] for note in notes[:2]] == ["No ranker listens to twin", "No ranker listens to sequence"]
    assert "0.0 % (all), 0.0 % (new)" in notes[0]
    assert notes[2].startswith("Rankers listen to those that find what no other does: popularity ")
