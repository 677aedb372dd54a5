"""What is true of people at a moment: the segments that decide what an action does to them."""

from __future__ import annotations

import numpy as np

from features.moments import DAY, HOUR
from training.simulation.catalogue import NEVER
from training.simulation.people import BARGAIN_FROM, People, World
from training.simulation.rows import Array
from training.simulation.sessions import Reason, Sessions, keyed


def segments(world: World, people: People, person: Array, at: Array, due: Array, mobile: Array) -> Array:
    """The `effects.Segment` bits that do not depend on what was bought or on whether the shop knows the person."""
    region = people.region[person]
    month = world.calendar.month[world.calendar.day(at)]
    hour = ((at / HOUR) + world.offset_hours[region]) % 24
    bits = (
        (people.pet[person] > 0),
        (at >= people.project_from[person]) & (at <= people.project_to[person]),
        due,
        people.thrift[person] > BARGAIN_FROM,
        (world.climate[region] > 0.3) & np.isin(month, (10, 11, 0, 1, 2)),
        mobile,
        (hour >= 22) | (hour < 6),
        np.zeros(len(person), np.bool_),
        np.zeros(len(person), np.bool_),
        people.known[person] & (people.tier[person] == 2),
        people.known[person] & people.quiet[person],
        np.zeros(len(person), np.bool_),
        people.hidden[person],
    )
    code: Array = sum(
        (bit.astype(np.int64) << place for place, bit in enumerate(bits)), np.zeros(len(person), np.int64)
    )
    return code


def due_soon(visits: Sessions, person: Array, at: Array, days: int = 7) -> Array:
    """Whether a consumable of the person runs out within so many days of `at`."""
    needs = np.sort(keyed(visits.person, visits.start)[visits.reason == Reason.NEED])
    after = np.searchsorted(needs, keyed(person, at), side="left")
    found = np.append(needs, NEVER)[after]
    return found <= keyed(person, at + days * DAY)
