"""Times: every way of writing them, and the wall clock of a zone on the two nights when it is changed."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from features.importing.times import parse_times, wall_to_utc
from features.moments import format_instant, parse_instant, to_instant


def read(text: str | int, *formats: str, zone: str | None = None) -> str | None:
    """One time as ISO in UTC; None where it is refused."""
    moments, bad = parse_times(pa.array([text]), formats or ("iso",), zone)
    value = moments.cast(pa.int64())[0].as_py()
    assert bad[0] == (value is None)
    return None if value is None else format_instant(value)


@pytest.mark.parametrize(
    ("text", "formats", "expected"),
    [
        ("2024-01-05 10:20:30", ("iso",), "2024-01-05T01:20:30Z"),
        ("2024-01-05T10:20", ("iso",), "2024-01-05T01:20:00Z"),
        ("2024-01-05", ("iso",), "2024-01-04T15:00:00Z"),
        ("2024-01-05 10:20:30.25", ("iso",), "2024-01-05T01:20:30.250000Z"),
        ("2024-01-05T10:20:30Z", ("iso",), "2024-01-05T10:20:30Z"),
        ("2024-01-05T10:20:30+02:00", ("iso",), "2024-01-05T08:20:30Z"),
        ("２０２４-０１-０５ １０:２０", ("iso",), "2024-01-05T01:20:00Z"),
        ("2024/1/5 9:05", ("%Y/%m/%d %H:%M",), "2024-01-05T00:05:00Z"),
        ("2024年01月05日", ("%Y年%m月%d日",), "2024-01-04T15:00:00Z"),
        ("05.01.2024 10:20", ("iso", "%d.%m.%Y %H:%M"), "2024-01-05T01:20:00Z"),
        ("2024-01-05 10:20 +0000", ("%Y-%m-%d %H:%M %z",), "2024-01-05T10:20:00Z"),
        ("1704450030", ("unix",), "2024-01-05T10:20:30Z"),
        (1704450030, ("unix",), "2024-01-05T10:20:30Z"),
        ("1704450030250", ("unix-ms",), "2024-01-05T10:20:30.250000Z"),
        ("1704450030.5", ("unix",), "2024-01-05T10:20:30.500000Z"),
    ],
)
def test_ways_of_writing_a_time(text: str | int, formats: tuple[str, ...], expected: str) -> None:
    """A time that names its zone keeps it; another belongs to the mapping's, here Tokyo."""
    assert read(text, *formats, zone="Asia/Tokyo") == expected


@pytest.mark.parametrize("text", ["yesterday", "2024-02-30", "2024-13-01", "0001-01-01", "2024-01-05 25:00", "12:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """The thirtieth of February does not become the first of March; placeholders are no times."""
    assert read(text, "iso", "%Y-%m-%d", "%Y-%m-%d %H:%M", zone="UTC") is None


def test_one_bad_time_does_not_spoil_the_column() -> None:
    """Good and bad, with a zone and without, in one column."""
    texts = ["2024-01-05 10:00", None, "x", "2024-01-05T10:00:00Z", "2024-01-05 10:00:00,5", "2023-02-29"]
    moments, bad = parse_times(pa.array(texts), ("iso",), "Asia/Tokyo")
    found = [None if i is None else format_instant(i) for i in moments.cast(pa.int64()).to_pylist()]
    assert found == [
        "2024-01-05T01:00:00Z", None, None, "2024-01-05T10:00:00Z", "2024-01-05T01:00:00.500000Z", None,
    ]  # fmt: skip
    assert bad.tolist() == [False, False, True, False, False, True]


def test_wall_clock_times_need_a_zone() -> None:
    """It is not guessed; times that name their own need none."""
    with pytest.raises(ConfigError, match=r"times without a zone.*time_zone"):
        read("2024-01-05 10:20")
    assert read("2024-01-05T10:20:00Z") == "2024-01-05T10:20:00Z"
    with pytest.raises(ConfigError, match="unknown time zone"):
        read("2024-01-05 10:20", zone="Asia/Tokio")


def test_a_format_that_is_none_is_said_to_be_none() -> None:
    """The message names the pattern."""
    with pytest.raises(ConfigError, match="not a time format"):
        read("2024", "%Q", zone="UTC")


def test_clocks_go_back_the_first_of_the_two_is_meant() -> None:
    """London, 27 October 2024: 01:30 occurs at 00:30Z (summer time) and at 01:30Z; after 02:00 there is no doubt."""
    assert read("2024-10-27 00:59", zone="Europe/London") == "2024-10-26T23:59:00Z"
    assert read("2024-10-27 01:30", zone="Europe/London") == "2024-10-27T00:30:00Z"
    assert read("2024-10-27 02:00", zone="Europe/London") == "2024-10-27T02:00:00Z"


def test_clocks_go_forward_a_time_that_never_was_is_the_change() -> None:
    """New York, 10 March 2024: 02:00 to 03:00 does not occur; the clock jumps at 07:00Z."""
    assert read("2024-03-10 01:59", zone="America/New_York") == "2024-03-10T06:59:00Z"
    assert read("2024-03-10 02:30", zone="America/New_York") == "2024-03-10T07:00:00Z"
    assert read("2024-03-10 03:00", zone="America/New_York") == "2024-03-10T07:00:00Z"


def test_typed_time_columns() -> None:
    """Parquet's timestamps and dates; nanoseconds are cut to microseconds."""
    naive = pa.array([datetime(2024, 1, 5, 10, 20)], pa.timestamp("ns"))
    aware = pa.array([datetime(2024, 1, 5, 10, 20, tzinfo=UTC)], pa.timestamp("ms", "Asia/Tokyo"))
    day = pa.array([datetime(2024, 1, 5).date()])
    found = [
        parse_times(column, ("iso",), "Asia/Tokyo")[0].cast(pa.int64())[0].as_py() for column in (naive, aware, day)
    ]
    expected = ["2024-01-05T01:20:00Z", "2024-01-05T10:20:00Z", "2024-01-04T15:00:00Z"]
    assert [format_instant(instant) for instant in found] == expected


ZONES = (
    "Europe/London",
    "America/New_York",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
)
WALL_CLOCKS = st.integers(to_instant(datetime(1971, 1, 1, tzinfo=UTC)), to_instant(datetime(2037, 1, 1, tzinfo=UTC)))


@given(st.sampled_from(ZONES), st.lists(WALL_CLOCKS, min_size=1, max_size=30))
def test_pyarrow_agrees(zone: str, wall: list[int]) -> None:
    """An implementation that is not ours, on any readings: the earliest of two, the first instant after a gap."""
    ours = wall_to_utc(np.array(wall, np.int64), zone)
    naive = pa.array(wall, pa.timestamp("us"))
    theirs = pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="latest").cast(pa.int64())
    assert ours.tolist() == theirs.to_pylist()


@given(st.sampled_from(ZONES), st.integers(1975, 2035), st.integers(1, 12))
def test_every_hour_around_a_month_end_agrees(zone: str, year: int, month: int) -> None:
    """Clock changes cluster there; each half hour of three days is compared."""
    start = parse_instant(f"{year}-{month:02d}-27")
    wall = start + np.arange(0, 6 * 48, dtype=np.int64) * 1_800_000_000
    theirs = pc.assume_timezone(pa.array(wall, pa.timestamp("us")), zone, ambiguous="earliest", nonexistent="latest")
    assert wall_to_utc(wall, zone).tolist() == theirs.cast(pa.int64()).to_pylist()
