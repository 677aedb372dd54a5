"""Static pages of the simulated shop: the same for everybody, and the truly best of them, by enumeration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from training.bench.page_truth import Tables, Truth
from training.bench.page_world import Contexts, Visits
from training.bench.slot_world import SLOTS, WIDTH
from training.simulation.effects import PAGE_ACTIONS
from training.uplift.log import Doubles, Mask

SHOWN = tuple(tuple(at for at, each in enumerate(PAGE_ACTIONS, 1) if slot in each.slots) for slot in SLOTS)
"""Of each slot the actions that may ever stand in it, as columns of a policy."""


@dataclass(frozen=True)
class Static:
    """One page for everybody: of each slot its modules in order, the first that may be shown takes it.

    Args:
        hero, band: columns of a policy; a slot of which none may be shown stays empty.
    """

    hero: tuple[int, ...]
    band: tuple[int, ...]

    def tables(self, contexts: Contexts) -> Tables:
        """The page as a policy."""
        bands = [_first(self.band, contexts.eligible(1, taken)) for taken in range(WIDTH)]
        return Tables(_first(self.hero, contexts.eligible(0)), np.stack(bands))

    def __str__(self) -> str:
        slots = [[PAGE_ACTIONS[at - 1].id for at in slot] for slot in (self.hero, self.band)]
        return " | ".join(" > ".join(slot) or "nothing" for slot in slots)


def _first(order: Sequence[int], eligible: Mask) -> Doubles:
    """float64[n, WIDTH]: 1 for the first of some actions that may be taken, else for nothing."""
    wanted = np.array([*order, 0])
    place = wanted[eligible[:, wanted].argmax(axis=1)]
    found: Doubles = np.eye(WIDTH)[place]
    return found


def best_static(truth: Truth, visits: Visits, contexts: Contexts, outcome: str) -> Static:
    """The one action a slot that truly brings most to all pages together; it is nothing where it may not be shown.

    What purchases add up to above the highest probability is not taken off here: it is when pages are valued.
    """
    sums = _sums(truth, visits, contexts, outcome)
    pages = [Static((hero,), (band,)) for hero, band in product(*SHOWN) if hero != band]
    return max(pages, key=lambda page: _total(page.tables(contexts), sums))


def best_order(truth: Truth, visits: Visits, contexts: Contexts, outcome: str) -> Static:
    """A fixed order of modules a slot, of which the first that may be shown takes it: what a careful shop does by hand.

    It begins with the best single actions; the module that adds most is put in front as long as one adds anything.
    """
    sums = _sums(truth, visits, contexts, outcome)
    page = best_static(truth, visits, contexts, outcome)
    best = _total(page.tables(contexts), sums)
    while True:
        longer = [replace(page, hero=(at, *page.hero)) for at in SHOWN[0] if at not in page.hero]
        longer += [replace(page, band=(at, *page.band)) for at in SHOWN[1] if at not in page.band]
        totals = [_total(each.tables(contexts), sums) for each in longer]
        if not totals or max(totals) <= best + 1e-9:
            return page
        page, best = longer[int(np.argmax(totals))], max(totals)


def _sums(truth: Truth, visits: Visits, contexts: Contexts, outcome: str) -> Doubles:
    """float64[2, contexts, WIDTH]: what each action in each slot does, summed over the pages of a context."""
    each = truth.slots(visits, outcome)
    columns = [[np.bincount(contexts.of, of, minlength=len(contexts)) for of in slot.T] for slot in each]
    return np.asarray(columns).transpose(0, 2, 1)


def _total(tables: Tables, sums: Doubles) -> float:
    hero, band = sums
    after = (tables.band * band).sum(axis=2).T
    return float((tables.hero * (hero + after)).sum())
