"""What the shop wants of its lists beside relevance: boosts, pins and quotas with dates and audiences, and an objective
in money.

Boosts and the objective are factors of an item's score; pins and quotas are laid over the finished list
(`serving.placing`). A wish without an audience reads nothing of the subject and holds for all, also for the permanent
holdout. One with an audience holds for those whose query says so (`Query.fits`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from serving.query import Query
from serving.recipe import SelectionSpec
from serving.settings.selection import Boost, Objective, Pin, Quota, SelectionSettings
from serving.settings.when import ALWAYS, When

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
class Wish:
    """A boost, a pin or a quota over a bundle's items.

    Args:
        said: as the file has it.
        items: bool[n_items], what it is of; nothing for a pin of an action.
        start, end: microseconds; it is in force in [start, end).
        audience: for whom: its number among the audiences; None: for all.
    """

    said: Boost | Pin | Quota
    items: Mask
    start: float
    end: float
    audience: int | None

    def holds(self, now: int, fits: frozenset[int]) -> bool:
        """Whether it is in force at a moment, for a subject of these audiences."""
        return self.start <= now < self.end and (self.audience is None or self.audience in fits)


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
        said: tuple[Boost | Pin | Quota, ...] = (*settings.boosts, *settings.pins, *settings.quotas)
        self.audiences: tuple[When, ...] = tuple(each.when for each in said if each.when != ALWAYS)
        """Of the wishes that are not for all."""
        numbers = iter(range(len(self.audiences)))
        self._wishes = tuple(_wish(bundle, each, time_zone, numbers) for each in said)
        self._boosts = tuple(each for each in self._wishes if isinstance(each.said, Boost) and each.said.factor)
        self._burials = tuple(each for each in self._wishes if isinstance(each.said, Boost) and not each.said.factor)
        active = settings.objective != "relevance" and settings.strength > 0
        self._value = _Value(bundle, settings.objective) if active else None

    @classmethod
    def of(cls, bundle: Bundle, config: ShopConfig) -> Business | None:
        """The shop's wishes; None where it has none, which costs a request nothing.

        Raises:
            ConfigError: as the class.
        """
        made = cls(bundle, config.selection, config.shop.time_zone)
        return made if made._wishes or made._value else None

    def factors(
        self, items: Rows, price: Floats, now: int, fits: frozenset[int] = frozenset()
    ) -> Wanted | None:  # fmt: skip
        """What to multiply the scores of some items by.

        Args:
            items: int32[m].
            price: float32[m], what each costs now; NaN where unknown.
            now: the moment of the request; it decides which boosts are in force.
            fits: numbers of the audiences that the subject belongs to.

        Returns:
            None where nothing is in force.
        """
        boosts = [boost for boost in self._boosts if boost.holds(now, fits)]
        if not boosts and self._value is None:
            return None
        boosted = np.ones(len(items))
        for boost in boosts:
            boosted[boost.items[items]] *= cast("Boost", boost.said).factor
        if self._value is None:
            return Wanted(boosted, np.ones(len(items)), np.ones(len(items), bool))
        worth, known = self._value.of(items, price)
        return Wanted(boosted, worth**self.settings.strength, known)

    def buried(self, query: Query) -> Mask | None:
        """bool[n_items]: what is shown nowhere; None where nothing is."""
        found = [each.items for each in self._burials if each.holds(query.now, query.fits)]
        return np.logical_or.reduce(found) if found else None

    def of_lists(self, query: Query) -> tuple[list[Wish], list[Wish]] | None:
        """Pins and quotas in force of the lists; None where there are none."""
        found = self.pins(query), self.quotas(query)
        return found if any(found) else None

    def pins(self, query: Query, page: str | None = None) -> list[Wish]:
        """The pins in force of a page, or of the lists; as the file has them."""
        return [
            each for each in self._wishes
            if isinstance(each.said, Pin) and each.said.page == page and each.holds(query.now, query.fits)
        ]  # fmt: skip

    def quotas(self, query: Query, module: str | None = None) -> list[Wish]:
        """The quotas in force of a module, or of the lists; as the file has them."""
        return [
            each for each in self._wishes
            if isinstance(each.said, Quota) and each.said.module == module and each.holds(query.now, query.fits)
        ]  # fmt: skip

    @property
    def counts_modules(self) -> bool:
        """Whether any quota is of a module's items."""
        return any(isinstance(each.said, Quota) and each.said.module for each in self._wishes)

    def idle(self) -> list[Boost | Pin | Quota]:
        """Wishes that name nothing that the bundle knows, such as a misspelt brand."""
        return [
            each.said for each in self._wishes
            if not each.items.any() and not (isinstance(each.said, Pin) and each.said.action)
        ]  # fmt: skip


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


def _wish(bundle: Bundle, said: Boost | Pin | Quota, time_zone: str, numbers: Iterator[int]) -> Wish:
    start = -np.inf if said.from_ is None else day_start(said.from_, time_zone)
    end = np.inf if said.until is None else day_start(said.until, time_zone)
    audience = None if said.when == ALWAYS else next(numbers)
    return Wish(said, _items_of(bundle, said), start, end, audience)


def _items_of(bundle: Bundle, said: Boost | Pin | Quota) -> Mask:
    if isinstance(said, Pin):
        return _listed(bundle, () if said.item_id is None else (said.item_id,))
    key, text = said.target
    return _listed(bundle, text) if isinstance(text, tuple) else _named(bundle, key, text)


def _listed(bundle: Bundle, ids: Sequence[str]) -> Mask:
    """bool[n_items]: these items."""
    found = np.zeros(len(bundle.items), bool)
    rows = bundle.items.rows_of(ids)
    found[rows[rows >= 0]] = True
    return found


def _named(bundle: Bundle, key: str, text: str) -> Mask:
    """bool[n_items]: the items that a wish is of."""
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
    return _listed(bundle, (text,))


def _median(values: Doubles) -> float:
    """NaN without any that is finite."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")
