"""Vocabulary: a bijection between string ids and rows, whatever the ids look like."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import ids as ids_module
from features.errors import DataError, NotFoundError
from features.ids import Vocabulary

# Any characters at all: lone surrogates (category Cs) reach us through undecodable file names and old exports.
ANY_ID = st.text(st.characters(exclude_categories=()), min_size=1, max_size=12)
ID_LISTS = st.lists(ANY_ID, unique=True, max_size=40)


@given(ID_LISTS)
def test_rows_and_ids_are_a_bijection(ids: list[str]) -> None:
    """Every id has the row of its place, and every row gives its id back."""
    vocabulary = Vocabulary.of(ids)
    assert len(vocabulary) == len(ids)
    assert list(vocabulary) == ids
    assert [vocabulary[row] for row in range(len(ids))] == ids
    assert [vocabulary.row(text) for text in ids] == list(range(len(ids)))


@given(ID_LISTS, ANY_ID)
def test_unknown_ids_are_none_and_never_a_row(ids: list[str], other: str) -> None:
    """`find` answers None for an id that is not there, `row` raises, `in` is False."""
    known = [text for text in ids if text != other]
    vocabulary = Vocabulary.of(known)
    assert vocabulary.find(other) is None
    assert other not in vocabulary
    with pytest.raises(NotFoundError, match="unknown id"):
        vocabulary.row(other)


@given(ID_LISTS)
def test_arrays_round_trip(ids: list[str]) -> None:
    """What `arrays` gives, `from_arrays` reads, under a prefix, without a change."""
    arrays = Vocabulary.of(ids).arrays("items")
    assert set(arrays) == {"items.blob", "items.offsets", "items.hashes", "items.rows"}
    again = Vocabulary.from_arrays(arrays, "items")
    assert list(again) == ids
    assert [again.find(text) for text in ids] == list(range(len(ids)))


@given(ID_LISTS, st.integers(1, 3))
def test_hash_collisions_change_nothing(ids: list[str], buckets: int) -> None:
    """Ids whose hashes are equal still find their own row, and strangers still find none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids_module, "hash_of", lambda raw: len(raw) % buckets)
        vocabulary = Vocabulary.of(ids)
        assert [vocabulary.find(text) for text in ids] == list(range(len(ids)))
        absent = "never" + "".join(ids)
        assert vocabulary.find(absent) is None


@given(ID_LISTS, ID_LISTS)
def test_rows_of_marks_unknown_ids(ids: list[str], asked: list[str]) -> None:
    """`rows_of` gives -1 exactly for ids that are not there."""
    vocabulary = Vocabulary.of(ids)
    expected = [ids.index(text) if text in ids else -1 for text in asked]
    rows = vocabulary.rows_of(asked)
    assert rows.dtype == np.int32
    assert rows.tolist() == expected


@given(ID_LISTS, ID_LISTS)
def test_translation_keeps_the_id(ours: list[str], theirs: list[str]) -> None:
    """`translate_to` leads to the row of the same id, or to -1."""
    first, second = Vocabulary.of(ours), Vocabulary.of(theirs)
    translation = first.translate_to(second)
    assert len(translation) == len(ours)
    for row, text in enumerate(ours):
        target = int(translation[row])
        assert (second[target] == text) if target >= 0 else (text not in theirs)


POOL = st.lists(st.sampled_from(["a", "b", "é", "ab", "ba", "\ud800", "x" * 300, "店", "店店"]), unique=True)


@given(POOL, POOL, st.sampled_from([0, 1, 2, 3]), st.sampled_from([1, 2, 2048]))
def test_translation_survives_collisions(ours: list[str], theirs: list[str], buckets: int, piece: int) -> None:
    """Ids that both have in common, some of them beside strangers of the same hash (none with 0 buckets)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids_module, "_PIECE", piece)
        if buckets:
            patch.setattr(ids_module, "hash_of", lambda raw: len(raw) % buckets)
        found = Vocabulary.of(ours).translate_to(Vocabulary.of(theirs))
        assert found.dtype == np.int32
        assert found.tolist() == [theirs.index(text) if text in theirs else -1 for text in ours]


def test_rows_outside_the_vocabulary_are_an_error() -> None:
    """A row of -1 raises instead of reading the last id."""
    vocabulary = Vocabulary.of(["a", "b"])
    for row in (-1, 2):
        with pytest.raises(IndexError):
            vocabulary[row]


def test_empty_and_repeated_ids_are_refused() -> None:
    """A vocabulary of an empty or a repeated id cannot be built; the message says which row is empty."""
    with pytest.raises(DataError, match="row 1: an empty id"):
        Vocabulary.of(["a", ""])
    with pytest.raises(DataError, match="occurs twice"):
        Vocabulary.of(["a", "b", "a"])


def test_ids_are_not_normalised() -> None:
    """Ids that look alike stay apart: full width, composed and decomposed, case, outer spaces."""
    alike = ["A1", "a1", "Ａ１", " A1", "caf\u00e9", "cafe\u0301", "0A1"]
    vocabulary = Vocabulary.of(alike)
    assert [vocabulary.row(text) for text in alike] == list(range(len(alike)))


def test_anything_but_a_string_is_not_in_it() -> None:
    """`in` with a number or None is False, not an error."""
    vocabulary = Vocabulary.of(["1"])
    assert 1 not in vocabulary
    assert None not in vocabulary
    assert "1" in vocabulary


def test_hashes_are_sorted_so_that_lookup_may_bisect() -> None:
    """The hashes ascend, which `find` relies on."""
    hashes = Vocabulary.of(str(n) for n in range(500)).hashes.tolist()
    assert all(low <= high for low, high in pairwise(hashes))


def test_a_vocabulary_travels_to_other_processes() -> None:
    """And is copied: its views of the arrays are made anew there."""
    made = Vocabulary.of(["a", "名前", "b"])
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert list(again) == list(made) and [again.find(text) for text in made] == [0, 1, 2]
