"""Words of the studio, by locale. What engine and file say (reasons, titles, errors) stays in their own language."""

from __future__ import annotations

from typing import Final

from serving.web.studio.words_en import EN
from serving.web.studio.words_ja import JA

TEXTS: Final = {"en": EN, "ja": JA}


class Words:
    """The words of one language.

    Args:
        locale: `en` or `ja`; any other reads English.
    """

    def __init__(self, locale: str) -> None:
        self.locale = locale if locale in TEXTS else "en"
        self._table = TEXTS[self.locale]

    def __call__(self, key: str, /, **values: object) -> str:
        """The text of a key with its placeholders filled; a KeyError is a mistake of ours."""
        text = self._table[key]
        return text.format_map(values) if values else text

    def share(self, value: float | None, digits: int = 1) -> str:
        """A share in per cent; a dash where it is not known.

        >>> Words("en").share(0.1234), Words("en").share(None)
        ('12.3 %', '–')
        """
        return "–" if value is None else f"{value:.{digits}%}".replace("%", " %")


_WORDS: Final = {locale: Words(locale) for locale in TEXTS}


def words_of(locale: str) -> Words:
    """The (shared) words of a locale."""
    return _WORDS.get(locale.split("-")[0], _WORDS["en"])
