"""A picture for a product that has none: a small still life, drawn from its category and title.

The outlines stand once in the page (`templates/_sprite.html`); a picture only places two or three of them on a
table and names their colours, so it is a few hundred bytes, the same on every visit, and needs no inline style.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from markupsafe import Markup

from features.text import fold, stable_hash

TONES: Final = 8
"""Palettes in the style sheet: `.tone-0` to `.tone-7`. One category keeps one tone."""

SHAPES: Final = (
    "bottle", "carton", "can", "jar", "box", "chest", "pouch", "bowl", "mug", "fruit", "loaf", "vase", "books",
    "parcel", "pump", "wedge", "tray", "tote",
)  # fmt: skip
"""Outlines of the sprite, with their base on the table."""

_NEUTRAL: Final = ("jar", "box", "bowl", "can", "chest", "mug")
_NATURAL: Final = frozenset({"loaf", "wedge", "tray"})
_BESIDE: Final = ("fruit", "bowl", "mug", "jar", "can", "bottle", "vase")

# The first word that occurs in category or title decides; order goes from particular to general.
_HINTS: Final[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = (
    (
        ("fruit",),
        (
            "fruit",
            "apple",
            "berry",
            "grape",
            "banana",
            "citrus",
            "melon",
            "tomato",
            "strawberr",
            "果物",
            "りんご",
            "みかん",
        ),
    ),
    (("bowl", "fruit"), ("vegetable", "salad", "potato", "onion", "produce", "野菜")),
    (("bowl", "box"), ("rice", "cereal", "pasta", "bowl", "米", "茶碗", "鉢", "麺")),
    (("carton",), ("milk", "juice", "cream", "egg", "牛乳", "ジュース", "卵")),
    (("wedge",), ("cheese", "butter", "チーズ", "バター")),
    (("pouch",), ("snack", "chips", "frozen", "frzn", "(?<!hot )dog", "cat food", "菓子", "冷凍", "犬", "猫")),
    (("pouch", "mug", "can"), ("coffee", "コーヒー", "珈琲")),
    (("mug", "can", "box"), ("tea", "mug", "cup", "茶", "マグ", "カップ")),
    (("loaf",), ("bread", "bak", "bun", "cake", "roll", "pastry", "cookie", "パン", "ケーキ")),
    (("tray",), ("beef", "pork", "chicken", "meat", "fish", "seafood", "deli", "pizza", "dinner", "肉", "魚", "弁当")),
    (("can",), ("soup", "canned", "soft drink", "beer", "bean", "paint", "缶", "ビール", "スープ")),
    (("bottle",), ("wine", "oil", "water", "drink", "sauce", "liquor", "bottle", "酒", "油", "水")),
    (("jar",), ("jam", "spice", "condiment", "candle", "honey", "vitamin", "jar", "味噌", "ジャム", "蜂蜜", "灯")),
    (("pump", "bottle"), ("soap", "hair", "care", "cosmetic", "makeup", "detergent", "clean", "洗", "化粧", "石鹸")),
    (("vase",), ("floral", "flower", "plant", "garden", "vase", "花", "植物", "園芸")),
    (("books",), ("card", "paper", "book", "magazine", "stationery", "note", "本", "紙", "文具", "雑誌")),
    (("parcel",), ("christmas", "gift", "toy", "season", "party", "heart", "ギフト", "贈", "玩具", "季節")),
    (("tote",), ("bag", "travel", "cloth", "apparel", "バッグ", "服", "鞄")),
    (("chest",), ("sofa", "furniture", "storage", "chair", "shelf", "table", "ソファ", "家具", "椅子", "棚", "机")),
)

_PATTERNS: Final = tuple(
    # Latin words count from their beginning ("tea" is not in "steak"), Japanese ones anywhere.
    (names, re.compile("|".join(rf"(?<![a-z]){word}" if word.isascii() else word for word in words)))
    for names, words in _HINTS
)


@lru_cache(maxsize=8192)
def tone(category: str) -> int:
    """The palette of a category, 0 to `TONES` - 1."""
    return stable_hash("tone", fold(category)) % TONES


def shape(path: tuple[str, ...], title: str) -> str:
    """The outline that says best what it may be; one of a few plain ones where no word helps.

    Args:
        path: the category, widest first; its narrowest word decides before the title, the wider ones after it.
        title: of the product.
    """
    for text in (*path[-1:], title, *path[-2::-1]):
        folded = fold(text)
        for names, pattern in _PATTERNS:
            if pattern.search(folded):
                return names[stable_hash("shape", title) % len(names)]
    return _NEUTRAL[stable_hash("shape", *path) % len(_NEUTRAL)]


@lru_cache(maxsize=8192)
def still_life(path: tuple[str, ...], title: str) -> Markup:
    """The picture as inline SVG, 200 x 160; purely decorative, so hidden from screen readers."""
    drawn = stable_hash("art", *path, title)
    main = shape(path, title)
    beside = _BESIDE[drawn % len(_BESIDE)]
    if beside == main:
        beside = _BESIDE[(drawn + 1) % len(_BESIDE)]
    first, second = ((1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2))[drawn // 7 % 6]
    side = 1 if drawn // 42 % 2 else -1
    gap, scale = 34 + drawn // 84 % 9, 100 + drawn // 756 % 13
    behind = _use(beside, second, x=100 + side * gap, y=121, scale=62 + drawn // 9828 % 12)
    front = _use(main, first, x=100 - side * 12, y=132, scale=scale)
    pebble = f'<circle class="c{6 - first - second}" cx="{100 - side * 62}" cy="126" r="{6 + drawn // 117936 % 4}"/>'
    # Everything here is drawn from numbers and our own names: nothing of the catalogue's text gets in.
    return Markup(  # noqa: S704
        '<svg class="art" viewBox="0 0 200 160" preserveAspectRatio="xMidYMid slice" aria-hidden="true" '
        f'focusable="false"><path class="floor" d="M0 112h200v48H0z"/>{behind}{pebble}{front}</svg>'
    )


def _use(name: str, colour: int, *, x: int, y: int, scale: int) -> str:
    transform = f"translate({x} {y}) scale({scale / 100:.2f})"
    look = f"n-{name}" if name in _NATURAL else f"c{colour}"  # nobody eats green bread
    return f'<use class="{look}" href="#v-{name}" transform="{transform}"/>'
