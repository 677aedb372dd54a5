"""A contextual prior: how likely each of some arms is to come off, for somebody of whom only the visit is known.

An arm is an action that can be shown, an answer that may be given, or the one thing whose chance is wanted. What was
seen in a cell of contexts is drawn towards the cell without its last dimension, and that one further up, to the arm's
own average:

    p(cell) = (size x mean + strength x p(the cell above)) / (size + strength)

with the cell's weighted mean and its effective size, and one strength a dimension (empirical Bayes: `training.prior`
learns the strengths). A dimension that the visit does not tell is skipped, with all cells of it.

Actions are served by it as a policy (`training.prior_policy` writes the same chances as trees), questions as a table of
the bundle (`serving.questions`). Popular items by context (`serving.sources.context`) are the same idea over a whole
catalogue: there a cell is a ranked list that is worked out in training, here it is a number an arm, so that any set of
arms can be asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt

from features.covariates import Value
from features.ids import Array, Vocabulary
from features.moments import season_of

Codes = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

DIMENSIONS = ("region", "season", "traffic_source", "device", "hour")
"""What a visit tells, widest first; the usual order of backing off, last dimension first."""
NOTHING = "(nothing)"
"""The arm of a slot that is left empty."""
BANDS = (("night", 22, 6), ("morning", 6, 12), ("afternoon", 12, 18), ("evening", 18, 22))
"""Parts of the local day: name, first hour, the hour that begins the next one."""


def words_of(visit: Mapping[str, Value], southern: Iterable[str] = ()) -> dict[str, str]:
    """The dimensions that a visit tells, from `features.covariates.visit_values`, as words.

    Args:
        visit: `device`, `traffic_source`, `region`, `hour` and `month`, each where known.
        southern: regions south of the equator.

    >>> words_of({"region": "Hokkaido", "month": 12, "hour": 23, "device": None})
    {'region': 'Hokkaido', 'season': 'winter', 'hour': 'night'}
    """
    region, month, hour = visit.get("region"), visit.get("month"), visit.get("hour")
    season = None if month is None else season_of(int(month), southern=region in set(southern))
    band = None if hour is None else band_of(int(hour))
    told = (region, season, visit.get("traffic_source"), visit.get("device"), band)
    return {name: str(value) for name, value in zip(DIMENSIONS, told, strict=True) if value}


def band_of(hour: int) -> str:
    """The part of the local day that an hour belongs to."""
    return next(name for name, first, end in BANDS if (hour - first) % 24 < (end - first) % 24)


@dataclass(frozen=True, slots=True)
class Cells:
    """All cells of one set of dimensions that enough people were in.

    Args:
        codes: int64[cells], rising: arm and values as one number (`packed`).
        mean: float64[cells], weighted means of the outcome.
        size: float64[cells], effective sizes.
    """

    codes: Codes
    mean: Doubles
    size: Doubles


@dataclass(frozen=True)
class ContextPrior:
    """Chances by arm and context; made by `training.prior.fit_prior`.

    Args:
        arms: ids.
        names: the dimensions that tell something, in the order of backing off.
        words: the values of each.
        average: float64[arms], each arm's own chance; NaN where it was never seen.
        strengths: float64[dimensions].
        cells: places of dimensions among `names`, rising -> the cells that tell all of them.
    """

    arms: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    average: Doubles
    strengths: Doubles
    cells: Mapping[tuple[int, ...], Cells]

    def score(self, words: Mapping[str, str]) -> Doubles:
        """float64[arms]: the chance of each arm; NaN where nothing is known of it.

        Args:
            words: what the visit tells (`words_of`); what the prior does not know counts as not told.
        """
        row = [self._codes[at].get(words.get(name, ""), -1) for at, name in enumerate(self.names)]
        found: Doubles = self.scores(np.array([row], np.int64))[0]
        return found

    def scores(self, codes: Codes) -> Doubles:
        """float64[n, arms]: the chances for many visits.

        Args:
            codes: int64[n, dimensions], places among `words`; -1 where not told.
        """
        out = np.tile(self.average, (len(codes), 1))
        told = codes >= 0
        pattern = told @ (1 << np.arange(told.shape[1]))
        for one in np.unique(pattern).tolist():
            rows = np.flatnonzero(pattern == one)
            places = tuple(at for at in range(len(self.names)) if one >> at & 1)
            for depth in range(1, len(places) + 1):
                self._step(out, rows, codes, places[:depth])
        return out

    def _step(self, out: Doubles, rows: Codes, codes: Codes, places: tuple[int, ...]) -> None:
        """One dimension deeper: `out` holds the cells above and gets those of `places`."""
        cells, arms = self.cells.get(places), len(self.arms)
        if cells is None:
            return
        sizes = [len(self.words[at]) for at in places]
        at = packed(codes[rows][:, list(places)], sizes)[:, None] + np.arange(arms) * prod(sizes)
        row = find(cells.codes, at.ravel()).reshape(at.shape)
        visit, arm = np.nonzero(row >= 0)
        size, mean = cells.size[row[visit, arm]], cells.mean[row[visit, arm]]
        strength, above = self.strengths[places[-1]], out[rows[visit], arm]
        out[rows[visit], arm] = (size * mean + strength * above) / (size + strength)

    @cached_property
    def _codes(self) -> tuple[dict[str, int], ...]:
        return tuple({word: code for code, word in enumerate(words)} for words in self.words)

    def arrays(self, prefix: str) -> dict[str, Array]:
        """Everything under `prefix.<name>`, for a bundle."""
        found: dict[str, Array] = {
            "average": self.average, "strengths": self.strengths, **Vocabulary.of(self.arms).arrays("arms"),
            **Vocabulary.of(self.names).arrays("names"),
            "places": np.array([sum(1 << at for at in places) for places in self.cells], np.int64),
        }  # fmt: skip
        for at, words in enumerate(self.words):
            found |= Vocabulary.of(words).arrays(f"words.{at}")
        for number, cells in enumerate(self.cells.values()):
            found |= {f"cells.{number}.{name}": getattr(cells, name) for name in Cells.__slots__}
        return {f"{prefix}.{name}": array for name, array in found.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], prefix: str) -> ContextPrior | None:
        """Read what `arrays(prefix)` gave; None where there is none of that name."""
        if f"{prefix}.average" not in arrays:
            return None
        names = tuple(Vocabulary.from_arrays(arrays, f"{prefix}.names"))
        words = tuple(tuple(Vocabulary.from_arrays(arrays, f"{prefix}.words.{at}")) for at in range(len(names)))
        cells = {
            tuple(at for at in range(len(names)) if int(bits) >> at & 1): Cells(
                np.asarray(arrays[f"{prefix}.cells.{number}.codes"], np.int64),
                *(np.asarray(arrays[f"{prefix}.cells.{number}.{name}"], np.float64) for name in ("mean", "size")),
            )
            for number, bits in enumerate(np.asarray(arrays[f"{prefix}.places"]).tolist())
        }
        average, strengths = (np.asarray(arrays[f"{prefix}.{name}"], np.float64) for name in ("average", "strengths"))
        return cls(tuple(Vocabulary.from_arrays(arrays, f"{prefix}.arms")), names, words, average, strengths, cells)


def packed(codes: Codes, sizes: Iterable[int]) -> Codes:
    """int64[n]: one number a row of int64[n, k] codes below `sizes`; -1 where one of them is below 0."""
    number = np.zeros(len(codes), np.int64)
    for column, size in zip(codes.T, sizes, strict=True):
        number = number * max(size, 1) + column
    return np.where((codes >= 0).all(axis=1), number, -1)


def find(codes: Codes, wanted: Codes) -> Codes:
    """int64[n]: the place of each wanted code among rising ones; -1 where it is not among them."""
    if not len(codes):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    return np.where((codes[at] == wanted) & (wanted >= 0), at, -1)
