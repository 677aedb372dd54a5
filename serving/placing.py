"""Pins and quotas over a list that is ranked already: what stands where, and what could not be done, in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from serving.business import Wish
from serving.candidates import Rows
from serving.quotas import Arranged, Bounds, arrange
from serving.settings.selection import Pin, Quota

PIN = "pin"
"""The source of what is pinned: no source of the recipe proposed it for this place."""
UNKNOWN = "the bundle does not know it"
Gone = Callable[[int], str | None]
"""Why an item may not be shown; None where it may."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A list under pins and quotas.

    Args:
        order: places in what was given; what was not among it comes behind, in the order of `added`.
        added: pinned items that were not among what was given.
        pinned: the items that stand where a pin wants them.
        pins, quotas: what came of each rule, for explanations.
    """

    order: tuple[int, ...]
    added: tuple[int, ...]
    pinned: frozenset[int]
    pins: tuple[Mapping[str, Any], ...]
    quotas: tuple[Mapping[str, Any], ...]


def place(
    rows: Rows, pins: Sequence[Wish], quotas: Sequence[Wish], limit: int, gone: Gone, above: Collection[int] = (),
    beside: Callable[[Rows], Sequence[Bounds]] = lambda rows: (),
) -> Placed:  # fmt: skip
    """Lay pins and quotas over a list.

    Args:
        rows: int32[m], distinct items that may be shown, the best first.
        pins, quotas: those in force; the earlier one counts more.
        limit: places.
        gone: asked about pinned items that are not in the list.
        above: items that stand further up on the page.
        beside: further rules over items, which come after the quotas.
    """
    wanted, why = _wanted(rows, pins, gone, above)
    while True:
        added = [row for row in wanted if row not in set(rows.tolist())]
        every = np.concatenate([rows, np.array(added, np.int32)])
        at = {row: place for place, row in enumerate(every.tolist())}
        fixed = {at[row]: cast("Pin", pins[number].said).position - 1 for row, number in wanted.items()}
        rules = [*(_bounds(each, every) for each in quotas), *beside(every)]
        found = arrange(len(every), rules, limit, fixed)
        refused = {int(every[each]) for each in found.refused}
        if not refused:
            break
        why |= {wanted[row]: "another rule leaves it no place" for row in refused}
        wanted = {row: number for row, number in wanted.items() if row not in refused}
    return Placed(
        tuple(found.order), tuple(added), frozenset(wanted),
        tuple(told_pin(each, why.get(number)) for number, each in enumerate(pins)), _told_quotas(quotas, found),
    )  # fmt: skip


def item_of(pin: Wish) -> int | None:
    """The row of a pinned item; None where the bundle does not know it."""
    rows = np.flatnonzero(pin.items)
    return int(rows[0]) if len(rows) else None


def told_pin(pin: Wish, why: str | None) -> Mapping[str, Any]:
    """What came of a pin, as explanations have it."""
    said = cast("Pin", pin.said)
    where = {"page": said.page, "slot": said.slot} if said.page else {}
    what = {"itemId": said.item_id, "position": said.position} if said.item_id else {"actionId": said.action}
    return {**what, **where, "shown": why is None, "reason": why}


def _wanted(
    rows: Rows, pins: Sequence[Wish], gone: Gone, above: Collection[int]
) -> tuple[dict[int, int], dict[int, str]]:  # fmt: skip
    """Item -> number of its pin, and number -> why it cannot stand."""
    listed = set(rows.tolist())
    wanted: dict[int, int] = {}
    places: set[int] = set()
    why: dict[int, str] = {}
    for number, pin in enumerate(pins):
        row, position = item_of(pin), cast("Pin", pin.said).position
        if row is None:
            why[number] = UNKNOWN
        elif row in above:
            why[number] = "already on the page"
        elif row in wanted:
            why[number] = "pinned to another place already"
        elif position in places:
            why[number] = "another pin has this place"
        elif row not in listed and (reason := gone(row)) is not None:
            why[number] = reason
        else:
            wanted[row] = number
            places.add(position)
    return wanted, why


def _bounds(quota: Wish, rows: Rows) -> Bounds:
    said = cast("Quota", quota.said)
    return Bounds(quota.items[rows], said.first, said.at_least, said.at_most)


def _told_quotas(quotas: Sequence[Wish], found: Arranged) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {
            "quota": cast("Quota", each.said).words, "met": not short, "missing": short,
            "reason": "too few that may be shown, or another rule comes first" if short else None,
        }
        for each, short in zip(quotas, found.short[: len(quotas)], strict=True)
    )  # fmt: skip
