"""Popularity by context: what sells in this region, season and part of the day, by traffic source and device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import cast

from features.ids import Vocabulary
from features.moments import local_time
from serving.bundle import Bundle
from serving.candidates import Floats, Opinion, Rows
from serving.prior import DIMENSIONS, band_of
from serving.query import Query
from serving.recipe import SourceSpec
from serving.sources.contract import no_causes
from serving.sources.plain import RankedLists


class ContextPopularity:
    """The list of the deepest cell that is known, of all that the request tells; the whole shop's where none is.

    Nothing here is personal: an anonymous visitor gets it. Training drops the dimensions that tell nothing of a shop's
    purchases, and cells of few customers.
    """

    personal = False

    def __init__(self, spec: SourceSpec, bundle: Bundle) -> None:
        arrays = bundle.source_arrays(spec.name)
        self.name = spec.name
        self._cells = Vocabulary.from_arrays(arrays, "cells")
        self._lists = RankedLists(cast("Rows", arrays["items"]), cast("Floats", arrays["scores"]))
        # A bundle of an earlier version has no parts of the day, and its keys end before them.
        self._keys = DIMENSIONS[: len(arrays["dimensions"])]
        told = zip(self._keys, arrays["dimensions"].tolist(), strict=True)
        self._dimensions = tuple(name for name, cells in told if cells)
        self._zone = str(spec.params.get("time_zone", "UTC"))
        self._southern = frozenset(spec.params.get("southern", ()))

    def opine(self, query: Query) -> Opinion:
        """What sells in the context of the request."""
        return self._lists.opinion(self._deepest(query)[0])

    def cell(self, query: Query) -> dict[str, str]:
        """The dimensions that the answer is made for, e.g. `{"region": "Hokkaido", "season": "winter"}`."""
        return self._deepest(query)[1]

    def _deepest(self, query: Query) -> tuple[int, dict[str, str]]:
        """The row of the list and what it is made for, looked for once a query."""
        return query.once((self, query.context), self._found, query)

    def told(self, query: Query) -> dict[str, str]:
        """What the request tells of the dimensions that cells have, season and part of the local day included."""
        context, southern = query.context, query.context.region in self._southern
        local = local_time(query.now, self._zone, southern=southern)
        values = (context.region, local.season, context.traffic_source, context.device, band_of(local.hour))
        told = zip(DIMENSIONS, values, strict=True)
        return {name: value for name, value in told if value and name in self._dimensions}

    def _found(self, query: Query) -> tuple[int, dict[str, str]]:
        told = self.told(query)
        for size in range(len(told), 0, -1):
            for names in combinations(told, size):
                cell = {name: told[name] for name in names}
                row = self._cells.find(cell_key(cell, self._keys))
                if row is not None:
                    return row, cell
        return len(self._cells), {}

    def causes(self, query: Query, items: Rows) -> Rows:
        """What sells needs no past."""
        return no_causes(items)


def cell_key(values: Mapping[str, str], names: Iterable[str] = DIMENSIONS) -> str:
    """The name of a cell: no two have the same one, whatever characters their values hold.

    >>> cell_key({"region": "Hokkaido", "device": "phone"})
    '8:Hokkaido0:0:5:phone0:'
    """
    told = (values.get(name, "") for name in names)
    return "".join(f"{len(value)}:{value}" for value in told)
