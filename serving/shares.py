"""Shares of counts, with the interval in which they lie."""

from __future__ import annotations

from dataclasses import dataclass

Z95 = 1.959963984540054
"""Half the width of a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval (Wilson 1927); None of nothing.

    Args:
        hits, of: counts.
    """

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """The share itself."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its ends, within [0, 1]."""
        if not self.of:
            return None
        n, p = self.of, self.hits / self.of
        middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * (p * (1 - p) / n + Z95**2 / (4 * n**2)) ** 0.5
        return (0.0 if not self.hits else max(0.0, middle - half), 1.0 if self.hits == n else min(1.0, middle + half))
