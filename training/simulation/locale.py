"""The words, places and money of the two locales of the simulated shop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.errors import ConfigError
from training.simulation.rows import Array
from training.simulation.world import CATEGORIES


@dataclass(frozen=True, slots=True)
class Region:
    """A state or prefecture."""

    name: str
    people: float
    """Relative number of people."""
    climate: float
    """-1 hot to 1 cold."""
    metro: bool = False
    zone: str = "Asia/Tokyo"
    offset_hours: float = 9.0
    """Standard time; the simulation ignores clock changes, the shop's readers do not."""


@dataclass(frozen=True)
class Locale:
    """One language, its regions and its money."""

    code: str
    regions: tuple[Region, ...]
    currency: str
    tax_included: bool
    tax_rate: float
    food_tax_rate: float
    departments: dict[str, str]
    categories: tuple[str, ...]
    styles: tuple[tuple[str, ...], ...]
    """Words in titles for each hidden style (and for all alike: titles tell the style only now and then)."""
    colours: tuple[str, ...]
    materials: tuple[str, ...]
    brands: tuple[str, ...]
    title: str
    order_states: dict[str, str]
    production_steps: tuple[str, str, str]

    @property
    def weights(self) -> Array:
        """Share of the people in each region."""
        people = np.array([region.people for region in self.regions])
        share: Array = people / people.sum()
        return share

    def money(self, dollars: Array) -> Array:
        """Prices as this shop writes them: 12.99, or 1,980 yen."""
        if self.currency == "JPY":
            return np.maximum(np.round(dollars * 1.4) * 100 - 20, 80.0)
        return np.round(np.maximum(np.round(dollars), 1.0) - 0.01, 2)

    def amount(self, value: Array) -> Array:
        """A computed amount (a discount) in the smallest unit of the currency."""
        return np.round(value, 0 if self.currency == "JPY" else 2)

    def tax_of(self, department: str) -> float:
        """The rate that applies to a department's goods."""
        return self.food_tax_rate if department == "food" else self.tax_rate


def _us(text: str) -> tuple[Region, ...]:
    zones = {"E": ("America/New_York", -5.0), "C": ("America/Chicago", -6.0), "M": ("America/Denver", -7.0),
             "P": ("America/Los_Angeles", -8.0)}  # fmt: skip
    rows = (line.rsplit(" ", 4) for line in text.strip().splitlines())
    return tuple(
        Region(name, float(people), float(climate), metro == "metro", *zones[zone])
        for name, people, climate, zone, metro in rows
    )


def _jp(text: str) -> tuple[Region, ...]:
    rows = (row.split() for row in text.strip().split(","))
    metros = {"東京都", "神奈川県", "大阪府", "愛知県", "福岡県", "京都府"}
    return tuple(Region(name, float(people), float(climate), name in metros) for name, people, climate in rows)


_STATES: Final = """
California 39 -0.4 P metro
Texas 30 -0.7 C metro
Florida 22 -0.9 E metro
New York 20 0.5 E metro
Pennsylvania 13 0.4 E -
Illinois 13 0.5 C metro
Ohio 12 0.4 E -
Georgia 11 -0.5 E metro
North Carolina 11 -0.2 E -
Michigan 10 0.6 E -
New Jersey 9 0.3 E metro
Virginia 9 0.0 E -
Washington 8 0.3 P metro
Arizona 7 -0.9 M -
Massachusetts 7 0.6 E metro
Tennessee 7 -0.1 C -
Indiana 7 0.4 E -
Missouri 6 0.2 C -
Maryland 6 0.1 E -
Wisconsin 6 0.8 C -
Colorado 6 0.6 M -
Minnesota 6 1.0 C -
Oregon 4 0.2 P -
Louisiana 5 -0.8 C -
Utah 3 0.5 M -
Maine 1.4 0.9 E -
Montana 1.1 1.0 M -
"""
_PREFECTURES: Final = """
北海道 522 1.0, 青森県 124 0.9, 岩手県 121 0.8, 宮城県 230 0.6, 秋田県 96 0.8, 山形県 107 0.8, 福島県 183 0.6,
茨城県 287 0.2, 栃木県 193 0.3, 群馬県 194 0.3, 埼玉県 734 0.1, 千葉県 628 0.0, 東京都 1405 0.0, 神奈川県 924 0.0,
新潟県 220 0.7, 富山県 103 0.6, 石川県 113 0.5, 福井県 77 0.5, 山梨県 81 0.4, 長野県 205 0.8, 岐阜県 198 0.2,
静岡県 363 -0.1, 愛知県 754 0.0, 三重県 177 0.0, 滋賀県 141 0.2, 京都府 258 0.1, 大阪府 884 -0.1, 兵庫県 547 0.0,
奈良県 132 0.1, 和歌山県 92 -0.2, 鳥取県 55 0.3, 島根県 67 0.2, 岡山県 189 0.0, 広島県 280 0.0, 山口県 134 0.0,
徳島県 72 -0.2, 香川県 95 -0.1, 愛媛県 133 -0.2, 高知県 69 -0.4, 福岡県 514 -0.2, 佐賀県 81 -0.2, 長崎県 131 -0.3,
熊本県 174 -0.3, 大分県 112 -0.2, 宮崎県 107 -0.5, 鹿児島県 159 -0.6, 沖縄県 147 -1.0
"""

