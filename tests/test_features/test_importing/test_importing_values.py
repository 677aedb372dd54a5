"""Numbers, texts, yes and no, lists and JSON out of columns as people fill them."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from features.importing.values import (
    as_text,
    join_lists,
    json_objects,
    longer_than,
    parse_booleans,
    parse_lists,
    parse_numbers,
)


def number(text: str, **style: str) -> float | None:
    """One text as a number; None where it is refused."""
    values, bad = parse_numbers(pa.array([text]), **style)  # type: ignore[arg-type]
    assert bad[0] == (values[0].as_py() is None)
    found: float | None = values[0].as_py()
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1980", 1980), ("1,980", 1980), ("¥1,980", 1980), ("￥１，９８０", 1980), ("1,980円", 1980), ("\\1,980", 1980),
        ("１９８０", 1980), ("１９．８", 19.8), ("$ 1,234,567.89", 1234567.89), ("12.50 €", 12.5), ("JPY 300", 300),
        ("-5", -5), ("−5", -5), ("▲1,000", -1000), ("△7", -7), ("(5)", -5), ("(¥1,500)", -1500), ("¥-5", -5),
        ("+3", 3), ("  7 ", 7), ("1e3", 1000), (".5", 0.5), ("5.", 5),
    ],
)  # fmt: skip
def test_amounts_as_people_write_them(text: str, value: float) -> None:
    """Grouping commas, currency signs before or behind, full-width digits, accountants' minus signs."""
    assert number(text) == value


@pytest.mark.parametrize(
    "text", ["abc", "1,98", "1.980,50", "12,3456", "1,2,3", "¥", "--5", "nan", "inf", "-inf", "1 2", "0x10", "5%"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    """A comma that groups nothing is not guessed at, and infinity is no price."""
    assert number(text) is None


@pytest.mark.parametrize(
    ("text", "value"), [("1.980,50", 1980.5), ("1980,5", 1980.5), ("1.980", 1980), ("7", 7), ("€ 12,00", 12)]
)
def test_decimal_commas_where_they_are_declared(text: str, value: float) -> None:
    """1.980 is one thousand nine hundred and eighty there, and 1.98 is nothing."""
    assert number(text, decimal=",") == value
    assert number("1.98", decimal=",") is None


def test_a_declared_currency_refuses_the_others() -> None:
    """A dollar in a file of yen is a mistake, not 1,980 yen."""
    assert number("¥1,980", currency="JPY") == 1980
    assert number("$1,980", currency="JPY") is None
    with pytest.raises(ConfigError, match="unknown currency"):
        number("¥1,980", currency="YEN")


def test_numbers_that_are_numbers_already() -> None:
    """Integers, decimals and floats of Parquet; their NaN is how null was written, their infinity is bad."""
    values, bad = parse_numbers(pa.array([1.5, float("nan"), float("inf"), None]))
    assert values.to_pylist() == [1.5, None, None, None]
    assert bad.tolist() == [False, False, True, False]
    assert parse_numbers(pa.array([3, None]))[0].to_pylist() == [3.0, None]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32) | st.none(), max_size=20))
def test_numbers_survive_being_written(numbers: list[float | None]) -> None:
    """What Python writes of a float is read as that float, whichever way the column takes."""
    texts = [None if value is None else repr(value) for value in numbers]
    for extra in ([], ["¥1"]):  # the second needs the slow way for the whole column
        values, bad = parse_numbers(pa.array([*texts, *extra], pa.string()))
        assert values.to_pylist()[: len(numbers)] == numbers
        assert not bad.any()


@given(st.integers(-(10**12), 10**12))
def test_grouped_numbers_are_read_in_both_styles(value: int) -> None:
    """1,234,567 with commas, 1.234.567 with points."""
    grouped = f"{value:,}"
    assert number(grouped) == value
    assert number(grouped.replace(",", "."), decimal=",") == value


def test_text_is_trimmed_and_emptiness_is_null() -> None:
    """White space of any width goes; named nulls are null; what is inside stays as written."""
    text = as_text(pa.array(["  ａ ｂ\u3000", "", "   ", "NULL", None]), ("NULL",))
    assert text.to_pylist() == ["ａ ｂ", None, None, None, None]


def test_ids_that_a_spreadsheet_made_floats() -> None:
    """17850.0 is customer 17850, 0.5 stays what it is, integers are written plainly."""
    assert as_text(pa.array([17850.0, None])).to_pylist() == ["17850", None]
    assert as_text(pa.array([0.5, 2.0])).to_pylist() == ["0.5", "2"] or as_text(pa.array([0.5]))[0].as_py() == "0.5"
    assert as_text(pa.array([12, None])).to_pylist() == ["12", None]
    assert as_text(pa.array(["x", "x"]).dictionary_encode()).to_pylist() == ["x", "x"]


def test_length_is_counted_in_characters() -> None:
    """Three Japanese characters are three, although they are nine bytes."""
    assert longer_than(pa.array(["緑茶だ", "ab"]), 3) is None or not longer_than(pa.array(["緑茶だ", "ab"]), 3).any()  # type: ignore[union-attr]
    assert longer_than(pa.array(["abcd", "ab", None]), 3).tolist() == [True, False, False]  # type: ignore[union-attr]


def test_yes_and_no() -> None:
    """The usual words in two languages; anything else is refused rather than taken for no."""
    values, bad = parse_booleans(pa.array(["TRUE", "0", "はい", "×", "maybe", None]))
    assert values.to_pylist() == [True, False, True, False, None, None]
    assert bad.tolist() == [False, False, False, False, True, False]


def test_lists_from_one_column_and_from_several() -> None:
    """A path is cut at its separator, or joined from its levels without the empty ones."""
    assert parse_lists(pa.array(["a > b>c", None]), ">").to_pylist() == [["a", "b", "c"], None]
    levels = [pa.array(["food", None, None]), pa.array([" tea ", "x", None])]
    assert join_lists(levels).to_pylist() == [["food", "tea"], ["x"], None]


TEXTS = st.none() | st.text(st.characters(codec="utf-8"), max_size=8)


@given(st.lists(st.tuples(TEXTS, st.none() | st.integers(-5, 5), st.none() | st.booleans()), max_size=6))
def test_json_objects_are_json(rows: list[tuple[str | None, int | None, bool | None]]) -> None:
    """Any text, quotes and control characters included, comes back from the JSON as it went in."""
    names = ("te\"xt", "n", "b")  # fmt: skip
    kinds = (pa.string(), pa.float64(), pa.bool_())
    columns = {name: pa.array([row[i] for row in rows], kinds[i]) for i, name in enumerate(names)}
    written = json_objects(columns, len(rows)).to_pylist()
    for row, text in zip(rows, written, strict=True):
        expected = {name: value for name, value in zip(names, row, strict=True) if value is not None}
        assert (orjson.loads(text) if text is not None else {}) == expected
