"""A finding about a shop's file, and what the checks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Literal

import msgspec

from features.moments import to_datetime, zone
from serving.bundle import Bundle
from serving.config import ShopConfig
from serving.effects import SlotPolicy
from serving.settings.actions import Action
from serving.settings.defaults import DEFAULT_ACTIONS, DEFAULT_MODULES, DEFAULT_PAGES
from serving.settings.pages import Module, Page

Verdict = Literal["fail", "warn", "note"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found.

    Args:
        verdict: `fail`: the file cannot be served; `warn`: it is not what anybody would want; `note`: worth knowing.
        where: the table, as it is written.
        what: is the case.
        remedy: what to do.
    """

    verdict: Verdict
    where: str
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Look:
    """A shop's file and what it stands beside.

    Args:
        config: the file.
        bundle: that serves; None: nothing is known of items.
        policies: learned policies that the file names, as far as they could be opened.
        now: the instant.
    """

    config: ShopConfig
    bundle: Bundle | None = None
    policies: Mapping[str, SlotPolicy] = field(default_factory=dict)
    now: int = 0

    @cached_property
    def today(self) -> date:
        """The shop's day."""
        return to_datetime(self.now).astimezone(zone(self.config.shop.time_zone)).date()

    @cached_property
    def actions(self) -> dict[str, Action]:
        """The actions that the shop wrote."""
        return {name: each for name, each in self.config.actions.items() if each != DEFAULT_ACTIONS.get(name)}

    @cached_property
    def modules(self) -> dict[str, Module]:
        """The modules that the shop wrote."""
        return {name: each for name, each in self.config.modules.items() if each != DEFAULT_MODULES.get(name)}

    @cached_property
    def pages(self) -> dict[str, Page]:
        """The pages that the shop wrote."""
        return {name: each for name, each in self.config.pages.items() if each != DEFAULT_PAGES.get(name)}

    @cached_property
    def slots_of(self) -> dict[str, list[str]]:
        """Module or action -> the slots that name it, on pages and in arms, and the pins."""
        found: dict[str, list[str]] = {}
        for place, slot in self.config.decided():
            for name in slot.modules:
                found.setdefault(name, []).append(place)
        for number, pin in enumerate(self.config.selection.pins, start=1):
            if pin.action is not None:
                found.setdefault(pin.action, []).append(f"[[selection.pins]] number {number}")
        return found

    @cached_property
    def channels_of(self) -> dict[str, list[str]]:
        """Action -> the channels that may send it."""
        found: dict[str, list[str]] = {}
        for channel, each in self.config.channels.items():
            for name in each.actions:
                found.setdefault(name, []).append(channel)
        return found


Check = Callable[[Look], Iterator[Finding]]


def warn(where: str, what: str, remedy: str) -> Finding:
    """Not what anybody would want."""
    return Finding("warn", where, what, remedy)


def note(where: str, what: str, remedy: str = "") -> Finding:
    """Worth knowing."""
    return Finding("note", where, what, remedy)


def listed(names: object) -> str:
    """Names as a sentence has them."""
    return ", ".join(map(str, names)) if isinstance(names, list | tuple | set | frozenset) else str(names)
