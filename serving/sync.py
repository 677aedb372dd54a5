"""Sync: what the service received becomes part of the dataset, and the history is renewed from it.

Nothing is lost or doubled when a sync is interrupted, wherever: rows are in the dataset once one commit says so, and
the same commit says how far the store was read. What follows the commit (history, cleaning) is repeated by the next
sync. Offline: it imports pyarrow and DuckDB and never runs in a serving worker.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from features import columns as c
from features.build import histories_as_of
from features.dataset import Dataset, ImportRecord, Manifest
from features.errors import BundleError, DataError
from features.history import customer_subject, visitor_subject
from features.moments import DAY, format_instant, to_datetime
from features.shop import Shop
from serving import store_erasure as erasure
from serving import store_upkeep as upkeep
from serving import sync_collect, sync_forget, sync_rows
from serving.artifact import live_name, read_manifest
from serving.decision_drain import blank_erased, drain, left_folders
from serving.erase import COMPLETE, ERASED, sweep, sweep_history
from serving.histories import IMPORTED, folders, publish_history, verify_history, write_history
from serving.links import SETTLED_AFTER
from serving.profiles import REACH
from serving.store import Store
from serving.sync_collect import Collected, Progress, progress_in, progress_of
from serving.sync_people import profiles_of

RETRY_SPAN = DAY
"""Rows stay in the store this long after they were received, so that a client's retry is known as a duplicate."""
REPORT_SPAN = 90 * DAY
"""The last report of each order line stays this long, so that the same state told again is known as told."""
VISITOR_SPAN = 400 * DAY
"""What a visitor told stays this long after the last word: longer than the cookie by which one is known again."""
_SYNCED = "synced"
"""The row that names the last import that a shared store's rows went into."""


class SyncReport(msgspec.Struct):
    """What a sync did."""

    import_id: str | None = None
    """The record it committed; None when there was nothing new."""
    counts: dict[str, int] = {}
    """Rows by table, rows erased, ids that the dataset had already."""
    decisions_drained: int = 0
    damaged_log_bytes: int = 0
    history: str | None = None
    """The history that serves now."""
    history_renewed: bool = False
    events_dropped: int = 0
    """Rows deleted from the store, because every history in use holds them."""
    receipts_completed: int = 0


def sync(shop: Shop, *, now: int, after_step: Callable[[str], None] = lambda step: None) -> SyncReport:
    """Bring the store's rows, decisions and tombstones into the dataset and renew the history.

    Args:
        shop: whose.
        now: the moment of the sync, microseconds in the shop's time.
        after_step: told the name of each step that was done.

    Raises:
        DataError: another sync or import is running, or the store of several replicas goes into another dataset.
        Unavailable: the store refuses; run it again.
    """
    store = Store.of(shop)
    try:
        with store.database.alone("sync", "another sync of this shop is running"):
            return _Sync(shop, store, now, after_step).run()
    finally:
        store.close()


