"""Shops as branches of one: every page of each is there once, in the order of time, and people stay apart."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from features.errors import ConfigError
from training.bench.page_branches import visits_together
from training.bench.page_world import Visits, visits_of


def test_branches_are_the_pages_of_each_shop_and_their_people_stay_apart() -> None:
    parts = [visits_of("tiny", seed) for seed in (3, 5)]
    both = visits_together("tiny", (3, 5))
    assert (np.diff(both.at) >= 0).all()
    first = both.person <= parts[0].person.max()
    for part, mine in zip(parts, (first, ~first), strict=True):
        found = both.take(mine)
        for each in fields(Visits):
            expected, got = getattr(part, each.name), getattr(found, each.name)
            if each.name == "person":
                got = got - (got.min() - expected.min())
            assert np.array_equal(got, expected), each.name
    people = [len(np.unique(part.person)) for part in parts]
    assert len(np.unique(both.person)) == sum(people)


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_a_shop_is_no_branch_of_itself(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="seeds of their own"):
        visits_together("tiny", seeds)
