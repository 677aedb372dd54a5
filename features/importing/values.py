"""Texts, numbers and lists out of a file's columns: whole columns at a time, what cannot be read marked as bad."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError

Mask = npt.NDArray[np.bool_]

SIGNS: Final = {
    "JPY": ("¥", "\\", "円", "JPY"),  # CP932 keeps the yen sign where ASCII has the backslash
    "CNY": ("¥", "元", "CNY"),
    "USD": ("$", "USD"),
    "EUR": ("€", "EUR"),
    "GBP": ("£", "GBP"),
    "KRW": ("₩", "KRW"),
}
"""How amounts of a currency are marked, after NFKC (which makes ¥ of the full-width sign)."""

_TRUE: Final = ("true", "t", "1", "yes", "y", "on", "はい", "有", "有り", "あり", "○", "◯")
_FALSE: Final = ("false", "f", "0", "no", "n", "off", "いいえ", "無", "無し", "なし", "×")
_PLAIN = r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?$"
_UNIT_SEPARATOR = "\x1f"


def mask(values: pa.Array | pa.ChunkedArray) -> Mask:
    """Booleans as numpy, null as False."""
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    found: Mask = pc.fill_null(flat, False).to_numpy(zero_copy_only=False)
    return found


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def as_text(column: pa.Array | pa.ChunkedArray, nulls: tuple[str, ...] = ()) -> pa.Array:
    """Any column as text without white space around it; empty text and the named nulls become null.

    Whole numbers that a spreadsheet made floats (17850.0) are written without the fraction.
    """
    values = flat(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_floating(values.type) and _all_whole(values):
        values = values.cast(pa.int64())
    if not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    values = pc.utf8_trim_whitespace(values)
    empty = pc.equal(values, "")
    if nulls:
        empty = pc.or_(empty, pc.is_in(values, pa.array(nulls, pa.string())))
    return pc.if_else(empty, None, values) if pc.any(empty).as_py() else values


def _all_whole(values: pa.Array) -> bool:
    known = values.drop_null()
    whole = pc.and_(pc.equal(known, pc.floor(known)), pc.less(pc.abs(known), 2.0**53))
    return bool(pc.all(whole, min_count=0).as_py())


def nfkc(text: pa.Array) -> pa.Array:
    """Compatibility forms folded (full-width digits become digits); nothing to do where all is ASCII."""
    return text if pc.all(pc.string_is_ascii(text), min_count=0).as_py() else pc.utf8_normalize(text, form="NFKC")


def longer_than(text: pa.Array, limit: int) -> Mask | None:
    """Which texts have more than `limit` characters; None when none has."""
    longest = pc.max(pc.binary_length(text)).as_py()
    return mask(pc.greater(pc.utf8_length(text), limit)) if longest is not None and longest > limit else None


def parse_numbers(
    column: pa.Array | pa.ChunkedArray, *, decimal: str = ".", currency: str | None = None, nulls: tuple[str, ...] = ()
) -> tuple[pa.Array, Mask]:
    """Numbers as people write them: `1,980`, `¥1,980`, `１９８０円`, `(5)`, `▲5`, `1.980,50` where that is declared.

    Args:
        column: text, or numbers already.
        decimal: the decimal mark; the other of `.` and `,` may stand between groups of three digits.
        currency: ISO code whose signs may stand beside the number; None allows all known signs.
        nulls: texts that mean nothing.

    Returns:
        float64 values (null where there was none or it is bad) and which are bad.
    """
    values = flat(column)
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        numbers = values.cast(pa.float64())
        return _finite(numbers, values)
    text = as_text(values, nulls)
    if decimal == ".":
        try:
            return _finite(text.cast(pa.float64()), text)
        except pa.ArrowInvalid:
            pass  # at least one needs more than that
    plain = _plain(nfkc(text), decimal, currency)
    readable = pc.match_substring_regex(plain, _PLAIN)
    return _finite(pc.if_else(readable, plain, None).cast(pa.float64()), text)


def _finite(numbers: pa.Array, given: pa.Array) -> tuple[pa.Array, Mask]:
    """Numbers that are finite; infinity and NaN are bad (a NaN in a float column is how Parquet writers say null)."""
    finite = pc.is_finite(numbers)
    if pa.types.is_floating(given.type):
        given = pc.if_else(pc.is_nan(given), None, given)
    bad = mask(pc.is_valid(given)) & ~mask(finite)
    return (pc.if_else(finite, numbers, None), bad) if not pc.all(finite, min_count=0).as_py() else (numbers, bad)


def _plain(text: pa.Array, decimal: str, currency: str | None) -> pa.Array:
    """Signs of currency off, grouping marks out, a point before the decimals, a minus before the negative."""
    signs = "|".join(re.escape(sign) for sign in currency_signs(currency))
    number = pc.replace_substring_regex(text, rf"^(?:{signs})?\s*([-+−▲△(]?)\s*(?:{signs})?\s*", r"\1")
    number = pc.replace_substring_regex(number, rf"\s*(?:{signs})?\s*(\)?)$", r"\1")
    number = pc.replace_substring_regex(number, r"^\((.*)\)$", r"-\1")
    number = pc.replace_substring_regex(number, "^[−▲△]", "-")
    group, mark = (",", r"\.") if decimal == "." else (r"\.", ",")
    grouped = pc.match_substring_regex(number, rf"^[-+]?\d{{1,3}}({group}\d{{3}})+({mark}\d*)?$")
    number = pc.if_else(grouped, pc.replace_substring_regex(number, group, ""), number)
    if decimal == ".":
        return number
    wrong = pc.match_substring(number, ".")  # a point that groups nothing is no number in this style
    return pc.if_else(wrong, "", pc.replace_substring(number, ",", "."))


def currency_signs(currency: str | None) -> tuple[str, ...]:
    """What may stand beside an amount; of all known currencies where none is declared.

    Raises:
        ConfigError: an unknown currency.
    """
    if currency is None:
        return tuple(dict.fromkeys(sign for signs in SIGNS.values() for sign in signs))
    if currency.upper() not in SIGNS:
        hint = f"known: {', '.join(SIGNS)}"
        raise ConfigError("unknown currency", where="currency", got=currency, hint=hint)
    return SIGNS[currency.upper()]


def parse_booleans(column: pa.Array | pa.ChunkedArray, nulls: tuple[str, ...] = ()) -> tuple[pa.Array, Mask]:
    """Yes and no in the usual spellings; values, and which are neither."""
    values = flat(column)
    if pa.types.is_boolean(values.type):
        return values, np.zeros(len(values), bool)
    text = pc.utf8_lower(nfkc(as_text(values, nulls)))
    yes, no = (pc.is_in(text, pa.array(words, pa.string())) for words in (_TRUE, _FALSE))
    known = pc.or_(yes, no)
    bad = mask(pc.is_valid(text)) & ~mask(known)
    return pc.if_else(known, yes, None), bad


def parse_lists(column: pa.Array | pa.ChunkedArray, separator: str, nulls: tuple[str, ...] = ()) -> pa.Array:
    """Lists of texts from one column: a list column as it is, or text cut at the separator."""
    values = flat(column)
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        return values.cast(pa.list_(pa.string()))
    text = as_text(values, nulls)
    text = pc.replace_substring_regex(text, rf"\s*{re.escape(separator)}\s*", separator)
    return pc.split_pattern(text, separator)


def join_lists(columns: list[pa.Array | pa.ChunkedArray], nulls: tuple[str, ...] = ()) -> pa.Array:
    """Lists of texts from several columns, one value each; empty ones are left out."""
    texts = [as_text(column, nulls) for column in columns]
    return pc.split_pattern(join_present(texts, _UNIT_SEPARATOR), _UNIT_SEPARATOR)


def join_present(columns: Sequence[pa.Array], separator: str) -> pa.Array:
    """Texts of several columns joined by a sign, nulls left out; null where all are null.

    pyarrow's own way of skipping nulls loses the rows in which all are null, so one text is always there.
    """
    joined = pc.binary_join_element_wise("", *columns, separator, null_handling="skip")
    rest = pc.utf8_slice_codeunits(joined, len(separator))
    return pc.if_else(pc.equal(joined, ""), None, rest)


def json_objects(columns: dict[str, pa.Array], rows: int) -> pa.Array:
    """One JSON object a row of texts, numbers and booleans; nulls are left out, keys are sorted.

    Returns:
        Text; null where all fields are null.
    """
    pieces = [_member(name, columns[name]) for name in sorted(columns)]
    if not pieces:
        return pa.nulls(rows, pa.string())
    return pc.binary_join_element_wise("{", join_present(pieces, ","), "}", "")


def json_lists(columns: Sequence[pa.Array], rows: int) -> pa.Array:
    """One JSON list a row of texts, numbers and booleans, in the columns' order; nulls are `null`."""
    if not columns:
        return pa.repeat("[]", rows)
    pieces = [pc.fill_null(_written(values), "null") for values in columns]
    return pc.binary_join_element_wise("[", pc.binary_join_element_wise(*pieces, ","), "]", "")


def _member(name: str, values: pa.Array) -> pa.Array:
    key = '"' + _escape(pa.array([name]))[0].as_py() + '":'
    return pc.binary_join_element_wise(key, _written(values), "")


def _written(values: pa.Array) -> pa.Array:
    """Values as JSON; null where there is none."""
    if pa.types.is_string(values.type):
        return pc.binary_join_element_wise('"', _escape(values), '"', "")
    if pa.types.is_floating(values.type) and _all_whole(values):
        values = values.cast(pa.int64())
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type):
        return values.cast(pa.string())
    return _written(values.cast(pa.string()))


def _escape(text: pa.Array) -> pa.Array:
    """The inside of a JSON string."""
    if not pc.any(pc.match_substring_regex(text, r'["\\\x00-\x1f]')).as_py():
        return text
    for sign, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = pc.replace_substring(text, sign, written)
    for code in (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20)):
        if pc.any(pc.match_substring(text, chr(code))).as_py():
            text = pc.replace_substring(text, chr(code), f"\\u{code:04x}")
    return text