class _Sync:
    """One run; the methods are its steps."""

    def __init__(self, shop: Shop, store: Store, now: int, after_step: Callable[[str], None]) -> None:
        self.shop, self.store, self.now = shop, store, now
        self.done = after_step
        self.dataset = Dataset(shop.dataset)
        self.store_id = upkeep.store_id(store)
        self.report = SyncReport()

    def run(self) -> SyncReport:
        self._check_dataset()
        logs = [self.shop.decision_logs, *left_folders(self.shop.decision_logs)]
        for drained in (drain(folder, self.store) for folder in logs):
            self.report.decisions_drained += drained.added
            self.report.damaged_log_bytes += drained.damaged_bytes
        self.done("decision logs drained")
        visitors = sync_forget.linked_visitors(self.dataset, self.store.erased(), self.shop.secret)
        erasure.bury(self.store, visitors, self.now)
        sweep(self.shop, self.store, now=self.now)
        receipts = erasure.receipts_in(self.store, ERASED)  # whose rows this run removes from the dataset
        self.done("erasures finished")
        with self.dataset.writing():
            progress = self._commit()
        self.done("committed")
        self._renew_history(progress)
        self.done("history published")
        if receipts:
            scrubbed = sync_forget.scrub_quarantine(self.dataset, self.store.erased())
            self.report.counts |= {"quarantined rows erased": scrubbed} if scrubbed else {}
        self._drop(progress)
        for folder in logs:
            blank_erased(folder, self.store, self.store.erased())
        self.store.database.tidy(thoroughly=bool(receipts))
        self._complete(receipts)
        self.done("store tidied")
        return self.report

    def _check_dataset(self) -> None:
        """Replicas share a store, and one dataset takes its rows: of two, each would miss what the other got."""
        last = upkeep.note_of(self.store, _SYNCED)
        if last is None or any(record.id == last for record in self._manifest().imports):
            return
        hint = (
            f"sync where its import {last} is; if that is lost for good, delete the row '{_SYNCED}' of its table meta"
        )
        raise DataError("the store goes into another dataset", where=str(self.shop.dataset), hint=hint)

    def _commit(self) -> Progress:
        manifest = self._manifest()
        since, until = progress_in(manifest, self.store_id), progress_of(self.store)
        stamp = to_datetime(self.now).strftime("%Y%m%dT%H%M%S")
        into = Collected(self.dataset, f"sync-{len(manifest.imports) + 1:05d}-{stamp}")
        sync_collect.collect(self.store, into, since, until)
        self.done("rows written")
        gone = sync_forget.erased_in(self.dataset, self.store.erased())
        rewritten = sync_forget.rewrite(self.dataset, gone, into) if gone else sync_forget.Rewritten()
        rewards = sync_collect.rewards_between(self.store, since, until)
        sync_collect.write_rewards(into, rewards + rewritten.rewards)
        self.done("erased rows left out")
        if not into.parts and not rewritten.replaces and since == until:
            return since
        record = ImportRecord(
            id=into.name, source=sync_rows.SOURCE, at=format_instant(self.now), parts=into.parts, counts=into.counts,
            notes=[until.note(self.store_id)],
        )  # fmt: skip
        self.dataset.commit(record, replaces=rewritten.replaces)
        if self.store.database.shared:
            upkeep.set_note(self.store, _SYNCED, record.id)
        self.report.import_id, self.report.counts = record.id, into.counts
        return until

    def _renew_history(self, progress: Progress) -> None:
        manifest = self._manifest()
        live = self._live()
        wanted = {
            "store_id": self.store_id,
            "store_seq": progress.events,
            **{name: getattr(progress, table) for name, table in REACH.items()},
            "dataset": manifest.imports[-1].id if manifest.imports else None,
            IMPORTED: _last_by_file(manifest),
        }
        self.report.history = live
        if not manifest.imports or (live is not None and self._stands(live, wanted)):
            return
        name = write_history(
            self.shop.histories, histories_as_of(self.dataset), self._links(), {**wanted, "as_of": self.now},
            profiles_of(self.dataset),
        )  # fmt: skip
        self.done("history written")
        # Somebody may have been erased since the dataset was read: either the erasure finds this folder, or its
        # tombstone stands before this look.
        if self.store.erased():
            sweep_history(self.shop.histories / name, self.store)
        # Looked at anew: an import that was committed meanwhile may be in it or not.
        publish_history(self.shop.histories, name, imported=_last_by_file(self._manifest()))
        self.report.history, self.report.history_renewed = name, True

    def _live(self) -> str | None:
        try:
            return live_name(self.shop.histories)
        except BundleError:
            return None  # nobody can read which one is live: make a new one

    def _stands(self, name: str, wanted: dict[str, Any]) -> bool:
        """Whether a history is the one that this dataset and store position give."""
        folder = self.shop.histories / name
        try:
            manifest = read_manifest(folder)
            verify_history(folder)
        except BundleError:
            return False  # damaged: make a new one
        return all(manifest.get(key) == value for key, value in wanted.items())

    def _links(self) -> list[tuple[str, str]]:
        rows = self.dataset.read("identities", [c.CUSTOMER_ID, c.VISITOR_ID]).group_by([c.CUSTOMER_ID, c.VISITOR_ID])
        pairs = rows.aggregate([])
        return [
            (customer_subject(customer), visitor_subject(visitor))
            for customer, visitor in zip(pairs[c.CUSTOMER_ID].to_pylist(), pairs[c.VISITOR_ID].to_pylist(), strict=True)
        ]

    def _complete(self, receipts: list[tuple[dict[str, Any], bytes]]) -> None:
        for receipt, token in receipts:
            receipt |= {"state": COMPLETE, "completedAt": format_instant(self.now)}
            erasure.put_receipt(self.store, receipt, token, self.now)
        self.report.receipts_completed = len(receipts)

    def _drop(self, progress: Progress) -> None:
        before = self.now - RETRY_SPAN
        reached = self._reached_by_all("store_seq")
        self.report.events_dropped = upkeep.drop_events(self.store, reached, before)
        upkeep.settle_links(self.store, reached, self.now - SETTLED_AFTER)
        upkeep.drop_orders(self.store, self._reached_by_all("orders_seq"), before, self.now - REPORT_SPAN)
        upkeep.drop_ended(self.store, self.now)
        upkeep.drop_visitors(self.store, self.now - VISITOR_SPAN)
        upkeep.drop_synced(
            self.store, decisions=progress.decisions, items=progress.items, customers=progress.customers,
            rewards=progress.rewards, before=before,
        )  # fmt: skip

    def _reached_by_all(self, number: str) -> int:
        """The number that the live history and the one before it both reach; workers may still read either."""
        reached = [self._reach(folder, number) for folder in folders(self.shop.histories)]
        return min(reached) if len(reached) > 1 else 0  # with one, a worker may serve without any history yet

    def _reach(self, folder: Path, number: str) -> int:
        try:
            manifest = read_manifest(folder)
        except BundleError:
            return 0
        return int(manifest.get(number, 0)) if manifest.get("store_id") == self.store_id else 0

    def _manifest(self) -> Manifest:
        return self.dataset.manifest() if self.dataset.exists() else Manifest()


def _last_by_file(manifest: Manifest) -> str:
    """The last import that did not come from the store, which therefore does not know it; empty where there is none."""
    return next((record.id for record in reversed(manifest.imports) if record.source != sync_rows.SOURCE), "")
