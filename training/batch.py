"""Recommendations for many customers into a file, by the same ranker that answers requests."""

from __future__ import annotations

import csv
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from features import columns as c
from features.build import EVERYTHING, histories_as_of
from features.dataset import Dataset
from features.errors import BundleError, ConfigError, DataError
from features.history import Histories, History, customer_subject
from features.moments import format_instant
from features.shop import Shop
from serving.artifact import live_name, read_manifest
from serving.bundle import Bundle, open_bundle
from serving.business import Business
from serving.config import load_config
from serving.decide import in_holdout
from serving.person import PERSONALIZATION
from serving.query import Context, Query
from serving.ranker import Ranker
from serving.reasons import item_reasons
from serving.store import Store
from serving.tombstones import erased_of
from training.agreed import consents_now, consents_to
from training.material import regions_of, without_erased

SCHEMA = pa.schema(
    [
        (c.CUSTOMER_ID, pa.string()),
        ("rank", pa.int32()),
        (c.ITEM_ID, pa.string()),
        ("score", pa.float32()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("bundle_id", pa.string()),
    ]
)
"""One row a recommended item; `rank` begins at 1."""
_CUSTOMERS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Answerer:
    """Answers for customers as of one moment."""

    shop: Shop
    ranker: Ranker
    histories: Histories
    regions: Mapping[int, str]
    """Subject row -> region, where known."""
    now: int
    """Events before this instant count."""
    locale: str
    holdout: float
    """Share of customers who get what is the same for all."""
    agreed: Mapping[str, bool]
    """What customers said of personalization."""
    assumed: bool
    """Whether it is taken as given of whom nothing is known."""

    def answer(self, customer_id: str, num: int) -> list[dict[str, Any]]:
        """The rows of one customer, best first; one nobody knows gets what is popular."""
        agreed = self.agreed.get(customer_id, self.assumed)
        row = self.histories.subjects.find(customer_subject(customer_id)) if agreed else None
        history = History.empty() if row is None else self.histories.at(row)
        context = Context(region=None if row is None else self.regions.get(row))
        query = Query(now=self.now, history=history, user_id=customer_id, context=context, num_results=num)
        personal = not in_holdout(self.shop, query, self.holdout)
        slate = self.ranker.rank(query, personal=personal)
        reasons = item_reasons(self.ranker, query, slate.items, slate.sources, self.locale)
        bundle = self.ranker.bundle
        listed = zip(slate.items.tolist(), slate.scores.tolist(), slate.sources, reasons, strict=True)
        return [
            {
                c.CUSTOMER_ID: customer_id, "rank": rank, c.ITEM_ID: bundle.items[row], "score": score,
                "source": source, "reason": reason, "bundle_id": bundle.id,
            }
            for rank, (row, score, source, reason) in enumerate(listed, start=1)
        ]  # fmt: skip


def open_answerer(shop: Shop, *, as_of: int | None = None, bundle_id: str | None = None) -> Answerer:
    """Everything that answers need.

    Without `as_of` it answers as of the dataset's end, with the shop's live changes of price and stock, and keeps the
    holdout. With it nothing is sent to anybody, so there is no holdout, and the catalogue is the bundle's.

    Args:
        shop: whose.
        as_of: microseconds; only events before it, and known by then, count.
        bundle_id: default: the one that serves; with `as_of`, the latest one that has not seen what came after.

    Raises:
        BundleError: there is none, or it is damaged.
        ConfigError: every bundle has seen events after `as_of`: its answers would know the future.
    """
    dataset, config = Dataset(shop.dataset), load_config(shop.config)
    bundle = _bundle(shop, as_of, bundle_id)
    histories = histories_as_of(dataset, EVERYTHING if as_of is None else as_of)
    now = as_of if as_of is not None else _end(histories, bundle)
    ranker = Ranker(bundle, business=Business.of(bundle, config))
    if as_of is None and Store.exists(shop):
        ranker.shelf.apply(_live_changes(shop))
    histories = _in_rows_of(bundle, without_erased(erased_of(shop), histories))
    return Answerer(
        shop, ranker, histories, regions_of(dataset, histories, now), now, config.shop.locale,
        holdout=config.shop.holdout if as_of is None else 0.0,
        agreed=consents_now(shop, PERSONALIZATION) if as_of is None else consents_to(dataset, PERSONALIZATION, as_of),
        assumed=PERSONALIZATION in config.consent.assumed,
    )  # fmt: skip


def _bundle(shop: Shop, as_of: int | None, bundle_id: str | None) -> Bundle:
    """The bundle to answer with."""
    names = [bundle_id] if bundle_id else [live_name(shop.bundles) or ""]
    if as_of is not None and not bundle_id:
        names = [folder.name for folder in shop.bundles.glob("[!.]*/")]
    moments = {name: int(read_manifest(shop.bundles / name).get("as_of", 0)) for name in names if name}
    if not moments:
        hint = f"train and promote one: kokyaku train --shop {shop.id}"
        raise BundleError("no bundle serves yet", where=str(shop.bundles), hint=hint)
    usable = {name: moment for name, moment in moments.items() if as_of is None or moment <= as_of}
    if not usable:
        assert as_of is not None
        moment = format_instant(as_of)
        what = f"the earliest bundle has seen events up to {format_instant(min(moments.values()))}"
        hint = f"train what was known then: kokyaku train --as-of {moment} --shop {shop.id}"
        raise ConfigError(what, where="--as-of", got=moment, hint=hint)
    return open_bundle(shop.bundles / max(usable, key=lambda name: usable[name]))


def answer_all(
    answerer: Answerer, customers: Sequence[str], num: int, done: Callable[[int], None] = lambda count: None
) -> Iterator[pa.Table]:
    """The rows of many customers, in pieces; `done` hears how many customers each piece answered."""
    for start in range(0, len(customers), _CUSTOMERS_AT_ONCE):
        piece = customers[start : start + _CUSTOMERS_AT_ONCE]
        rows = [row for customer in piece for row in answerer.answer(customer, num)]
        yield pa.Table.from_pylist(rows, schema=SCHEMA)
        done(len(piece))


def check_out(path: Path) -> None:
    """Refuse a file that `write_answers` could not write, before the work is done.

    Raises:
        ConfigError: neither Parquet nor CSV by its suffix, or the folder is not there.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ConfigError("neither .parquet nor .csv", where="--out", got=path.name, hint="name the file so")
    if not path.parent.is_dir():
        raise ConfigError("no such folder", where="--out", got=str(path.parent), hint="make it first")


def write_answers(path: Path, pieces: Iterable[pa.Table], schema: pa.Schema = SCHEMA) -> int:
    """Write Parquet or CSV, by the file's suffix; the file is there whole or not at all.

    Returns:
        The number of rows.

    Raises:
        ConfigError: another suffix, or the folder is not there.
    """
    check_out(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    rows = 0
    try:
        with _WRITERS[path.suffix.lower()](draft, schema) as writer:
            for piece in pieces:
                writer.write_table(piece)
                rows += len(piece)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return rows


def read_customers(path: Path) -> list[str]:
    """Customer ids of a file, each once, in its order.

    A text file has one id a line; a CSV file has a column `customer_id` (or one column without a heading); a Parquet
    file has a column `customer_id`.

    Raises:
        DataError: it is not there, holds no id, or has no such column.
    """
    if not path.is_file():
        hint = "give --customers a file with one id a line, CSV or Parquet"
        raise DataError("no such file", where=str(path), hint=hint)
    ids = _from_parquet(path) if path.suffix.lower() == ".parquet" else _from_text(path)
    found = list(dict.fromkeys(text for text in ids if text))
    if not found:
        raise DataError("no customer id in it", where=str(path), hint="one customer id a line, CSV or Parquet")
    return found


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None: ...

    def __enter__(self) -> _Writer: ...

    def __exit__(self, *raised: object) -> None: ...


_WRITERS: Mapping[str, Callable[[Path, pa.Schema], _Writer]] = {
    ".parquet": lambda path, schema: pq.ParquetWriter(path, schema, compression="zstd"),
    ".csv": pa.csv.CSVWriter,
}


def _from_parquet(path: Path) -> Sequence[str]:
    try:
        schema = pq.read_schema(path)
    except pa.ArrowInvalid:
        raise DataError("not a Parquet file", where=str(path)) from None
    if c.CUSTOMER_ID not in schema.names:
        raise DataError(f"no column {c.CUSTOMER_ID}", where=str(path), got=schema.names)
    column = pq.read_table(path, columns=[c.CUSTOMER_ID])[c.CUSTOMER_ID]
    return [text for text in column.cast(pa.string()).to_pylist() if text]


def _from_text(path: Path) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError("not UTF-8 text", where=str(path), hint="save the file as UTF-8") from None
    if path.suffix.lower() != ".csv":
        return [line.strip() for line in text.splitlines()]
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if not rows:
        return []
    heading = [cell.strip() for cell in rows[0]]
    if c.CUSTOMER_ID in heading:
        at = heading.index(c.CUSTOMER_ID)
        return [row[at].strip() for row in rows[1:] if len(row) > at]
    if len(heading) > 1:
        raise DataError(f"no column {c.CUSTOMER_ID}", where=f"{path} line 1", got=heading)
    return [row[0].strip() for row in rows]


def _end(histories: Histories, bundle: Bundle) -> int:
    """Just after the last event, and never before what the bundle knows."""
    return max(bundle.as_of, int(histories.events.time.max(initial=0)) + 1)


def _in_rows_of(bundle: Bundle, histories: Histories) -> Histories:
    moved = histories.events.with_items(histories.items.translate_to(bundle.items))
    return Histories(histories.subjects, bundle.items, histories.offsets, moved)


def _live_changes(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    store = Store.of(shop)
    try:
        return store.item_changes(0)[0]
    finally:
        store.close()
