"""What the shop wants of its lists beside relevance: boosts with dates, and an objective in money.

Both are factors of an item's score. They read nothing of the subject, so that everybody's list is treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError
from features.moments import day_start
from features.text import fold
from serving.bundle import Bundle
from serving.candidates import Floats, Rows
from serving.config import ShopConfig
from serving.recipe import SelectionSpec
from serving.settings.selection import Boost, Objective, SelectionSettings

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
PLAIN = SelectionSpec()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Factors of some items, all float64[m].

    Args:
        boost: product of the boosts in force.
        objective: (value / the shop's median value) ^ strength.
        known: bool[m]; False where the value is not known and was guessed.
    """

    boost: Doubles
    objective: Doubles
    known: Mask


@dataclass(frozen=True, slots=True)
class _Dated:
    """A boost over a bundle's items, in force in [start, end)."""

    items: Mask
    factor: float
    start: float
    end: float


class Business:
    """The shop's wishes, laid over one bundle's items.

    Args:
        bundle: whose items.
        settings: `[selection]`.
        time_zone: where the boosts' days begin and end.

    Raises:
        ConfigError: the objective is in money that no item of the bundle is known to be worth.
    """

    def __init__(self, bundle: Bundle, settings: SelectionSettings, time_zone: str) -> None:
        self.settings = settings
        self._boosts = tuple(_dated(bundle, boost, time_zone) for boost in settings.boosts)
        active = settings.objective != "relevance" and settings.strength > 0
        self._value = _Value(bundle, settings.objective) if active else None

    @classmethod
    def of(cls, bundle: Bundle, config: ShopConfig) -> Business | None:
        """The shop's wishes; None where it has none, which costs a request nothing.

        Raises:
            ConfigError: as the class.
        """
        made = cls(bundle, config.selection, config.shop.time_zone)
        return made if made._boosts or made._value else None

    def factors(self, items: Rows, price: Floats, now: int) -> Wanted | None:
        """What to multiply the scores of some items by.

        Args:
            items: int32[m].
            price: float32[m], what each costs now; NaN where unknown.
            now: the moment of the request; it decides which boosts are in force.

        Returns:
            None where nothing is in force.
        """
        boosts = [boost for boost in self._boosts if boost.start <= now < boost.end]
        if not boosts and self._value is None:
            return None
        boosted = np.ones(len(items))
        for boost in boosts:
            boosted[boost.items[items]] *= boost.factor
        if self._value is None:
            return Wanted(boosted, np.ones(len(items)), np.ones(len(items), bool))
        worth, known = self._value.of(items, price)
        return Wanted(boosted, worth**self.settings.strength, known)

    def idle_boosts(self) -> list[Boost]:
        """Boosts that name nothing that the bundle knows, such as a misspelt brand."""
        return [said for said, boost in zip(self.settings.boosts, self._boosts, strict=True) if not boost.items.any()]


class _Value:
    """What a sale of each item is worth, in units of the shop's median item.

    revenue = price x net share, margin = price x net share - unit cost, where the net share is what tax leaves of the
    price. Where the cost is not known, margin = price x net share x the median margin share of those whose cost is.
    """

    def __init__(self, bundle: Bundle, objective: Objective) -> None:
        count, arrays = len(bundle.items), bundle.arrays
        self._net = np.asarray(arrays.get("item.net_share", np.ones(count)), np.float64)
        unknown = np.full(count, np.nan)
        self._cost = np.asarray(arrays.get("item.unit_cost", unknown), np.float64) if objective == "margin" else None
        price = np.asarray(arrays.get("item.price", bundle.shared.price), np.float64)
        net = price * self._net
        self._share = 1.0 if self._cost is None else _median((net - self._cost)[net > 0] / net[net > 0])
        if not np.isfinite(self._share):
            hint = 'import items with unit_cost, or set objective = "revenue"'
            raise ConfigError(
                "no item has a cost, so margin is not known", where="[selection]", got="margin", hint=hint
            )
        self._usual = 1.0
        worth, known = self.of(np.flatnonzero(bundle.catalogue).astype(np.int32), price[bundle.catalogue])
        self._usual = _median(worth[known & (worth > 0)])
        if not np.isfinite(self._usual):
            hint = 'import items with prices, or set objective = "relevance"'
            what = f"no item that may be recommended has a {objective} above 0"
            raise ConfigError(what, where="[selection]", got=objective, hint=hint)

    def of(self, items: Rows, price: npt.NDArray[np.floating]) -> tuple[Doubles, Mask]:
        """float64[m], not below 0, the shop's median where the price is not known; and where it is known exactly."""
        net = price * self._net[items]
        priced, known = np.isfinite(net), np.isfinite(net)
        if self._cost is not None:
            cost = self._cost[items]
            known = priced & np.isfinite(cost)
            net = np.where(np.isfinite(cost), net - cost, net * self._share)
        return np.where(priced, np.maximum(net, 0) / self._usual, 1.0), known


def _dated(bundle: Bundle, boost: Boost, time_zone: str) -> _Dated:
    start = -np.inf if boost.from_ is None else day_start(boost.from_, time_zone)
    end = np.inf if boost.until is None else day_start(boost.until, time_zone)
    return _Dated(_named(bundle, *boost.target), boost.factor, start, end)


def _named(bundle: Bundle, key: str, text: str) -> Mask:
    """bool[n_items]: the items that a boost is of."""
    if key == "category":
        return np.isin(bundle.shared.category, bundle.categories_under([text]))
    if key == "brand":
        codes, firsts = np.unique(bundle.shared.brand, return_index=True)
        wanted = [
            code
            for code, row in zip(codes.tolist(), firsts.tolist(), strict=True)
            if code >= 0 and fold(bundle.text("brand", row)) == fold(text)
        ]
        return np.isin(bundle.shared.brand, wanted)
    row = bundle.items.find(text)
    return cast("Mask", np.arange(len(bundle.items)) == (-1 if row is None else row))


def _median(values: Doubles) -> float:
    """NaN without any that is finite."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")
