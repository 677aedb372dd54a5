"""Visits of a window that ended in a purchase, and the moments in them at which a service is asked.

At the start of a window nobody is in a session. Here a recipe is asked where a shop asks it: when somebody arrives, and
just after the first views of a visit, about what is bought in the rest of it. A visit ends as sessions do when the
source `session` serves: nothing happens for `SessionParams.break_minutes`.

Who is there is told as it was known at the moment. A visitor who signs in later in the visit is a visitor until then:
neither what the customer did before nor the customer's region is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.build import LAST_INSTANT
from features.dataset import Dataset, events_as_of
from features.history import Histories, History, visitor_subject
from features.kinds import EventType
from features.moments import MICROSECOND, MINUTE, format_instant
from serving.query import Context
from serving.sources.ordered import SESSION_WEIGHTS
from training.known import Dimension, coded
from training.sequence import SessionParams, runs_of
from training.split import Truth, Window

Rows = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
AT_MOST = 1_500
"""Visits of a window that are looked at, always the same ones."""
_NEVER, _EVER = 2**62, -(2**62)
_DIMENSIONS = (c.REGION, c.TRAFFIC_SOURCE, c.DEVICE)


@dataclass(frozen=True, slots=True)
class Told:
    """What the tables tell of events beside their histories; all arrays are in the order of the histories' events.

    Args:
        claimed: int64[events], the instant from which an event is known to be its customer's: always where it names the
            customer, at the sign-in where a visitor did it, never where nobody signed in.
        visitor: int32[events], the code of the visitor of an event that names no customer; -1 else.
        visitors: ids of visitors by code.
        dimensions: region, traffic source and device of the window's events.
    """

    claimed: Places
    visitor: Rows
    visitors: tuple[str, ...]
    dimensions: tuple[Dimension, Dimension, Dimension]

    def context(self, event: int) -> Context:
        """Where an event came from, as far as it tells."""
        told = (each.names[each.code[event]] if each.code[event] >= 0 else None for each in self.dimensions)
        region, source, device = told
        return Context(region=region, traffic_source=source, device=device)


@dataclass(frozen=True, slots=True)
class Moment:
    """One question that a service could have been asked.

    Args:
        visit: number of the visit.
        person: row of the subject whose visit it turned out to be; intervals cluster by it.
        now: microseconds, just after what is known (windows are half-open).
        visitor: code of the anonymous visitor; -1 where the customer is known.
        context: of the event at this moment.
        bought: int32[k], distinct items of the catalogue that are bought in the rest of the visit, ascending.
    """

    visit: int
    person: int
    now: int
    visitor: int
    context: Context
    bought: Rows


@dataclass(frozen=True)
class Visits:
    """The visits of a window that are looked at.

    Args:
        histories: all events before the window's end, sign-ins of later included.
        told: of the same events.
        listed: bool[n_items], the catalogue.
        events: of each visit that is looked at the rows of its events, oldest first.
        began: visits that began in the window.
        bought: how many of them held a purchase of the catalogue.
        usable: how many of those held a view that was known before the last such purchase.
    """

    histories: Histories
    told: Told
    listed: Mask
    events: Sequence[Places]
    began: int
    bought: int
    usable: int

    def moments(self, views: int) -> list[Moment]:
        """The moments just after so many views of each visit; 0: when it begins. Only with something left to buy."""
        subject = self.histories.subject_rows()
        found = (self._moment(number, views, subject) for number in range(len(self.events)))
        return [moment for moment in found if moment is not None]

    def _moment(self, number: int, views: int, subject: Rows) -> Moment | None:
        rows, events = self.events[number], self.histories.events
        seen = rows[events.type[rows] == EventType.VIEW]
        seen = seen[np.argsort(known_at(events)[seen], kind="stable")]
        if len(seen) < views:
            return None
        at = int(seen[views - 1] if views else rows[0])
        now = int(known_at(events)[at]) + MICROSECOND if views else int(events.time[at])
        bought = rows[(events.type[rows] == EventType.PURCHASE) & (events.time[rows] >= now)]
        items = np.unique(events.item[bought])
        items = items[self.listed[items]]
        if not len(items):
            return None
        who = int(self.told.visitor[at])
        return Moment(number, int(subject[at]), now, who, self.told.context(at), items)

    def shown(self, moment: Moment) -> History:
        """What was known of whoever is there, everything of the visit up to the moment included."""
        own = self._rows(moment.person)
        claimed = self.told.claimed[own] <= moment.now
        if moment.visitor < 0:
            return self.histories.events.take(own[claimed]).as_of(moment.now)
        mine = own[~claimed & (self.told.visitor[own] == moment.visitor)]
        history = self.histories.events.take(mine)
        apart = self.histories.subjects.find(visitor_subject(self.told.visitors[moment.visitor]))
        if apart is not None and apart != moment.person:  # before a sign-out: nobody's but the visitor's
            history = self.histories.at(apart).joined(history)
        return history.as_of(moment.now)

    def truth(self, moments: Sequence[Moment], histories: Sequence[History], *, viewed: bool = True) -> Truth:
        """What the rest of each visit bought.

        Args:
            moments: n of them.
            histories: what `shown` says of each.
            viewed: False leaves out what had been viewed by then, in this visit or before.
        """
        bought = [moment.bought for moment in moments]
        if not viewed:
            seen = (history.of_types(EventType.VIEW).item for history in histories)
            bought = [np.setdiff1d(items, before) for items, before in zip(bought, seen, strict=True)]
        indptr = np.cumsum([0, *(len(items) for items in bought)], dtype=np.int64)
        past = (history.of_types(EventType.PURCHASE).item for history in histories)
        again = [np.isin(items, before) for items, before in zip(bought, past, strict=True)]
        persons = np.array([moment.person for moment in moments], np.int32)
        items = np.concatenate([np.empty(0, np.int32), *bought]).astype(np.int32)
        return Truth(persons, indptr, items, np.concatenate([np.empty(0, bool), *again]))

    def _rows(self, person: int) -> npt.NDArray[np.intp]:
        return np.arange(int(self.histories.offsets[person]), int(self.histories.offsets[person + 1]))


def visits_of(
    dataset: Dataset, histories: Histories, window: Window, *, listed: Mask, at_most: int = AT_MOST
) -> Visits:  # fmt: skip
    """The visits that began in a window, ended in a purchase and held a view before it.

    Args:
        dataset: where events tell their context and sign-ins stand.
        histories: of all subjects, with all sign-ins; what happens after the window's end is left out.
        window: when.
        listed: bool[n_items], the catalogue as of the window's start.
        at_most: visits that are looked at, drawn at random from all, always the same ones.
    """
    seen = histories.where(histories.events.time < window.end)
    types = tuple(int(EventType[name.upper()]) for name in SESSION_WEIGHTS)
    offsets, rows = runs_of(seen, types, int(SessionParams().break_minutes * MINUTE))
    events = seen.events
    began = np.flatnonzero(window.holds(events.time[rows[offsets[:-1]]]))
    # A purchase of the catalogue at its time, a view when it was known; what is neither is never and ever.
    bought = np.where((events.type[rows] == EventType.PURCHASE) & listed[events.item[rows]], events.time[rows], _EVER)
    viewed = np.where(events.type[rows] == EventType.VIEW, known_at(events)[rows], _NEVER)
    last = np.maximum.reduceat(bought, offsets[:-1])[began] if len(began) else np.empty(0, np.int64)
    first = np.minimum.reduceat(viewed, offsets[:-1])[began] if len(began) else np.empty(0, np.int64)
    usable = began[last > first]
    drawn = usable
    if len(usable) > at_most:
        drawn = np.sort(np.random.default_rng(0).choice(usable, at_most, replace=False))
    return Visits(
        seen, told_of(dataset, seen, window), listed, [rows[offsets[run] : offsets[run + 1]] for run in drawn],
        len(began), int((last > _EVER).sum()), len(usable),
    )  # fmt: skip


def known_at(events: History) -> Places:
    """int64[events]: when each was known: what is recorded late is known late."""
    return np.maximum(events.time, events.recorded)


def told_of(dataset: Dataset, histories: Histories, window: Window) -> Told:
    """Sign-ins that gave events to customers, and the context of the window's events."""
    end, start = (f"TIMESTAMPTZ '{format_instant(moment)}'" for moment in (window.end, window.start))
    known = events_as_of(LAST_INSTANT, amended=dataset.manifest().amended)
    with dataset.connect() as duck:
        table = duck.sql(f"""
            WITH links AS (SELECT DISTINCT {c.VISITOR_ID}, {c.LINKED_AT} FROM identities),
            told AS (SELECT * FROM ({known}) WHERE {c.OCCURRED_AT} < {end})
            SELECT md5_number_lower({c.EVENT_ID}) AS key, {", ".join(f"told.{name}" for name in _DIMENSIONS)},
                   CASE WHEN {c.CUSTOMER_ID} IS NULL THEN told.{c.VISITOR_ID} END AS visitor,
                   CASE WHEN {c.CUSTOMER_ID} IS NULL THEN coalesce(epoch_us({c.LINKED_AT}), {_NEVER})
                        ELSE {_EVER} END AS claimed
            FROM told ASOF LEFT JOIN links
              ON told.{c.VISITOR_ID} = links.{c.VISITOR_ID} AND told.{c.OCCURRED_AT} <= links.{c.LINKED_AT}
            WHERE {c.CUSTOMER_ID} IS NULL OR {c.OCCURRED_AT} >= {start} ORDER BY key""").to_arrow_table()
    keys, own = table["key"].to_numpy(), histories.events.key
    at = np.minimum(np.searchsorted(keys, own), max(len(keys) - 1, 0))
    there = keys[at] == own if len(keys) else np.zeros(len(own), bool)

    def placed(column: Dimension) -> Dimension:
        code = np.full(len(own), -1, np.int32)
        code[there] = column.code[at[there]]
        return Dimension(column.names, code)

    claimed = np.full(len(own), _EVER, np.int64)
    claimed[there] = table["claimed"].to_numpy()[at[there]]
    visitor = placed(coded(table["visitor"].to_pylist()))
    region, source, device = (placed(coded(table[name].to_pylist())) for name in _DIMENSIONS)
    return Told(claimed, visitor.code, visitor.names, (region, source, device))
