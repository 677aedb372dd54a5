"""Tokens of titles: spellings of the same word are one word."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.tokens import fold_title, title_tokens

KANA = st.text(st.sampled_from("アイカガソファーｰｿﾌｧﾞ\u3099\u309bab 々木・"), max_size=12)


@given(st.one_of(st.text(max_size=20), KANA))
def test_folding_twice_is_folding_once(text: str) -> None:
    """Whatever the characters, combining marks after a long vowel included."""
    assert fold_title(fold_title(text)) == fold_title(text)


@given(st.one_of(st.text(max_size=20), KANA))
def test_width_changes_no_token(text: str) -> None:
    """A title and its NFKC form have the same tokens."""
    assert list(title_tokens(text)) == list(title_tokens(unicodedata.normalize("NFKC", text)))


@pytest.mark.parametrize("spelling", ["ソファー", "ｿﾌｧｰ", "ソファ", "ソファア", "ｿﾌｧ"])
def test_a_long_last_vowel_is_a_way_of_writing(spelling: str) -> None:
    """Five spellings of sofa are one, also inside a title."""
    assert fold_title(spelling) == "ソファ"
    assert list(title_tokens(f"木製{spelling} 2人掛け")) == list(title_tokens("木製ソファ 2人掛け"))


def test_vowels_that_belong_to_the_word_stay() -> None:
    """Only a vowel that prolongs the letter before it goes; a lone letter stays."""
    assert [fold_title(word) for word in ("ピア", "スーパー", "ア", "カバー")] == ["ピア", "スーパ", "ア", "カバ"]


def test_tokens_by_script() -> None:
    """Bigrams and trigrams without spaces; words, and parts of the longer ones, with them."""
    assert list(title_tokens("白木机")) == ["白木", "木机", "白木机"]
    assert list(title_tokens("A oak")) == ["a", "oak"]
    assert list(title_tokens("desk")) == [
        "desk", "#^de", "#des", "#esk", "#sk$", "#^des", "#desk", "#esk$",
    ]  # fmt: skip
