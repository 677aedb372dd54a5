"""Text is matched folded, shown as written; hashes are the same on every machine."""

from __future__ import annotations

import hashlib

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.text import event_key, fold, stable_hash, unit_hash

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("ソファー", "ソファー"),
        ("ｿﾌｧｰ", "ソファー"),
        ("ＡＢＣ　１２３", "abc 123"),
        ("  Green \t Tea\n", "green tea"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("cafe\u0301", "caf\u00e9"),
        ("Stra\u00dfe\u0301", "strass\u00e9"),
        ("\u00df\u0301", "s\u015b"),  # folding makes ss, and the accent joins the second
        ("", ""),
    ],
)
def test_fold_examples(written: str, folded: str) -> None:
    """Half width, full width, case, spaces and accents do not tell two texts apart."""
    assert fold(written) == folded


@given(ANY_TEXT)
def test_folding_twice_changes_nothing(text: str) -> None:
    """A folded text is its own folded form, so stored folded text can be compared with fresh."""
    assert fold(fold(text)) == fold(text)


def test_stable_hash_is_frozen() -> None:
    """The value stands in files: blake2b of the length-prefixed parts, little-endian."""
    digest = hashlib.blake2b(b"\x02\x00\x00\x00ab" + b"\x01\x00\x00\x00c", digest_size=8).digest()
    assert stable_hash("ab", "c") == int.from_bytes(digest, "little")


@given(st.lists(ANY_TEXT, max_size=4), st.lists(ANY_TEXT, max_size=4))
def test_stable_hash_tells_parts_apart(first: list[str], second: list[str]) -> None:
    """Equal parts hash alike, other parts (also the same characters cut elsewhere) do not."""
    assert (stable_hash(*first) == stable_hash(*second)) == (first == second)
    assert 0 <= stable_hash(*first) < 2**64


@given(st.lists(ANY_TEXT, max_size=3))
def test_unit_hash_is_below_one(parts: list[str]) -> None:
    """A draw lies in [0, 1), never at 1 itself."""
    assert 0.0 <= unit_hash(*parts) < 1.0


def test_unit_hash_is_even() -> None:
    """A tenth of 20,000 draws falls below 0.1: expected 2,000, standard deviation 42, allowed six of them."""
    below = sum(unit_hash("salt", str(n)) < 0.1 for n in range(20_000))
    assert abs(below - 2_000) < 6 * 42.5


def test_event_key_takes_any_string() -> None:
    """A lone surrogate, which no file can hold but a caller can send, has a key instead of a traceback."""
    assert event_key("\ud800") != event_key("\ud801")


@given(st.lists(st.text(max_size=20), min_size=1, max_size=10))
def test_event_key_is_what_duckdb_computes(event_ids: list[str]) -> None:
    """The key of an event from the wire equals the key of the same event in the dataset."""
    with duckdb.connect() as connection:
        for text in event_ids:
            found = connection.execute("SELECT md5_number_lower(?)", [text]).fetchone()
            assert found == (event_key(text),)
