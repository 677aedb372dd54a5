"""Which rows of a piece are taken, and why the others are not. The first reason stands."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.importing.values import Mask

REJECTED = pa.schema(
    [("row_number", pa.int64()), ("reason", pa.string()), ("detail", pa.string()), ("raw", pa.string())],
)
"""A row of quarantine: its place among the file's records (the first is 1), why, where in the row, and the row."""


class Sieve:
    """Verdicts on the rows of one piece.

    Args:
        rows: how many there are; all are good until something is said against them.
    """

    def __init__(self, rows: int) -> None:
        self._codes: npt.NDArray[np.int16] = np.zeros(rows, np.int16)
        self._reasons: list[tuple[str, str, bool]] = [("", "", False)]

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def good(self) -> Mask:
        """bool[rows]: nothing was said against them."""
        found: Mask = self._codes == 0
        return found

    def reject(self, which: Mask | None, reason: str, detail: str) -> None:
        """These rows go to quarantine; None is none of them."""
        self._say(which, reason, detail, quarantined=True)

    def skip(self, which: Mask | None, rule: str) -> None:
        """These rows are left out by a rule that the source declares; they are counted under its name."""
        self._say(which, rule, "", quarantined=False)

    def _say(self, which: Mask | None, reason: str, detail: str, *, quarantined: bool) -> None:
        if which is None or not which.any():
            return
        self._codes[which & (self._codes == 0)] = len(self._reasons)
        self._reasons.append((reason, detail, quarantined))

    def skipped(self) -> Counter[str]:
        """Rows left out by each rule."""
        counts = np.bincount(self._codes, minlength=len(self._reasons))
        found: Counter[str] = Counter()
        for (reason, _, quarantined), count in zip(self._reasons, counts.tolist(), strict=True):
            if count and reason and not quarantined:
                found[reason] += count
        return found

    def quarantined(self) -> tuple[npt.NDArray[np.intp], list[str], list[str]]:
        """The rejected rows' places, reasons and details."""
        rejected = np.array([quarantined for *_, quarantined in self._reasons])
        places = np.flatnonzero(rejected[self._codes])
        said = [self._reasons[code] for code in self._codes[places].tolist()]
        return places, [reason for reason, _, _ in said], [detail for _, detail, _ in said]
