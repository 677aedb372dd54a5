"""The frozen parameters of the simulated shop: what is sold, when people need it, how large a shop is.

WORLD_VERSION names this world. Policies, estimators and published figures are judged against it, so a commit that
changes a number here (or in `effects`) raises the version, changes nothing else and re-runs every figure.
It is a world for testing; nothing measured in it is evidence about real shops.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from features.moments import DAY, parse_instant
from training.simulation.rows import Array

WORLD_VERSION: Final = 1
DEFAULT_START: Final = parse_instant("2025-01-01")
STYLES: Final = 6
"""Hidden styles of items; a person's taste is a mixture over them."""
CLUSTERS: Final = 12
"""Hidden kinds of people: each likes some styles and some categories more."""


class Kind(IntEnum):
    """How a category is bought."""

    CONSUMABLE = 0
    """Used up and bought again after its cycle, by those who use it at all."""
    DURABLE = 1
    """Bought once in many years, after days or weeks of looking around."""
    VARIETY = 2
    """Bought on a mood; no cycle."""


@dataclass(frozen=True, slots=True)
class Category:
    """A leaf of the category tree. Prices are in dollars before the locale turns them into its money."""

    key: str
    department: str
    ja: str
    kind: Kind
    cycle_days: float | None
    """Median days between two purchases of one household; None where there is no cycle."""
    users: float
    """Consumables: the share of households that use it (of those with the pet, for pet food)."""
    price: float
    spread: float
    """Standard deviation of the log price."""
    season: str = "flat"
    lead_days: float = 0.0
    weight: float = 1.0
    """How often people look at it without a need."""
    gift: float = 0.0
    returns: float = 0.02
    urgent: bool = False
    """Needed within hours of the day it breaks."""


