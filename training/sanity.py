"""Sanity checks of a refitted bundle: does it answer like the one that was judged?

The gate judged a recipe fitted up to the judged window; what is published was fitted on more. Both are asked the
same questions, and a bundle that answers very differently is a mistake, not news.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.history import Histories
from serving.query import Query
from serving.ranker import Ranker

ASKED = 200
"""Customers whose answers are compared, at most."""
MIN_OVERLAP = 0.05
"""Mean share of a list that both bundles give."""
MIN_COVERAGE_RATIO = 0.33
"""Distinct items in all lists, as a share of those in the judged bundle's lists."""
MAX_SCORE_RATIO = 10.0
"""Median best score may differ by this factor either way."""


@dataclass(frozen=True, slots=True)
class Lists:
    """Answers to the same questions.

    Args:
        items: int32[n, k], -1 where a list was shorter.
        scores: float32[n, k], NaN there.
    """

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


def ask(ranker: Ranker, histories: Histories, subjects: Sequence[int], now: int, k: int = 20) -> Lists:
    """A bundle's answers for some subjects.

    Args:
        ranker: the bundle.
        histories: in the bundle's item rows, as of `now`.
        subjects: rows of the histories.
        now: the moment of the questions.
        k: length of the lists.
    """
    items = np.full((len(subjects), k), -1, np.int32)
    scores = np.full((len(subjects), k), np.nan, np.float32)
    for place, row in enumerate(subjects):
        slate = ranker.rank(Query(now=now, history=histories.at(row), num_results=k))
        items[place, : len(slate.items)] = slate.items
        scores[place, : len(slate.items)] = slate.scores
    return Lists(items, scores)


def figures(final: Lists, judged: Lists) -> dict[str, float]:
    """What the checks look at: overlap, coverage ratio, score ratio, share of full lists, and lists with bad scores."""
    both = [
        len(np.intersect1d(mine[mine >= 0], other[other >= 0])) / max((other >= 0).sum(), 1)
        for mine, other in zip(final.items, judged.items, strict=True)
    ]
    bad = ~np.isfinite(final.scores) & (final.items >= 0)
    return {
        "overlap": float(np.mean(both)) if both else float("nan"),
        "coverage-ratio": _distinct(final.items) / max(_distinct(judged.items), 1),
        "score-ratio": _median_best(final) / _median_best(judged),
        "full-lists": float((final.items >= 0).all(axis=1).mean()) if len(final.items) else float("nan"),
        "bad-scores": float(bad.sum()),
    }


def problems(found: dict[str, float], *, expect_full: bool) -> list[str]:
    """What is wrong, as sentences; empty when the bundle may be published.

    Args:
        found: what `figures` gave; NaN (nobody to ask) raises no objection.
        expect_full: whether the catalogue is large enough for full lists.
    """
    said = []
    if found["bad-scores"] > 0:
        said.append(f"{found['bad-scores']:.0f} recommended items have a score that is no number")
    if found["overlap"] < MIN_OVERLAP:
        said.append(f"its lists share only {found['overlap']:.1%} with those of the judged model")
    if found["coverage-ratio"] < MIN_COVERAGE_RATIO:
        said.append(f"it recommends only {found['coverage-ratio']:.0%} as many items as the judged model")
    if found["score-ratio"] > MAX_SCORE_RATIO or found["score-ratio"] < 1 / MAX_SCORE_RATIO:
        said.append(f"its scores are {found['score-ratio']:.3g} times those of the judged model")
    if expect_full and found["full-lists"] < 1:
        said.append(f"{1 - found['full-lists']:.1%} of its lists are not full")
    return said


def _distinct(items: npt.NDArray[np.int32]) -> int:
    return int((np.unique(items) >= 0).sum())


def _median_best(lists: Lists) -> float:
    """Median of each list's best score; lists that popularity filled alone score 0 and do not count."""
    best = lists.scores[:, 0] if lists.scores.shape[1] else lists.scores.ravel()
    best = best[np.isfinite(best) & (best > 0)]
    return float(np.median(best)) if len(best) else float("nan")
