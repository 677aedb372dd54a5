"""Moments: instants are exact, and local time is right on every day of the year, clock changes included."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from features.moments import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    format_instant,
    local_columns,
    local_time,
    parse_instant,
    season_of,
    to_datetime,
    to_instant,
    zone,
)

INSTANTS = st.integers(to_instant(datetime(1905, 1, 1, tzinfo=UTC)), to_instant(datetime(2095, 1, 1, tzinfo=UTC)))
ZONES = st.sampled_from(
    [
        "UTC", "Asia/Tokyo", "Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo",
        "America/Havana", "Africa/Cairo", "Asia/Kathmandu", "Pacific/Apia", "America/Santiago",
    ]
)  # fmt: skip


@given(INSTANTS)
def test_instants_round_trip(instant: int) -> None:
    """Instant to datetime to instant, and instant to text to instant, lose no microsecond."""
    assert to_instant(to_datetime(instant)) == instant
    assert parse_instant(format_instant(instant)) == instant


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_offsets_are_honoured(wall: datetime, minutes: int) -> None:
    """The same wall time one offset further east is that much earlier."""
    moment = wall.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = to_instant(wall.replace(tzinfo=UTC)) - minutes * MINUTE
    assert to_instant(moment) == expected
    assert parse_instant(moment.isoformat()) == expected


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01", 0),
        ("1970-01-02", DAY),
        (" 1970-01-01T00:00Z ", 0),
        ("1970-01-01T09:00:00+09:00", 0),
        ("1969-12-31T19:00:00.5-05:00", SECOND // 2),
        ("1970-01-01 00:01:00Z", MINUTE),
    ],
)
def test_parse_examples(text: str, instant: int) -> None:
    """ISO 8601 with a zone; a bare date is midnight UTC; outer spaces do not matter."""
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2017-13-01", "2017-02-30", "12/01/2017", "1483228800", "2017-01-01T25:00Z"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Anything else is a DataError that says where, what it got, and what to write."""
    with pytest.raises(DataError) as caught:
        parse_instant(text, where="--as-of")
    assert caught.value.line().startswith("--as-of: not a time; got ")
    assert "ISO 8601" in caught.value.line()


@pytest.mark.parametrize("text", ["2017-01-01T00:00", "2017-01-01 09:30:00", "20170101T0930"])
def test_times_without_a_zone_are_refused(text: str) -> None:
    """A naive time is never guessed to be UTC."""
    with pytest.raises(DataError, match="without a zone"):
        parse_instant(text)


def test_naive_datetimes_are_refused() -> None:
    """A datetime without a zone has no instant."""
    with pytest.raises(DataError, match="without a zone"):
        to_instant(datetime(2017, 1, 1))


def test_texts_carry_microseconds_only_when_there_are_any() -> None:
    """2017-12-01T00:00:00Z is written as people write it."""
    assert format_instant(parse_instant("2017-12-01")) == "2017-12-01T00:00:00Z"
    assert format_instant(parse_instant("2017-12-01") + 1) == "2017-12-01T00:00:00.000001Z"


@pytest.mark.parametrize(
    ("zone_name", "day", "hours"),
    [
        ("America/New_York", "2017-03-12", 23),
        ("America/New_York", "2017-11-05", 25),
        ("America/New_York", "2017-07-04", 24),
        ("Europe/London", "2011-03-27", 23),
        ("Europe/London", "2011-10-30", 25),
        ("America/Sao_Paulo", "2018-11-04", 23),  # the clock springs over midnight itself: the day begins at 01:00
        ("Australia/Lord_Howe", "2017-10-01", 23.5),  # half an hour of summer time
        ("Asia/Tokyo", "2017-03-12", 24),
    ],
)
def test_local_days_have_their_real_length(zone_name: str, day: str, hours: float) -> None:
    """A local day lasts 23 or 25 hours when the clock changes, and one day begins where the last ended."""
    noon = datetime.combine(date.fromisoformat(day), datetime.min.time(), zone(zone_name)) + timedelta(hours=12)
    local = local_time(to_instant(noon), zone_name)
    assert (local.day_end - local.day_start) / HOUR == hours
    assert local_time(local.day_end, zone_name).day_start == local.day_end
    assert local_time(local.day_end - 1, zone_name).day_start == local.day_start