ENGLISH: Final = Locale(
    code="en",
    regions=_us(_STATES),
    currency="USD",
    tax_included=False,
    tax_rate=0.07,
    food_tax_rate=0.0,
    departments={
        "pets": "Pets", "food": "Food and drink", "household": "Household", "beauty": "Beauty and health",
        "furniture": "Furniture", "appliances": "Appliances", "fashion": "Fashion", "leisure": "Leisure",
    },
    categories=tuple(category.key.replace("-", " ").capitalize() for category in CATEGORIES),
    styles=(
        ("Calm", "Plain", "Quiet"), ("Bold", "Bright", "Vivid"), ("Classic", "Heritage", "Vintage"),
        ("Natural", "Earthy", "Woodland"), ("Urban", "Modern", "Compact"), ("Playful", "Happy", "Sunny"),
    ),
    colours=("white", "black", "navy", "sand", "olive", "grey", "red", "sky"),
    materials=("linen", "oak", "steel", "cotton", "ceramic", "wool"),
    brands=("Aldern", "Brookhay", "Corvale", "Dunmere", "Eastling", "Fernway", "Glenrow", "Harwick", "Islay & Sons",
            "Juniper Lane", "Kestrel", "Lowmoor"),
    title="{style} {category}, {colour} {number}",
    order_states={
        "confirmed": "We have your order.", "in_production": "Being made for you.", "shipped": "On its way.",
        "attempted": "Nobody was in; we come again tomorrow.", "ready_for_pickup": "Ready for pick-up.",
        "delivered": "Delivered.", "returned": "Your return has arrived.", "cancelled": "Cancelled.",
        "lost": "The parcel is lost; we are sorry.",
    },
    production_steps=("The frame is being built.", "The cover is being sewn.", "The last inspection."),
)  # fmt: skip

JAPANESE: Final = Locale(
    code="ja",
    regions=_jp(_PREFECTURES),
    currency="JPY",
    tax_included=True,
    tax_rate=0.10,
    food_tax_rate=0.08,
    departments={
        "pets": "ペット", "food": "食品・飲料", "household": "日用品", "beauty": "美容・健康",
        "furniture": "家具", "appliances": "家電", "fashion": "ファッション", "leisure": "趣味",
    },
    categories=tuple(category.ja for category in CATEGORIES),
    styles=(
        ("しずかな", "シンプル", "無地の"), ("あざやかな", "大胆な", "ビビッド"), ("クラシック", "伝統の", "レトロ"),
        ("ナチュラル", "大地の", "森の"), ("都会の", "モダン", "コンパクト"), ("たのしい", "ハッピー", "ひだまりの"),
    ),
    colours=("白", "黒", "紺", "砂色", "オリーブ", "グレー", "赤", "空色"),
    materials=("麻", "オーク", "スチール", "綿", "陶器", "ウール"),
    brands=("青葉堂", "木もれび", "千歳屋", "灯り舎", "ひなた工房", "風待ち", "雪と月", "野の花", "みなと",
            "山の音", "あさぎ", "つむぎ"),
    title="{style}{category} {colour} {number}",
    order_states={
        "confirmed": "ご注文を承りました。", "in_production": "製作中です。", "shipped": "発送しました。",
        "attempted": "ご不在のため、明日あらためてお届けします。", "ready_for_pickup": "受け取りの準備ができました。",
        "delivered": "お届けしました。", "returned": "返品を受け取りました。", "cancelled": "キャンセルしました。",
        "lost": "荷物が紛失しました。申し訳ございません。",
    },
    production_steps=("木枠を組み立てています。", "張り地を縫っています。", "最後の検品をしています。"),
)  # fmt: skip

LOCALES: Final = {"en": ENGLISH, "ja": JAPANESE}


def locale_of(code: str) -> Locale:
    """The locale of that code.

    Raises:
        ConfigError: there is none.
    """
    if code not in LOCALES:
        raise ConfigError("unknown locale", where="--locale", got=code, hint=f"use one of {', '.join(LOCALES)}")
    return LOCALES[code]
