"""Times out of a file's columns: whole columns at a time, wall-clock times turned into instants by their zone.

A wall-clock time that a zone shows twice (clocks go back) is read as the first of the two; one that it never shows
(clocks go forward) becomes the instant of the change.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError
from features.importing.mapping import UNIX_FORMATS
from features.importing.values import Mask, as_text, flat, mask, nfkc
from features.moments import DAY, SECOND, to_instant, zone
from features.schemas import INSTANT

Instants = npt.NDArray[np.int64]

EARLIEST: Final = to_instant(datetime(1900, 1, 1, tzinfo=UTC))
LATEST: Final = to_instant(datetime(9999, 1, 1, tzinfo=UTC))
"""Times outside are placeholders such as 0001-01-01, or typing errors."""
_NAIVE = r"\d{4}-\d{2}-\d{2}([ T]\d{2}(:\d{2}(:\d{2}([.,]\d{1,9})?)?)?)?"
_ZONED = r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)? ?(Z|[+-]\d{2}(:?\d{2})?)"
_ZONE_DIRECTIVES = ("%z", "%Z")


def parse_times(
    column: pa.Array | pa.ChunkedArray,
    formats: tuple[str, ...] = ("iso",),
    time_zone: str | None = None,
    nulls: tuple[str, ...] = (),
) -> tuple[pa.Array, Mask]:
    """Instants from text in any of the formats, from numbers (unix formats) or from time columns.

    Args:
        column: as it stands in the file.
        formats: `iso`, `unix`, `unix-ms`, `unix-us` or strptime patterns, tried in order.
        time_zone: of times that name none.
        nulls: texts that mean nothing.

    Returns:
        timestamp[us, UTC] values (null where there was none or it is bad) and which are bad.

    Raises:
        ConfigError: wall-clock times, and no zone named.
    """
    values = flat(column)
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        moments = _from_typed(values, time_zone)
        return _within_range(moments, mask(pc.is_valid(values)))
    text = nfkc(as_text(values, nulls))
    given = mask(pc.is_valid(text))
    found = pa.nulls(len(text), INSTANT)
    for form in formats:
        open_rows = given & ~mask(pc.is_valid(found))
        if not open_rows.any():
            break
        rest = text if open_rows.all() else pc.if_else(pa.array(open_rows), text, None)
        found = pc.coalesce(found, _read(rest, form, time_zone))
    return _within_range(found, given)


def _within_range(moments: pa.Array, given: Mask) -> tuple[pa.Array, Mask]:
    raw = moments.cast(pa.int64())
    fine = pc.and_(pc.greater_equal(raw, EARLIEST), pc.less(raw, LATEST))
    bad = given & ~mask(fine)
    return (pc.if_else(fine, moments, None), bad) if bad.any() else (moments, bad)


def _from_typed(values: pa.Array, time_zone: str | None) -> pa.Array:
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        return values.cast(INSTANT, safe=False)
    return _to_utc(values.cast(pa.timestamp("us"), safe=False), time_zone)


def _read(text: pa.Array, form: str, time_zone: str | None) -> pa.Array:
    if form in UNIX_FORMATS:
        return _from_unix(text, UNIX_FORMATS[form])
    if form == "iso":
        return _from_iso(text, time_zone)
    return _from_pattern(text, form, time_zone)


def _from_unix(text: pa.Array, unit: int) -> pa.Array:
    readable = pc.match_substring_regex(text, r"^-?\d{1,17}(\.\d*)?$")
    number = pc.if_else(readable, text, None).cast(pa.float64())
    micros = pc.round(pc.multiply(number, float(unit)))
    fits = pc.less(pc.abs(micros), 2.0**62)
    return pc.if_else(fits, micros, None).cast(pa.int64(), safe=False).cast(INSTANT)


def _from_iso(text: pa.Array, time_zone: str | None) -> pa.Array:
    try:
        return _to_utc(text.cast(pa.timestamp("us")), time_zone)
    except pa.ArrowInvalid:
        pass  # some name a zone, or are not times: look closer
    try:
        return text.cast(INSTANT)
    except pa.ArrowInvalid:
        pass
    naive, zoned = _ask_duckdb(
        text,
        f"CASE WHEN regexp_full_match(t, '{_NAIVE}') THEN try_cast(replace(t, ',', '.') AS TIMESTAMP) END",
        f"CASE WHEN regexp_full_match(t, '{_ZONED}') THEN epoch_us(try_cast(replace(t, ',', '.') AS TIMESTAMPTZ)) END",
    )
    return pc.coalesce(zoned.cast(INSTANT), _to_utc(naive, time_zone))


def _from_pattern(text: pa.Array, pattern: str, time_zone: str | None) -> pa.Array:
    quoted = pattern.replace("'", "''")
    try:
        if any(directive in pattern for directive in _ZONE_DIRECTIVES):
            return _ask_duckdb(text, f"epoch_us(try_strptime(t, '{quoted}'))")[0].cast(INSTANT)
        naive = _ask_duckdb(text, f"try_strptime(t, '{quoted}')")[0]
    except duckdb.Error as error:
        hint = "use iso, unix, unix-ms or a strptime pattern such as %Y/%m/%d %H:%M"
        problem = str(error).splitlines()[0]
        raise ConfigError(f"not a time format ({problem})", where="time_formats", got=pattern, hint=hint) from None
    return _to_utc(naive, time_zone)


def _ask_duckdb(text: pa.Array, *expressions: str) -> list[pa.Array]:
    """Expressions over one column `t`; DuckDB reads what pyarrow would refuse as a whole, and marks what is wrong."""
    with duckdb.connect(config={"threads": 1}) as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.register("texts", pa.table({"t": text}))
        columns = ", ".join(f"{expression} AS e{place}" for place, expression in enumerate(expressions))
        found = duck.sql(f"SELECT {columns} FROM texts").to_arrow_table()
    return [flat(column) for column in found.columns]


def _to_utc(naive: pa.Array, time_zone: str | None) -> pa.Array:
    raw = naive.cast(pa.timestamp("us")).cast(pa.int64())
    if raw.null_count == len(raw):
        return raw.cast(INSTANT)
    if time_zone is None:
        hint = 'name their zone in the mapping, e.g. time_zone = "Asia/Tokyo"'
        raise ConfigError("times without a zone", got=naive.drop_null()[0].as_py().isoformat(), hint=hint)
    wall: Instants = pc.fill_null(raw, 0).to_numpy(zero_copy_only=False)
    moments = pa.array(wall_to_utc(wall, time_zone), pa.int64())
    return (pc.if_else(pc.is_valid(raw), moments, None) if raw.null_count else moments).cast(INSTANT)


def wall_to_utc(wall: Instants, time_zone: str) -> Instants:
    """Instants of wall-clock readings in a zone.

    After a change at instant U from offset a to offset b (east is positive), readings from U + a on belong to b. With
    clocks going back, readings in [U + b, U + a) occur twice and still count as before; with clocks going forward,
    those in [U + a, U + b) do not occur and become U, the maximum of (reading - b) and U.

    Args:
        wall: int64[n], microseconds that the wall clock shows, counted as if it were in UTC.
        time_zone: IANA name.
    """
    if not len(wall):
        return wall
    inside = np.clip(wall, EARLIEST, LATEST - 1)
    changes = _changes_around(time_zone, np.unique(inside.astype("datetime64[us]").astype("datetime64[Y]")))
    boundaries = np.array([at + before for at, before, _ in changes], np.int64)
    places = np.searchsorted(boundaries, wall, side="right") - 1
    at = np.array([change[0] for change in changes], np.int64)
    after = np.array([change[2] for change in changes], np.int64)
    moments: Instants = np.maximum(wall - after[places], at[places])
    return moments


def _changes_around(time_zone: str, years: npt.NDArray[np.datetime64]) -> list[tuple[int, int, int]]:
    """Changes of the years and of those before them; where a run of years begins, its beginning counts as one."""
    wanted = sorted({int(year) + 1970 - back for year in years.astype(np.int64) for back in (0, 1)})
    found: list[tuple[int, int, int]] = []
    for year in wanted:
        found.extend(_changes(time_zone, year)[1 if year - 1 in wanted else 0 :])
    return found


@lru_cache(maxsize=4096)
def _changes(time_zone: str, year: int) -> tuple[tuple[int, int, int], ...]:
    """(instant, offset before, offset after) of a year's clock changes, the year's beginning first as no change."""
    start, end = (to_instant(datetime(y, 1, 1, tzinfo=UTC)) for y in (year, year + 1))
    first = _offset(time_zone, start)
    found = [(start, first, first)]
    before = first
    for day in range(start, end, DAY):
        after = _offset(time_zone, min(day + DAY, end))
        if after != before:
            found.append((_change_between(time_zone, day, min(day + DAY, end), before), before, after))
            before = after
    return tuple(found)


def _change_between(time_zone: str, low: int, high: int, before: int) -> int:
    while high - low > SECOND:
        middle = (low + high) // 2 // SECOND * SECOND
        low, high = (middle, high) if _offset(time_zone, middle) == before else (low, middle)
    return high


def _offset(time_zone: str, instant: int) -> int:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)
    offset = moment.astimezone(zone(time_zone)).utcoffset()
    return 0 if offset is None else offset // timedelta(microseconds=1)