_C, _D, _V = Kind.CONSUMABLE, Kind.DURABLE, Kind.VARIETY
CATEGORIES: Final = (
    Category("dog-food", "pets", "ドッグフード", _C, 32, 0.70, 38, 0.35),
    Category("cat-food", "pets", "キャットフード", _C, 28, 0.70, 24, 0.35),
    Category("cat-litter", "pets", "猫砂", _C, 24, 0.40, 14, 0.25),
    Category("coffee", "food", "コーヒー豆", _C, 26, 0.13, 16, 0.35),
    Category("tea", "food", "お茶", _C, 45, 0.07, 12, 0.40),
    Category("detergent", "household", "洗剤", _C, 48, 0.09, 15, 0.25),
    Category("nappies", "household", "紙おむつ", _C, 19, 0.04, 29, 0.20),
    Category("shampoo", "beauty", "シャンプー", _C, 55, 0.09, 11, 0.40),
    Category("vitamins", "beauty", "サプリメント", _C, 60, 0.06, 22, 0.35),
    Category("contact-lenses", "beauty", "コンタクトレンズ", _C, 30, 0.05, 35, 0.20, returns=0.005),
    Category("water-filters", "household", "浄水フィルター", _C, 90, 0.04, 27, 0.20),
    Category("sofas", "furniture", "ソファー", _D, 8 * 365, 0, 900, 0.45, lead_days=56),
    Category("beds", "furniture", "ベッド", _D, 10 * 365, 0, 650, 0.45, lead_days=28),
    Category("dining-tables", "furniture", "ダイニングテーブル", _D, 12 * 365, 0, 560, 0.4, lead_days=42),
    Category("desk-chairs", "furniture", "デスクチェア", _D, 6 * 365, 0, 240, 0.5, lead_days=7),
    Category("rugs", "furniture", "ラグ", _D, 5 * 365, 0, 180, 0.5, lead_days=10),
    Category("lamps", "furniture", "照明", _D, 4 * 365, 0, 90, 0.5, lead_days=2),
    Category("refrigerators", "appliances", "冷蔵庫", _D, 11 * 365, 0, 820, 0.4, "summer", 4, urgent=True),
    Category("water-heaters", "appliances", "給湯器", _D, 12 * 365, 0, 700, 0.3, "winter", 2, urgent=True),
    Category("washing-machines", "appliances", "洗濯機", _D, 10 * 365, 0, 600, 0.35, lead_days=4),
    Category("vacuum-cleaners", "appliances", "掃除機", _D, 6 * 365, 0, 210, 0.45, lead_days=1),
    Category("biscuits", "food", "お菓子", _V, None, 0, 6, 0.35, weight=1.6, returns=0.0),
    Category("sweets", "food", "ギフトスイーツ", _V, None, 0, 19, 0.40, "gift", weight=0.8, gift=1.0, returns=0.0),
    Category("pet-toys", "pets", "ペット用おもちゃ", _V, None, 0, 9, 0.40, weight=0.5),
    Category("skincare", "beauty", "スキンケア", _V, None, 0, 26, 0.50, weight=1.3),
    Category("jackets", "fashion", "ジャケット", _V, None, 0, 120, 0.45, "winter", weight=1.2, returns=0.14),
    Category("shirts", "fashion", "シャツ", _V, None, 0, 38, 0.40, weight=1.7, returns=0.12),
    Category("shoes", "fashion", "シューズ", _V, None, 0, 85, 0.40, weight=1.4, returns=0.13),
    Category("books", "leisure", "本", _V, None, 0, 15, 0.35, weight=1.5, gift=0.4, returns=0.01),
    Category("toys", "leisure", "おもちゃ", _V, None, 0, 24, 0.50, "gift", weight=0.9, gift=0.9),
    Category("garden", "leisure", "ガーデニング", _V, None, 0, 28, 0.60, "spring", weight=1.0),
    Category("kitchenware", "household", "キッチン用品", _V, None, 0, 32, 0.60, weight=1.2, gift=0.3),
    Category("cushions", "furniture", "クッション", _V, None, 0, 29, 0.40, weight=0.7),
    Category("blankets", "household", "毛布", _V, None, 0, 54, 0.45, "winter", weight=0.7),
    Category("fans", "appliances", "扇風機", _V, None, 0, 62, 0.45, "summer", weight=0.6, lead_days=1),
    Category("stationery", "leisure", "文房具", _V, None, 0, 11, 0.45, weight=0.7, gift=0.3),
)  # fmt: skip
CATEGORY_ROW: Final = {category.key: row for row, category in enumerate(CATEGORIES)}
KIND: Final = np.array([category.kind for category in CATEGORIES], np.int8)
VARIETY: Final = np.flatnonzero(KIND == Kind.VARIETY)
DURABLES: Final = np.flatnonzero(KIND == Kind.DURABLE)
CONSUMABLES: Final = np.flatnonzero(KIND == Kind.CONSUMABLE)
_COMPANIONS: Final = {
    "pet-toys": ("dog-food", "cat-food", "cat-litter"),
    "biscuits": ("coffee", "tea"),
    "kitchenware": (
        "detergent",
        "water-filters",
        "dining-tables",
        "refrigerators",
        "washing-machines",
        "vacuum-cleaners",
    ),
    "toys": ("nappies",),
    "skincare": ("shampoo", "vitamins", "contact-lenses"),
    "cushions": ("sofas", "desk-chairs", "rugs", "lamps"),
    "blankets": ("beds",),
}
"""What is bought along with what: companion -> the categories it goes with."""
GOES_WITH: Final = np.full(len(CATEGORIES), -1, np.int16)
for _companion, _mains in _COMPANIONS.items():
    GOES_WITH[[CATEGORY_ROW[_main] for _main in _mains]] = CATEGORY_ROW[_companion]
PET_OF: Final = {"dog-food": 1, "cat-food": 2, "cat-litter": 2}
"""Categories that only the owners of a pet use: 1 a dog, 2 a cat."""

