"""The one assembler of feature rows, for training and for serving.

`assemble(history, items, shared, shared_as_of, now)`: ages of a customer's own events are relative to `now`; shared
statistics are as of the bundle, which may be days older. Training samples the same gap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features import rows_kernel
from features.compiled import available, scratch
from features.history import History
from features.ids import Array
from features.moments import DAY
from features.personal import PERSONAL_NAMES, personal_features
from features.rhythm import RHYTHM_NAMES, rhythm_features
from features.tastes import TASTE_NAMES, taste_features

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]


@dataclass(frozen=True)
class SharedTables:
    """Statistics of items over all customers, each of shape [n_items], as of the bundle's moment."""

    buyers: Floats
    """Distinct customers who ever bought it."""
    buyers_7d: Floats
    buyers_28d: Floats
    buyers_91d: Floats
    new_buyers_28d: Floats
    """Of `buyers_28d`, those who had never bought it before."""
    sales_28d: Floats
    repeat_share: Floats
    """Share of its buyers who bought it on two days or more; NaN without buyers."""
    gap_days: Floats
    """Median days between two purchases by the same customer, shrunk to its category; NaN where unknown."""
    price: Floats
    """Median price paid in the last year; NaN where unknown."""
    age_days: Floats
    """Since its first event; NaN without any."""
    category: Rows
    """Code of its category path; -1 where unknown."""
    department: Rows
    """Code of the first step of that path; -1 where unknown."""
    brand: Rows
    """Code of its brand; -1 where unknown."""

    @cached_property
    def records(self) -> Rows:
        """int32[n_items, 16]: numbers (their bits), then codes; an item is one line of the cache, as a request reads
        it."""
        found = np.zeros((len(self.category), 16), np.int32)
        for place, name in enumerate(_SHARED_COLUMNS):
            found.view(np.float32)[:, place] = getattr(self, name)
        for place, name in enumerate(CODED, start=len(_SHARED_COLUMNS)):
            found[:, place] = getattr(self, name)
        return found

    @cached_property
    def groups(self) -> int:
        """So many codes of any kind there are at most."""
        return 1 + max(int(getattr(self, name).max(initial=-1)) for name in CODED)

    def arrays(self) -> dict[str, Array]:
        """Named for a bundle."""
        return {f"shared.{name}": getattr(self, name) for name in SHARED_NAMES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> SharedTables:
        """Read what `arrays()` gave."""
        return cls(*(arrays[f"shared.{name}"] for name in SHARED_NAMES))  # type: ignore[arg-type]


SHARED_NAMES = tuple(field.name for field in fields(SharedTables))
CODED = ("category", "department", "brand")
"""Tables of codes; the others are numbers."""
_SHARED_COLUMNS = tuple(name for name in SHARED_NAMES if name not in CODED)
FEATURE_NAMES: tuple[str, ...] = (
    *PERSONAL_NAMES,
    *RHYTHM_NAMES,
    *TASTE_NAMES,
    "due_ratio",
    "price_ratio",
    "trend",
    *(f"item_{name}" for name in _SHARED_COLUMNS),
    "shared_age_days",
)
FINGERPRINT = hashlib.sha256("\n".join(FEATURE_NAMES).encode()).hexdigest()[:12]
"""Changes when the columns do; a bundle made for other columns is refused."""


def assemble(
    history: History, items: Rows, shared: SharedTables, shared_as_of: int, now: int, out: Floats | None = None
) -> Floats:  # fmt: skip
    """Feature rows of some items for one customer at one moment.

    Args:
        history: the customer's own events as of `now`, in the bundle's item rows.
        items: int32[m], distinct rows.
        shared: statistics of all items.
        shared_as_of: the moment of those statistics.
        now: the moment of the request.
        out: float32[m, columns], of which the first ones are filled; default: as many as are needed.

    Returns:
        float32[m, len(FEATURE_NAMES)], or `out`; NaN where a value is not known.
    """
    block = np.empty((len(items), len(FEATURE_NAMES)), np.float32) if out is None else out
    if available():
        records, count = shared.records, len(shared.category)
        rows_kernel.rows(
            history.time, history.item, history.type, history.quantity, history.value, items,
            records.view(np.float32), records, now, shared_as_of,
            scratch("row_of_item", count, np.int32, -1), scratch("basket_of_item", count, np.int32),
            scratch("groups", shared.groups, (np.float64, 3)), block,
        )  # fmt: skip
    else:
        _assembled(history, items, shared, shared_as_of, now, block[:, : len(FEATURE_NAMES)])
    return block


def _assembled(
    history: History, items: Rows, shared: SharedTables, shared_as_of: int, now: int, block: Floats
) -> None:  # fmt: skip
    """`assemble` in numpy."""
    width = len(PERSONAL_NAMES)
    personal = personal_features(history, items, shared.category, now, out=block[:, :width])
    usual = shared.gap_days[items]
    rhythm_features(history, items, usual, now, out=block[:, width : width + len(RHYTHM_NAMES)])
    width += len(RHYTHM_NAMES)
    groups = (shared.department, shared.brand)
    taste_features(history, items, shared.category, groups, now, out=block[:, width : width + len(TASTE_NAMES)])
    width += len(TASTE_NAMES)
    gap = personal[:, PERSONAL_NAMES.index("mean_gap_days")]
    expected = np.where(np.isnan(gap), usual, gap)
    since = personal[:, PERSONAL_NAMES.index("days_since_purchase")]
    price = shared.price[items]
    block[:, width] = since / np.maximum(expected, 1)
    block[:, width + 1] = price / _usual_price(history)
    # Sales of the last week beside those of the last four: above 1 where it sells ever more.
    block[:, width + 2] = (4 * shared.buyers_7d[items] + 1) / (shared.buyers_28d[items] + 1)
    for column, name in enumerate(_SHARED_COLUMNS, start=width + 3):
        block[:, column] = getattr(shared, name)[items]
    block[:, -1] = (now - shared_as_of) / DAY


def _usual_price(history: History) -> float:
    """Mean price a unit that the customer pays; NaN without priced events."""
    priced = (history.quantity > 0) & np.isfinite(history.value)
    if not priced.any():
        return float("nan")
    return float(history.value[priced].sum(dtype=np.float64) / history.quantity[priced].sum(dtype=np.float64)) or np.nan
