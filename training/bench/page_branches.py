"""Several simulated shops as the branches of one: the same actions with the same effects, other people.

A small shop has too few pages for its slots' policies to pass the gate; branches together have more, and cost less
than a larger shop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from features.errors import ConfigError
from training.bench.page_world import Visits, visits_of


def visits_together(size: str, seeds: Sequence[int]) -> Visits:
    """The pages of some shops in the order of time; nobody goes to two of them.

    Args:
        size: of each shop.
        seeds: of the shops, each another one.

    Raises:
        ConfigError: an unknown size, no seeds, or one that is named twice.
    """
    if not len(seeds) or len(set(seeds)) < len(seeds):
        raise ConfigError("branches need seeds of their own", got=list(seeds), hint="name each shop once")
    parts, people = [], 0
    for seed in seeds:
        part = visits_of(size, seed)
        parts.append(replace(part, person=part.person + people))
        people += int(part.person.max(initial=-1)) + 1
    found = Visits(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Visits)))
    return found.take(np.argsort(found.at, kind="stable"))
