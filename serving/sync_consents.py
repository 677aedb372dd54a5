"""What customers agreed to, from all versions of them that a dataset has: a refusal is never lost to a file. Offline.

A version is a whole row, and an export writes the consents that it knows anew each night: without those that the
service was told, and those that were refused since as they were before. So consents are taken purpose by purpose, as
news: what a source repeats is none, and a grant of an earlier moment than a refusal's does not undo it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from features import columns as c
from features.dataset import Dataset
from features.errors import DataError
from features.moments import format_instant, parse_instant
from serving.person import Consents
from serving.sync_rows import parsed, streamed


@dataclass
class Told:
    """The consents of a customer.

    Args:
        now: purpose -> how, as it stands.
        log: `[purpose, how]` as told, oldest first, each once.
    """

    now: dict[str, Any] = field(default_factory=dict)
    log: list[tuple[str, Any]] = field(default_factory=list)


def consents_in(dataset: Dataset, as_of: int | None = None) -> dict[str, Told]:
    """The consents of all customers of whom some are recorded.

    Args:
        dataset: with customers.
        as_of: microseconds; versions from after it are not known. None: all.
    """
    return dict(told_consents(dataset, as_of))


def told_consents(dataset: Dataset, as_of: int | None = None) -> Iterator[tuple[str, Told]]:
    """`consents_in`, customer by customer, ascending."""
    until = "" if as_of is None else f" AND {c.VALID_FROM} <= TIMESTAMPTZ '{format_instant(as_of)}'"
    with dataset.connect() as duck:
        rows = streamed(
            duck,
            f"""
            SELECT {c.CUSTOMER_ID}, {c.SOURCE}, consents FROM customers WHERE consents IS NOT NULL{until}
            QUALIFY consents IS DISTINCT FROM
                lag(consents) OVER (PARTITION BY {c.CUSTOMER_ID}, {c.SOURCE} ORDER BY {c.VALID_FROM})
            ORDER BY {c.CUSTOMER_ID}, {c.VALID_FROM}, {c.SOURCE}""",
        )
        for customer, mine in groupby(rows, key=itemgetter(c.CUSTOMER_ID)):
            told = ((row[c.SOURCE], parsed(row["consents"])) for row in mine)
            versions = [(source, version) for source, version in told if isinstance(version, dict)]
            if versions:
                yield customer, _told(versions)


def _told(versions: Iterable[tuple[str, Mapping[str, Any]]]) -> Told:
    """Of one customer's versions, oldest first, by source."""
    told, said = Told(), dict[str, Mapping[str, Any]]()
    for source, version in versions:
        _take(told, version, said.get(source, {}))
        said[source] = version
    return told


def _take(told: Told, version: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """One version, and the one before it of the same source."""
    for purpose, how in version.items():
        if (purpose, how) not in told.log:
            told.log.append((purpose, how))
        if how is not None and how != before.get(purpose) and not _is_older(purpose, how, told.now):
            told.now[purpose] = how


def _is_older(purpose: str, how: Any, now: Mapping[str, Any]) -> bool:
    """Whether this is a grant from before what stands as a refusal."""
    one, other = _at(how), _at(now.get(purpose))
    earlier = one is not None and other is not None and one <= other
    return earlier and Consents({purpose: how}).to(purpose) and not Consents(now).to(purpose)


def _at(how: Any) -> int | None:
    try:
        return parse_instant(how["at"]) if isinstance(how, dict) and isinstance(how.get("at"), str) else None
    except (DataError, OverflowError):
        return None
