"""The people of a shop made for load: customers and visitors with histories that lean to a category each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from features.history import DTYPES, FIELDS, Histories, History, customer_subject, visitor_subject
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from serving.bundle import Bundle
from serving.profiles import Profile
from training.bench.made_items import IN_CATEGORY, REGIONS

VISITORS = 0.1
"""Anonymous subjects a customer; they have a tenth of the events."""
SPAN = 2 * 365 * DAY
_TYPES = {
    EventType.VIEW: 0.62, EventType.PURCHASE: 0.2, EventType.CART: 0.1, EventType.CLICK: 0.05, EventType.WISHLIST: 0.03,
}  # fmt: skip
_CHUNK = 50_000
"""Subjects that are made at once."""
_PRICED = (int(EventType.PURCHASE), int(EventType.CART))


def made_histories(rng: np.random.Generator, bundle: Bundle, customers: int, events: int, as_of: int) -> Histories:
    """Histories of so many customers, and of a tenth as many visitors beside them."""
    visitors = int(VISITORS * customers)
    mean = np.repeat([events, max(events / 10, 1)], [customers, visitors])
    counts = 1 + rng.poisson(rng.gamma(0.8, (mean - 1) / 0.8)).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    columns = {name: np.empty(int(offsets[-1]), dtype) for name, dtype in DTYPES.items()}
    price = bundle.arrays["item.price"]
    for start in range(0, len(counts), _CHUNK):
        stop = min(start + _CHUNK, len(counts))
        where = slice(int(offsets[start]), int(offsets[stop]))
        for name, column in _events(rng, counts[start:stop], price, as_of).items():
            columns[name][where] = column
    return Histories(
        Vocabulary.of(_subjects(customers, visitors)), bundle.items, offsets,
        History(*(columns[name] for name in FIELDS)),
    )  # fmt: skip


def made_profiles(subjects: Vocabulary) -> Iterator[tuple[str, Profile]]:
    """A profile of every customer: a region, an attribute, a consent."""
    agreed = {"personalization": {"granted": True, "source": "made for load"}}
    said = [
        Profile({"region": region, "attributes": {"household": household}, "consents": agreed}, (), ())
        for region in REGIONS for household in ("single", "couple", "family")
    ]  # fmt: skip
    return ((subject, said[n % len(said)]) for n, subject in enumerate(subjects) if subject.startswith("c:"))


def _subjects(customers: int, visitors: int) -> Iterator[str]:
    """In the order of their ids, as a history wants them."""
    yield from (customer_subject(f"customer-{n:08d}") for n in range(customers))
    yield from (visitor_subject(f"visitor-{n:08d}") for n in range(visitors))


def _events(
    rng: np.random.Generator, counts: npt.NDArray[np.int64], price: npt.NDArray[np.generic], as_of: int
) -> dict[str, npt.NDArray[np.generic]]:
    """The events of some subjects, each one's oldest first."""
    total, n = int(counts.sum()), len(price)
    who = np.repeat(np.arange(len(counts)), counts)
    age = np.minimum(rng.exponential(120 * DAY, total), SPAN - 1).astype(np.int64) + 1
    # One sort for both: the subject in the high bits, the moment below.
    time = np.sort(who * SPAN + (SPAN - age)) - who * SPAN + (as_of - SPAN)
    categories = -(-n // IN_CATEGORY)
    liked = rng.integers(0, categories, len(counts))[who]
    elsewhere = rng.random(total) < 0.4
    liked = np.where(elsewhere, rng.integers(0, categories, total), liked)
    item = np.minimum(liked * IN_CATEGORY + (IN_CATEGORY * rng.random(total) ** 3).astype(np.int64), n - 1)
    kinds = rng.choice(np.array([int(kind) for kind in _TYPES], np.int8), total, p=list(_TYPES.values()))
    quantity = np.where(rng.random(total) < 0.9, 1, 2).astype(np.float32)
    return {
        "time": time, "recorded": time, "item": item, "type": kinds, "quantity": quantity,
        "value": np.where(np.isin(kinds, _PRICED), np.asarray(price)[item] * quantity, np.nan),
        "key": rng.integers(0, 2**64, total, np.uint64),
    }  # fmt: skip
