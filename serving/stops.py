"""Stops: what the shop takes off everywhere at once, without a new file or model, until somebody lifts it.

A stop is a row of the store. Every worker's watch takes it up (`Engine.refresh`), and the one that received it at once.
A stopped item is a candidate of nothing any more; a stopped action or module is vetoed in every slot and on every
channel, also where it was drawn before; a stopped campaign is an experiment whose arms nobody gets, a policy that
decides nothing, a channel on which nothing goes out, a sequence whose steps do not, whichever bears the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import msgspec

from features.errors import NotFoundError, RequestError
from features.moments import format_instant
from serving import store_sql as sql
from serving.settings.pages import FLOOR, Page, Slot
from serving.strict import nearest

if TYPE_CHECKING:
    from serving.config import ShopConfig
    from serving.store import Store

Kind = Literal["item", "action", "module", "campaign"]
KINDS: tuple[str, ...] = get_args(Kind)
_NAMED = ("action", "module")
"""Names of slots' lists: actions and modules share one namespace."""
Entry = TypeVar("Entry")


class Stop(msgspec.Struct, frozen=True):
    """One row.

    Args:
        number: grows with each stop.
        kind, name: what is stopped.
        because: why, in the words of who stopped it.
        who, at: who stopped it, and the instant.
        lifted_by, lifted_at: who let it go again, and when; None while it is in force.
    """

    number: int
    kind: str
    name: str
    because: str
    who: str
    at: int
    lifted_by: str | None = None
    lifted_at: int | None = None

    @property
    def told(self) -> dict[str, Any]:
        """As on the wire."""
        lifted = None if self.lifted_at is None else format_instant(self.lifted_at)
        return {
            "number": self.number, "kind": self.kind, "name": self.name, "because": self.because, "by": self.who,
            "at": format_instant(self.at), "liftedBy": self.lifted_by, "liftedAt": lifted,
        }  # fmt: skip


@dataclass(frozen=True)
class Stops:
    """The stops in force, as a request sees them.

    Args:
        each: all of them, the oldest first.
    """

    each: tuple[Stop, ...] = ()

    @cached_property
    def items(self) -> frozenset[str]:
        """Ids of stopped items."""
        return frozenset(stop.name for stop in self.each if stop.kind == "item")

    @cached_property
    def _actions(self) -> Mapping[str, Stop]:
        return {stop.name: stop for stop in self.each if stop.kind in _NAMED}

    @cached_property
    def campaigns(self) -> frozenset[str]:
        """Names of stopped campaigns."""
        return frozenset(stop.name for stop in self.each if stop.kind == "campaign")

    def why(self, name: str) -> str | None:
        """Why an action or module may not be shown; None where it may."""
        stop = self._actions.get(name)
        return None if stop is None else f"stopped: {stop.because}"

    def vetoes(self, names: Iterable[str], channel: str | None = None) -> list[tuple[str, str]]:
        """Those of some actions that may not be shown or sent, and why.

        Args:
            names: what a slot or channel could hold.
            channel: its name; where that is a stopped campaign, nothing goes out on it.
        """
        if channel in self.campaigns:
            return [(name, "the channel is stopped") for name in names]
        return [(name, why) for name in names if (why := self.why(name)) is not None]

    def running(self, experiments: Mapping[str, Entry]) -> Mapping[str, Entry]:
        """Experiments (or whatever has a campaign's name) that are not stopped."""
        if not self.campaigns:
            return experiments
        return {name: each for name, each in experiments.items() if name not in self.campaigns}

    def arranged(self, layout: Page) -> Page:
        """A page on which stopped policies decide nothing: the first module that can be filled takes the slot."""
        if not any(slot.policy in self.campaigns for slot in layout.slots):
            return layout
        slots = (_undecided(slot) if slot.policy in self.campaigns else slot for slot in layout.slots)
        return msgspec.structs.replace(layout, slots=tuple(slots))


def _undecided(slot: Slot) -> Slot:
    """A slot without its policy; like every such slot it ends in what cannot fail."""
    floor = () if slot.may_be_empty or FLOOR in slot.modules else (FLOOR,)
    return msgspec.structs.replace(slot, policy=None, modules=(*slot.modules, *floor))


NO_STOPS = Stops()


def read_stops(store: Store) -> Stops:
    """The stops in force now."""
    return Stops(tuple(Stop(*row) for row in store.database.query(sql.STOPS_IN_FORCE)))


def all_stops(store: Store, limit: int = 200) -> list[Stop]:
    """The latest stops, lifted ones included, the newest first."""
    return [Stop(*row) for row in store.database.query(sql.LATEST_STOPS, (limit,))]


def add_stop(store: Store, kind: str, name: str, *, because: str, who: str, now: int) -> Stop:
    """Stop something, durably. What is stopped already stays as it is.

    Args:
        store: of the shop.
        kind, name: what; see `check_target`.
        because: why; it is shown wherever somebody asks.
        who: who stops it.
        now: the instant.

    Returns:
        The stop in force.

    Raises:
        RequestError: no such kind, or one of the texts is empty.
    """
    if kind not in KINDS:
        raise RequestError("nothing of this kind can be stopped", where="kind", got=kind, hint=nearest(kind, KINDS))
    for where, text in (("name", name), ("because", because), ("by", who)):
        if not text.strip():
            raise RequestError("a stop says what, why and by whom", where=where, hint="write it down")
    with store.database.transaction() as connection:
        found = connection.execute(sql.STOP_OF, (kind, name)).fetchone()
        if found is None:
            connection.execute(sql.ADD_STOP, (kind, name, because.strip(), who.strip(), now))
            found = connection.execute(sql.STOP_OF, (kind, name)).fetchone()
    return Stop(*found)


def lift_stop(store: Store, number: int, *, who: str, now: int) -> Stop:
    """Let what was stopped go again.

    Raises:
        NotFoundError: no stop of that number is in force.
    """
    known = number if 0 < number < 1 << 63 else 0  # no other number can be one of SQLite's
    with store.database.transaction() as connection:
        lifted = connection.execute(sql.LIFT_STOP, (who, now, known)).rowcount
        rows = connection.execute(sql.STOP_BY_NUMBER, (known,)).fetchall()
    if not lifted:
        hint = "it was lifted already" if rows else "list the stops to see their numbers"
        raise NotFoundError("no such stop is in force", where="number", got=number, hint=hint)
    return Stop(*rows[0])


def check_target(config: ShopConfig, kind: str, name: str, *, known_item: bool) -> None:
    """Refuse what is not there: a stop with a typo in it would stop nothing.

    Args:
        config: the shop's file.
        kind, name: what shall be stopped.
        known_item: whether an item of that id is known; only asked of items.

    Raises:
        RequestError: with the nearest name.
    """
    if kind == "item":
        if not known_item:
            raise RequestError("no such item", where="name", got=name, hint="look up its id")
        return
    channelled = [action for channel in config.channels.values() for action in channel.actions]
    policies = [policy for _, policy, _ in config.learned()]
    valid = {
        "action": [*config.actions, *config.modules, *channelled],
        "module": [*config.modules],
        "campaign": [*config.experiments, *config.channels, *config.sequences, *policies],
    }.get(kind, [])
    if kind in KINDS and name not in valid:
        hint = nearest(name, list(dict.fromkeys(valid))) if valid else "the shop's file names none"
        raise RequestError(f"the shop has no such {kind}", where="name", got=name, hint=hint)
