"""Errors are one line that says what, where, got, and what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import (
    BundleError,
    ConfigError,
    DataError,
    GateRefusalError,
    KokyakuError,
    NotFoundError,
    RequestError,
    Unavailable,
)


def test_the_line_has_all_four_parts_in_order() -> None:
    """where: what; got ...; hint."""
    error = DataError("not a price", where="orders.csv line 7, column price", got="abc", hint="write 1980 or ¥1,980")
    assert error.line() == "orders.csv line 7, column price: not a price; got 'abc'; write 1980 or ¥1,980"
    assert str(error) == error.line()


def test_parts_that_are_missing_leave_no_trace() -> None:
    """Without where, got and hint the line is the sentence."""
    assert ConfigError("no shop").line() == "no shop"
    assert ConfigError("no shop", got=None).line() == "no shop"


@given(st.text())
def test_what_was_got_never_breaks_the_line(got: str) -> None:
    """Whatever somebody sent, the message stays one short line."""
    line = DataError("bad", got=got).line()
    assert len(line.splitlines()) == 1
    assert len(line) < 100


def test_falsy_values_are_shown() -> None:
    """Zero and the empty string are values, and the message shows them."""
    assert DataError("bad", got=0).line() == "bad; got 0"
    assert DataError("bad", got="").line() == "bad; got ''"


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        (DataError, "invalid_data", 400),
        (ConfigError, "invalid_config", 400),
        (NotFoundError, "not_found", 404),
        (RequestError, "invalid_request", 400),
        (BundleError, "invalid_bundle", 503),
        (Unavailable, "unavailable", 503),
        (GateRefusalError, "refused", 400),
    ],
)
def test_codes_and_statuses_are_a_contract(kind: type[KokyakuError], code: str, status: int) -> None:
    """Clients branch on the code; it does not change, and every class has its own."""
    assert (kind.code, kind.status) == (code, status)
    assert issubclass(kind, KokyakuError)
