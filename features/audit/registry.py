"""The list of checks, and the audit that runs them."""

from __future__ import annotations

from collections.abc import Callable

from features import columns as c
from features.audit import catalogue, journeys, money, people, rows, times, volume
from features.audit.look import Look, looking
from features.audit.report import AuditReport, Finding, ImportSummary, TableSize
from features.dataset import QUERY_MEMORY, Dataset
from features.moments import format_instant
from features.schemas import TABLES

Check = Callable[[Look], Finding]

CHECKS: tuple[Check, ...] = (
    times.recorded_order,
    times.future,
    times.one_timestamp,
    times.resolution,
    times.lateness,
    rows.repeated_ids,
    rows.exact_duplicates,
    rows.quarantine,
    rows.lookalike_ids,
    rows.events_without_item,
    volume.event_mix,
    volume.silence,
    volume.changed_tracking,
    volume.outcome_rates,
    people.without_customer,
    people.customers_by_events,
    people.customers_listed,
    people.robots,
    people.shared_devices,
    catalogue.coverage,
    catalogue.described,
    catalogue.items_by_events,
    catalogue.known_in_time,
    catalogue.static_columns,
    money.prices,
    money.currency,
    money.quantities,
    journeys.baskets,
    journeys.returns,
    journeys.wishes,
    journeys.orders,
    journeys.propensities,
)
"""All checks, in the order of the report."""


def audit(dataset: Dataset, now: int, *, checks: tuple[Check, ...] = CHECKS, memory: str = QUERY_MEMORY) -> AuditReport:
    """Run the checks over a dataset.

    Args:
        dataset: committed tables.
        now: instant; events after it lie in the future.
        checks: which ones.
        memory: DuckDB's limit; beyond it the checks spill to disk.

    Raises:
        DataError: there is no dataset.
    """
    with looking(dataset, now, memory=memory) as look:
        first, last = look.row(f"SELECT epoch_us(min({c.OCCURRED_AT})), epoch_us(max({c.OCCURRED_AT})) FROM current")
        return AuditReport(
            dataset=look.manifest.imports[-1].id if look.manifest.imports else "",
            at=format_instant(now),
            first_event=None if first is None else format_instant(first),
            last_event=None if last is None else format_instant(last),
            sizes=[TableSize(table, look.count(table)) for table in TABLES],
            imports=[_summary(look, position) for position in range(len(look.manifest.imports))],
            findings=[check(look) for check in checks],
        )


def _summary(look: Look, position: int) -> ImportSummary:
    record = look.manifest.imports[position]
    path = look.root / record.quarantine if record.quarantine else None
    quoted = str(path).replace("'", "''")
    refused = look.count(f"read_parquet('{quoted}')") if path is not None and path.exists() else 0
    return ImportSummary(record.id, record.source, record.at, refused)
