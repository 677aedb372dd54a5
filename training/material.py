"""What a training run learns from: histories as of a moment, the two windows, and hashes of all that went in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from features import columns as c
from features.build import EVERYTHING, histories_as_of
from features.dataset import Dataset, Manifest, versions_as_of
from features.errors import DataError
from features.history import Histories, customer_subject
from features.kinds import EventType
from features.moments import DAY, SECOND, format_instant
from features.shop import Shop
from serving.config import ShopConfig
from serving.tombstones import Erased, erased_of
from training.agreed import agreed_only, unlearned
from training.split import Window, last_windows

LEAST_DAYS = 8.0
"""With a shorter past nothing is judged."""


@dataclass(frozen=True)
class Material:
    """All that a run reads.

    Args:
        dataset: the tables.
        histories: all that was known at `as_of`, without whoever asked to be forgotten.
        as_of: microseconds; events before it count.
        tuned: the window on which recipes are tuned and the challenger is chosen; None with too short a past.
        judged: the last window, on which the gate judges.
        regions: subject row -> region, where known.
        inputs: the committed imports: id, source, files with their hashes, counts.
        data_hash: twelve hex digits that change with any import, with `as_of`, and with who may be learned from.
        notes: what a person should know of the data, as sentences.
        unlearned: says of a subject whether nothing may be learned from it; such are in no histories.
    """

    dataset: Dataset
    histories: Histories
    as_of: int
    tuned: Window | None
    judged: Window | None
    regions: Mapping[int, str]
    inputs: list[dict[str, Any]]
    data_hash: str
    notes: tuple[str, ...] = ()
    unlearned: Callable[[str], bool] = lambda subject: False

    def counts(self) -> dict[str, int]:
        """Customers, items with events, and events, as of the moment."""
        items = self.histories.events.item
        return {
            "subjects": int((np.diff(self.histories.offsets) > 0).sum()),
            "items": len(np.unique(items[items >= 0])),
            "events": len(items),
        }

    def by_month(self) -> dict[str, dict[int, int]]:
        """Event type -> {first instant of the month: events}, most frequent type first; rare types together."""
        months = self.histories.events.time.astype("datetime64[us]").astype("datetime64[M]")
        kinds = self.histories.events.type
        named = {kind: EventType(int(kind)).name.lower() for kind in np.unique(kinds)}
        ordered = sorted(named, key=lambda kind: -int((kinds == kind).sum()))
        counts: dict[str, dict[int, int]] = {}
        for place, kind in enumerate(ordered):
            into = counts.setdefault(named[kind] if place < 5 else "other types", {})
            found, number = np.unique(months[kinds == kind], return_counts=True)
            for month, events in zip(found.astype("datetime64[us]").astype(np.int64), number, strict=True):
                into[int(month)] = into.get(int(month), 0) + int(events)
        return counts


def load_material(shop: Shop, config: ShopConfig, as_of: int | None = None) -> Material:
    """Read the dataset as of a moment (default: just after its last event).

    Raises:
        DataError: there is no dataset, or nothing was known at that moment.
    """
    dataset = Dataset(shop.dataset)
    manifest = dataset.manifest()
    erased = erased_of(shop)  # once: who is forgotten here is who the hash counts
    histories = histories_as_of(dataset, EVERYTHING if as_of is None else as_of)
    histories = without_erased(erased, histories)
    if not len(histories.events):
        moment = "" if as_of is None else f" before {format_instant(as_of)}"
        raise DataError(f"no events{moment}", where=str(dataset.root), hint="import some, or choose a later --as-of")
    told_by = as_of  # consents of after the last event count as well
    if as_of is None:
        as_of = int(histories.events.time.max()) // SECOND * SECOND + SECOND
    histories, left = agreed_only(dataset, histories, config.consent.assumed, told_by)
    if not len(histories.events):
        hint = "record consents to training, or declare a basis in shop.toml: [consent]"
        raise DataError("nobody has agreed to be learned from", where=str(dataset.root), hint=hint)
    windows, notes = _windows(histories, as_of, config.model.window_days)
    inputs = [_input(record) for record in msgspec.to_builtins(manifest)["imports"]]
    return Material(
        dataset, histories, as_of, *windows, regions_of(dataset, histories, as_of), inputs,
        _hash(manifest, as_of, told_by, config.consent.assumed, erased=len(erased)), (*left, *notes),
        unlearned(shop, config, told_by),
    )  # fmt: skip


def _windows(
    histories: Histories, as_of: int, days: float
) -> tuple[tuple[Window | None, Window | None], tuple[str, ...]]:
    """The last two windows; shorter ones where the past is short, none where it is too short to judge anything."""
    bought = histories.events.time[histories.events.type == EventType.PURCHASE]
    past = (as_of - int(bought.min())) / DAY if len(bought) else 0.0
    if past < LEAST_DAYS:
        why = f"Purchases of {past:.1f} days are too few to judge a model (at least {LEAST_DAYS:.0f} days)."
        return (None, None), (why,)
    notes: tuple[str, ...] = ()
    if past < 3 * days:
        days, wanted = past / 4, days
        notes = (f"The past of {past:.0f} days is short: windows of {days:.1f} days instead of {wanted:g}.",)
    tuned, judged = last_windows(as_of, int(days * DAY), 2)
    return (tuned, judged), notes


def without_erased(erased: Erased, histories: Histories) -> Histories:
    """Whoever asked to be forgotten is forgotten here at once, not when the dataset is next rewritten."""
    if not erased:
        return histories
    gone = np.fromiter((erased.subject(subject) for subject in histories.subjects), bool, len(histories))
    return histories.where(~gone[histories.subject_rows()])


def regions_of(dataset: Dataset, histories: Histories, as_of: int) -> dict[int, str]:
    """Subject row -> region, for customers whose region was known at a moment."""
    with dataset.connect() as duck:
        known = versions_as_of("customers", as_of)
        rows = duck.sql(f"SELECT {c.CUSTOMER_ID}, {c.REGION} FROM ({known}) WHERE {c.REGION} IS NOT NULL")
        found = rows.to_arrow_table()
    subjects = [customer_subject(customer) for customer in found[c.CUSTOMER_ID].to_pylist()]
    places = histories.subjects.rows_of(subjects).tolist()
    return {place: region for place, region in zip(places, found[c.REGION].to_pylist(), strict=True) if place >= 0}


def _input(record: dict[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in ("id", "source", "at", "counts", "inputs")}


def _hash(manifest: Manifest, as_of: int, told_by: int | None, assumed: Sequence[str], *, erased: int) -> str:
    """Of all that says which events are learned from: what was imported, and whose events they may be."""
    facts = (
        as_of,
        told_by,
        sorted(assumed),
        erased,
        [(record.id, sorted(record.counts.items()), record.parts) for record in manifest.imports],
    )
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:12]
