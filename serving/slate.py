"""From candidates to a slate: each gets a score, and the highest get the places."""

from __future__ import annotations

import msgspec
import numpy as np

from features.assemble import FEATURE_NAMES
from features.compiled import available
from serving import slate_kernel as kernels
from serving.candidates import Candidates, Floats, Rows
from serving.placing import Placed
from serving.query import Query
from serving.scoring import Beside, Columns, Scorer, Trees
from serving.selecting import Selector, Trace
from serving.watch import lap

Blocks = dict[tuple[tuple[str, ...], tuple[str, ...]], Floats]
"""What trees read of one query's candidates, by the sources that proposed them and those that the trees hear."""


class Slate(msgspec.Struct, frozen=True, eq=False):
    """The ranked answer.

    Args:
        items: int32[k], best first.
        scores: float32[k], descending (filled places: 0): what the scorer says, or, where something is traded off, the
            value by which the selector gave each item its place.
        sources: for each item the source that speaks most for it.
        considered: all candidates with the source scores, and what was removed.
        filled: how many places at the end were filled by the fallback.
        trace: what the selector did to each item; None where nothing is traded off.
        placed: what pins and quotas did; None where none is in force. Pinned items have what score they have.
        features: float32[k, features], the rows of the items as `features.assemble` makes them, perhaps as a view that
            skips; None where not all of them were made.
    """

    items: Rows
    scores: Floats
    sources: tuple[str, ...]
    considered: Candidates
    filled: int = 0
    trace: Trace | None = None
    placed: Placed | None = None
    features: Floats | None = None


class Scored(msgspec.Struct, frozen=True, eq=False):
    """Candidates with their scores, and the order of those."""

    candidates: Candidates
    scores: Floats
    leading: Columns
    """For each candidate the column of the source that speaks most for it."""
    order: Columns
    """Places of the candidates that have a finite score, highest first, ties by item row."""
    block: Floats | None = None
    """float32[m, features and more]: what trees read of each; None where none were asked."""


def score(candidates: Candidates, scorer: Scorer, query: Query, blocks: Blocks | None = None) -> Scored:
    """Ask the scorer; what has no finite score can get no place.

    Args:
        candidates: what is scored.
        scorer: by whom.
        query: for whom.
        blocks: what trees read of these candidates, remembered for all that hear the same sources of them.
    """
    trees, block = scorer.base if isinstance(scorer, Beside) else scorer, None
    if isinstance(trees, Trees) and len(candidates):
        blocks, key = {} if blocks is None else blocks, (candidates.sources, trees.voices)
        if key not in blocks:
            blocks[key] = trees.read(query, candidates.columns(trees.voices))
        block = blocks[key]
        scores, leading = trees.score_rows(block)
        if isinstance(scorer, Beside):
            scores, leading = scorer.beside(candidates, scores, leading)
    else:
        scores, leading = scorer.score(query, candidates)
    scored = Scored(candidates, scores, leading, descending(scores), block)
    lap("score")
    return scored


def choose(found: Scored, query: Query, selector: Selector | None = None) -> Slate:
    """Give the places: to the highest scores, or as the selector says."""
    candidates = found.candidates
    if selector is None:
        places, trace = found.order[: query.num_results], None
        values = found.scores[places]
    else:
        items, scores = candidates.items[found.order], found.scores[found.order]
        chosen = selector.select(items, scores, query.num_results, query.now, fits=query.fits)
        places, values, trace = found.order[chosen.places], chosen.values, chosen.trace
    names = tuple([candidates.sources[column] for column in found.leading[places].tolist()])
    read = None if found.block is None else found.block.take(places, axis=0)[:, : len(FEATURE_NAMES)]
    return Slate(candidates.items[places], values, names, candidates, trace=trace, features=read)


def descending(scores: Floats) -> Columns:
    """int64[k]: places of the finite float32 scores of ascending items, highest first, ties by item row."""
    if available():
        places = np.empty(len(scores), np.intp)
        return places[: kernels.descending(np.ascontiguousarray(scores), places)]
    usable = np.flatnonzero(np.isfinite(scores))
    return usable[np.argsort(-scores[usable], kind="stable")]
