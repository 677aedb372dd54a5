"""Lists of one category, as a category's page asks for them: a filter takes most of what the sources propose.

Each customer is asked about the category, to two steps of its path, of one of the items that they bought in the judged
window; what they bought of it is to be found. Who is asked about what depends on nothing but the window.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from serving.query import Filter, Query
from serving.ranker import Ranker, Voice
from serving.shelves import STEP
from training.contest import Arena, question, sampled
from training.evaluate import KS
from training.metrics import scores
from training.parallel import in_parts
from training.split import Truth

Floats = npt.NDArray[np.float64]
STEPS = 2
"""Of a category's path."""
ASKED = 1000
"""Customers, at most; always the same ones."""


def by_customer(arena: Arena, voice: Voice) -> dict[str, Floats]:
    """`ndcg@20` ... -> float64[customers]; none where the items have no categories."""
    wanted, truth = asked_of(arena)
    if not wanted:
        return {}
    known, ranker = arena.histories.as_of(arena.window.start), Ranker(arena.bundle)

    def shown(places: range) -> npt.NDArray[np.int32]:
        lists = np.full((len(places), max(KS)), -1, np.int32)
        for at, place in enumerate(places):
            row = int(truth.subjects[place])
            asked: Query = question(arena, row, known.at(row), "all", max(KS))
            found = ranker.rank(msgspec.structs.replace(asked, filter=wanted[place]), voice).items
            lists[at, : len(found)] = found
        return lists

    return scores(np.concatenate(in_parts(shown, len(truth))), truth, KS)


def asked_of(arena: Arena) -> tuple[list[Filter], Truth]:
    """What each customer is asked about, and what they bought of it."""
    truth, category = sampled(arena.truth, ASKED), arena.bundle.shared.category
    wanted, places, kept = [], [], np.zeros(len(truth.items), bool)
    for place in range(len(truth)):
        codes = category[truth.of(place)]
        if not (codes >= 0).any():
            continue
        code = int(np.random.default_rng((0, int(truth.subjects[place]))).choice(codes[codes >= 0]))
        path = STEP.join(arena.bundle.categories[code].split(STEP)[:STEPS])
        kept[truth.indptr[place] : truth.indptr[place + 1]] = np.isin(codes, arena.bundle.categories_under((path,)))
        wanted.append(Filter(categories=(path,), in_stock=False))
        places.append(place)
    return wanted, truth.only(kept).take(np.array(places, np.intp))