SEASONS: Final = {
    "flat": np.ones(12),
    "winter": np.array([1.9, 1.8, 1.1, 0.7, 0.5, 0.4, 0.4, 0.5, 0.9, 1.3, 1.7, 2.0]),
    "summer": np.array([0.4, 0.4, 0.6, 0.9, 1.4, 1.9, 2.1, 1.9, 1.1, 0.7, 0.5, 0.4]),
    "spring": np.array([0.5, 0.7, 1.6, 2.0, 1.8, 1.2, 0.9, 0.7, 0.8, 0.7, 0.4, 0.3]),
    "gift": np.array([0.7, 1.2, 0.9, 0.8, 1.2, 0.9, 1.1, 0.7, 0.7, 0.8, 1.3, 2.4]),
}
TRAFFIC_BY_MONTH: Final = np.array([1.0, 0.9, 0.95, 0.95, 1.0, 0.95, 1.0, 0.9, 0.95, 1.0, 1.2, 1.35])
TRAFFIC_BY_WEEKDAY: Final = np.array([0.95, 0.92, 0.93, 0.97, 1.0, 1.1, 1.13])
GIFT_BY_MONTH: Final = np.array([0.02, 0.10, 0.04, 0.02, 0.08, 0.03, 0.05, 0.02, 0.02, 0.03, 0.10, 0.28])
"""Share of browsing that looks for somebody else's present."""
SALES: Final = ((1, 2, 8), (6, 20, 30), (11, 22, 30))
"""(month, first day, last day) of the sale weeks."""
SALE_TRAFFIC: Final = 1.5
SALE_CONVERSION: Final = 1.25


@dataclass(frozen=True, slots=True)
class Size:
    """How large a shop is."""

    name: str
    customers: int
    items: int
    days: int
    block: int
    """Customers drawn together from one generator: part of the world, not of how the work is cut."""
    visits: float
    """Browsing visits of an average customer in 30 days."""
    users: float
    """Factor on the shares of households that use a consumable from this shop."""
    landing: float
    """Share of visits that begin on the home page, where slots are decided."""
    bots: int
    bot_views: int
    campaign_days: int = 28


SIZES: Final = {
    size.name: size
    for size in (
        Size("tiny", 240, 160, 150, 80, 0.9, 1.0, 0.6, 1, 120),
        Size("s", 1_500, 600, 260, 750, 0.7, 1.0, 0.6, 2, 400),
        Size("m", 50_000, 5_000, 365, 12_500, 0.43, 0.65, 0.5, 8, 600),
        Size("l", 1_000_000, 100_000, 365, 12_500, 0.36, 0.5, 0.3, 80, 600, 42),
    )
}


class Calendar:
    """The days of the simulated period: month, weekday, sale and traffic of each, as lookup tables."""

    def __init__(self, start: int, days: int) -> None:
        self.start, self.days, self.end = start, days, start + days * DAY
        dates = (np.arange(days) + start // DAY).astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        self.month = months.astype(np.int64) % 12
        self.month_of_year = months.astype(np.int64)
        """Months since 1970-01, for partitions."""
        self.weekday = (dates.astype(np.int64) + 3) % 7
        day_of_month = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
        self.sale = np.full(days, -1, np.int64)
        for number, (month, first, last) in enumerate(SALES):
            self.sale[(self.month == month - 1) & (day_of_month >= first) & (day_of_month <= last)] = number
        self.traffic = TRAFFIC_BY_MONTH[self.month] * TRAFFIC_BY_WEEKDAY[self.weekday]
        self.traffic[self.sale >= 0] *= SALE_TRAFFIC

    def day(self, at: Array) -> Array:
        """The day (0-based) of instants, at most the last."""
        day: Array = np.clip((at - self.start) // DAY, 0, self.days - 1)
        return day


def season_factor(climate: Array) -> Array:
    """float[regions, 12, categories]: how the month moves demand there; cold regions have longer winters.

    Args:
        climate: float[regions] from -1 (hot) to 1 (cold).
    """
    sign = {"winter": 0.6, "summer": -0.6}
    columns = [
        SEASONS[category.season][None, :] ** (1 + sign.get(category.season, 0.0) * climate[:, None])
        for category in CATEGORIES
    ]
    return np.stack(columns, axis=2)
