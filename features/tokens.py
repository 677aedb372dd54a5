"""Words of titles, so that spellings of the same thing share most of them: pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from features.text import fold

_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc-\u30fe\u3099\u309a]+")
_CJK = "[\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
_RUNS = re.compile(f"(?P<cjk>{_CJK}+)|(?P<word>(?:(?!{_CJK})[^\\W_])+)")
_LONG = {
    "ア": "アカガサザタダナハバパマヤラワァャヮ",
    "イ": "イキギシジチヂニヒビピミリィ",
    "ウ": "ウクグスズツヅヌフブプムユルゥュ",
    "エ": "エケゲセゼテデネヘベペメレェ",
    "オ": "オコゴソゾトドノホボポモヨロヲォョ",
}
"""Vowel -> the letters that it prolongs."""


def fold_title(text: str) -> str:
    """As `fold`, and a katakana word loses its long last vowel, which shops write or leave out.

    >>> fold_title("ｿﾌｧｰ") == fold_title("ソファー") == fold_title("ソファア") == fold_title("ソファ")
    True
    """
    return _KATAKANA.sub(lambda word: _shortened(word.group()), fold(text))


def title_tokens(text: str) -> Iterator[str]:
    """The tokens of a title, repeated as often as they occur.

    A run of Japanese or Chinese letters, which has no spaces, gives its character 2- and 3-grams; any other word gives
    itself and, where it is longer than three letters, its 3- and 4-grams with its two ends marked.
    """
    for run in _RUNS.finditer(fold_title(text)):
        word = run.group()
        if run.lastgroup == "cjk":
            yield from (_grams(word, 2, 3) if len(word) > 1 else (word,))
            continue
        yield word
        if len(word) > 3:
            yield from (f"#{gram}" for gram in _grams(f"^{word}$", 3, 4))


def _shortened(word: str) -> str:
    while len(word) > 1 and (word[-1] == "ー" or word[-2] in _LONG.get(word[-1], "")):
        word = word[:-1]
    return word


def _grams(word: str, *sizes: int) -> Iterator[str]:
    return (word[at : at + size] for size in sizes for at in range(len(word) - size + 1))