def test_hours_across_both_clock_changes() -> None:
    """In New York 01:59 is followed by 03:00 in March, and 01:59 by 01:00 in November."""
    spring = parse_instant("2017-03-12T07:00Z")  # 02:00 EST does not exist
    assert [local_time(spring + delta, "America/New_York").hour for delta in (-1, 0)] == [1, 3]
    autumn = parse_instant("2017-11-05T06:00Z")  # 02:00 EDT becomes 01:00 EST
    assert [local_time(autumn + delta, "America/New_York").hour for delta in (-1, 0, HOUR)] == [1, 1, 2]


def test_weekday_and_month_are_local() -> None:
    """Friday evening in New York is Saturday in UTC and December in Tokyo."""
    instant = parse_instant("2017-12-01T01:00Z")  # a Friday in UTC
    assert local_time(instant, "UTC").weekday == 4
    new_york, tokyo = local_time(instant, "America/New_York"), local_time(instant, "Asia/Tokyo")
    assert (new_york.hour, new_york.weekday, new_york.month, new_york.season) == (20, 3, 11, "autumn")
    assert (tokyo.hour, tokyo.weekday, tokyo.month, tokyo.season) == (10, 4, 12, "winter")


@given(INSTANTS, ZONES)
def test_every_instant_lies_in_its_local_day(instant: int, zone_name: str) -> None:
    """day_start <= instant < day_end, in every zone and year; the same wall clock as the standard library's."""
    local = local_time(instant, zone_name)
    wall = to_datetime(instant).astimezone(zone(zone_name))
    assert local.day_start <= instant < local.day_end
    assert (local.hour, local.weekday, local.month) == (wall.hour, wall.weekday(), wall.month)


ZONES = ("UTC", "America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Auckland")


@given(st.lists(st.integers(5_000 * DAY, 22_000 * DAY), max_size=20), st.sampled_from(ZONES), st.integers(0, 365))
def test_many_instants_at_once(instants: list[int], zone_name: str, day: int) -> None:
    """As one by one; every half hour of some day is among them, so that each change of clocks comes to be looked at."""
    whole = [*instants, *range((20_000 + day) * DAY, (20_001 + day) * DAY, HOUR // 2)]
    found = local_columns(np.array(whole, np.int64), zone_name)
    each = [local_time(instant, zone_name) for instant in whole]
    expected = [[one.hour for one in each], [one.weekday for one in each], [one.month for one in each]]
    assert [column.tolist() for column in found] == expected


def test_seasons_north_and_south() -> None:
    """December opens the northern winter and the southern summer; the halves are six months apart."""
    north = [season_of(month) for month in range(1, 13)]
    assert north == ["winter"] * 2 + ["spring"] * 3 + ["summer"] * 3 + ["autumn"] * 3 + ["winter"]
    assert [season_of(month, southern=True) for month in range(1, 13)] == north[6:] + north[:6]
    christmas = parse_instant("2017-12-25")
    assert local_time(christmas, "Australia/Sydney", southern=True).season == "summer"


@pytest.mark.parametrize("name", ["", "Mars/Base", "../etc/passwd", "Asia", "\0"])
def test_unknown_zones_are_refused(name: str) -> None:
    """A zone that does not exist is a ConfigError with an example."""
    with pytest.raises(ConfigError, match="Asia/Tokyo"):
        zone(name)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_what_no_calendar_has_is_a_sentence(text: str) -> None:
    """As UTC these lie beyond the years that there are."""
    with pytest.raises(DataError, match="outside the calendar"):
        parse_instant(text)
