"""A subject folded into latent factors: their vector from those of their items (Hu, Koren & Volinsky 2008, eq. 4)."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from features.compiled import available
from serving.candidates import Floats, Rows
from serving.sources.fold_in_kernel import EIGHT, fold_in

Doubles = npt.NDArray[np.float64]


class Fold:
    """What folding in asks for that is the same for every subject.

    Args:
        vectors: float32[n_items, k].
        gram: float32[k, k], Y'Y + lambda I.
        alpha: what a confidence is multiplied by.
    """

    def __init__(self, vectors: Floats, gram: Floats, alpha: float) -> None:
        self._vectors, self._gram, self._alpha = vectors, gram, alpha
        self._filled, self._half = equations(gram)

    def of(self, items: Rows, weights: Floats) -> Floats:
        """float32[k]: the vector of who has some items, each with its confidence."""
        if not available():
            return folded_in(self._vectors[items], np.float32(self._alpha) * weights, self._gram)
        vector = np.empty(self._vectors.shape[1], np.float32)
        fold_in(self._vectors, items, weights, self._alpha, self._filled, self._half, vector)
        return vector


def folded_in(mine: Floats, extra: Floats, gram: Floats) -> Floats:
    """float32[k]: a subject's vector, from the vectors of their n items.

    u = (Y'Y + Y'(C - I)Y + lambda I)^-1 Y' C p, with C = 1 + alpha * confidence over the subject's items.

    Args:
        mine: float32[n, k], the vectors.
        extra: float32[n], alpha x confidence of each.
        gram: float32[k, k], Y'Y + lambda I.
    """
    return cast("Floats", np.linalg.solve(gram + (mine * extra[:, None]).T @ mine, mine.T @ (1 + extra)))


def equations(gram: Floats) -> tuple[Doubles, Doubles]:
    """A Gram matrix as kernels solve with it, and H, lower triangular, with H' H its inverse.

    Both are filled up to eights by an identity. H is empty where no such matrix exists: then k equations are solved.
    """
    width = -(-len(gram) // EIGHT) * EIGHT
    filled = np.eye(width)
    filled[: len(gram), : len(gram)] = gram
    try:
        return filled, np.ascontiguousarray(np.linalg.inv(np.linalg.cholesky(filled)))
    except np.linalg.LinAlgError:
        return filled, np.empty((0, 0))
