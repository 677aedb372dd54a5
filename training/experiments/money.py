"""`kokyaku report money`: what the whole personalisation brought in a month, beside those who permanently get none.

The total is the difference between a treated and a held-out subject, times the treated subjects. Parts are the same
difference in what came after a decision of that channel or slot; what came after none is a part of its own, so parts
sum to the total to the last digit. Decisions to do nothing count as decisions, and the held out have them too: like is
compared with like. What came after a slot is shared out to campaigns against the held out of the whole slot, by the
share of the decisions that each campaign had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from features.dataset import Dataset
from features.shop import Shop
from serving.config import load_config
from serving.settings.shop import ShopSettings
from serving.tombstones import erased_of
from training.experiments.ledger import LINES, MARGIN, NOTHING, REVENUE, WINDOW, Doubles, Ledger, Mask, ledger_of
from training.experiments.looks import Difference
from training.experiments.months import month_of
from training.experiments.power import Line, Stretch, line_of
from training.experiments.redrawn import Redrawn
from training.intervals import Interval
from training.meter import Tell
from training.session import silent

LEAST: Final = 50
"""Subjects of a group, at least; with fewer nothing is told."""
LEAST_BUYERS: Final = 20
"""Customers with money in the month, at least. A line or part that fewer have any of gets no interval."""
MOST_PARTS: Final = 12
"""Campaigns that are shown, the largest differences first; the others are one line."""
EFFECT: Final = 0.05
"""Gain, as a share of what a subject brings, for which the needed number of customers is told."""
ONE_LOOK: Final = 0.9
"""`line_of` gives the first of endless looks half of the error: at 90 % that one interval is a 95 % interval."""
UNATTRIBUTED: Final = "not attributed"
NAMES: Final[Mapping[str, str]] = {
    "sales": "sales before reductions", "discounts": "discounts and coupons", "returns": "returns",
    "points": "points paid with", "revenue": "revenue", "goods": "cost of goods", "margin": "gross margin",
    "contact": "contact cost",
}  # fmt: skip
"""Line -> how it is called."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the account.

    Args:
        name: how it is called.
        found: what personalisation added to it in the month, whole shop; None where nothing is known.
        why: why nothing is known.
        total: whether it is the sum of the lines above it.
    """

    name: str
    found: Interval | None
    why: str = ""
    total: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What one channel, slot or campaign added, whole shop.

    Args:
        name: of the part.
        revenue: net of discounts, coupons and returns.
        result: what is left of it, `MoneyReport.result`.
    """

    name: str
    revenue: Interval
    result: Interval


@dataclass(frozen=True)
class MoneyReport:
    """What a month says.

    Args:
        shop: its name.
        currency: of all money.
        zone: the shop's time zone; the month is its.
        ledger: the books.
        result: what the bottom line is called.
        difference: of the bottom line, a subject.
        held_mean: the bottom line of a held-out subject; NaN without any.
        reasons: why the data cannot tell, as sentences; none where they can.
        entries: the account; empty where the data cannot tell.
        parts: heading -> parts, which sum to the total; empty where the data cannot tell.
        power: what these many subjects can see.
        share: of subjects that are held out, as they are or as `power` assumes where nobody is.
    """

    shop: str
    currency: str
    zone: str
    ledger: Ledger
    result: str
    difference: Difference
    held_mean: float
    reasons: Sequence[str]
    entries: Sequence[Entry]
    parts: Mapping[str, Sequence[Part]]
    power: Line
    share: float

    @property
    def total(self) -> Interval:
        """The bottom line, whole shop."""
        return whole(self.difference)


def report_on(
    shop: Shop, month: str, *, window: int = WINDOW, as_of: int | None = None, tell: Tell = silent
) -> MoneyReport:
    """The account of a shop's month: read the books, compare, break down.

    Args:
        shop: whose; time zone, currency and holdout are those of its `shop.toml`.
        month: e.g. `2026-10`.
        window: microseconds that a decision may lie before a purchase that is put down to it.
        as_of: microseconds; what was recorded later is not known. Default: the end of the data.
        tell: hears the progress.

    Raises:
        ConfigError: no month, or a broken `shop.toml`.
        DataError: no dataset, no decisions before the month ended, or the data end before it begins.
    """
    settings, dataset = load_config(shop.config).shop, Dataset(shop.dataset)
    dataset.manifest()
    asked = month_of(month, settings.time_zone)
    erased = erased_of(shop).subject
    ledger = ledger_of(dataset, asked, window=window, as_of=as_of, erased=erased, tell=tell)
    tell("comparing", 0, 1)
    report = money_report(
        ledger, shop=shop.id, currency=settings.currency, zone=settings.time_zone,
        holdout=settings.holdout or ShopSettings().holdout,
    )  # fmt: skip
    tell("comparing", 1, 1)
    return report


def whole(found: Difference) -> Interval:
    """The difference a subject times the treated subjects: what all of them brought that they else had not."""
    each = found.found
    return Interval(each.value * found.treated, each.low * found.treated, each.high * found.treated, each.n, 0)


def money_report(ledger: Ledger, *, shop: str, currency: str, zone: str, holdout: float) -> MoneyReport:
    """Compare the treated with the held out.

    Args:
        ledger: the books of the month.
        shop, currency, zone: for the report.
        holdout: share that the shop holds out, between 0 and 1: for what it would take where nobody was.
    """
    outcome = ledger.of(bottom(ledger))
    books = Books(ledger, Redrawn(ledger.treated))
    found = books.redrawn.difference(outcome, ledger.before)
    reasons = unable(ledger, outcome)
    held = outcome[~ledger.treated]
    share = len(held) / len(outcome) if 0 < len(held) < len(outcome) else holdout
    told = not reasons
    return MoneyReport(
        shop, currency, zone, ledger, result_name(ledger), found, float(held.mean()) if len(held) else float("nan"),
        reasons, account(books) if told else (), broken_down(books) if told else {},
        power_of(ledger, outcome, found, share), share,
    )  # fmt: skip


def bottom(ledger: Ledger) -> tuple[str, ...]:
    """The lines that the bottom line is the sum of: all that are recorded."""
    return tuple(line for line in LINES if line not in ("goods", "contact") or line not in ledger.untold)


def result_name(ledger: Ledger) -> str:
    """What the bottom line is called."""
    first = NAMES["revenue" if "goods" in ledger.untold else "margin"]
    return first if "contact" in ledger.untold else f"{first} after contact cost"


def unable(ledger: Ledger, outcome: Doubles) -> list[str]:
    """Why nothing can be told, as sentences."""
    treated, held = int(ledger.treated.sum()), int((~ledger.treated).sum())
    said = []
    for many, those in ((held, "were held out"), (treated, "got personalisation")):
        if not many:
            said.append(f"Nobody {those.replace('were', 'was')}, so there is nothing to compare with.")
        elif many < LEAST:
            said.append(f"Only {many:,} customers {those}; with fewer than {LEAST} nothing is told.")
    if not said and (buyers := int(np.count_nonzero(outcome))) < LEAST_BUYERS:
        said.append(f"Only {buyers:,} customers brought any money; with fewer than {LEAST_BUYERS} nothing is told.")
    return said


def power_of(ledger: Ledger, outcome: Doubles, found: Difference, share: float) -> Line:
    """What so many subjects of this month can see, and how many the gain EFFECT would take."""
    groups = [outcome[mine] for mine in (ledger.treated, ~ledger.treated) if mine.sum() > 1]
    freedom = max(sum(len(each) - 1 for each in groups), 1)
    spread = float(np.sqrt(sum(((each - each.mean()) ** 2).sum() for each in groups) / freedom))
    mean = float(groups[-1].mean()) if groups else 0.0
    stretch = Stretch(1, len(outcome), mean, spread, found.saved)
    return line_of(stretch, holdout=share, effect=EFFECT, confidence=ONE_LOOK)


def account(books: Books) -> list[Entry]:
    """From sales to the bottom line. What is not recorded has no figure, and is in no sum."""
    ledger = books.ledger

    def entry(name: str, lines: tuple[str, ...], *, total: bool = False) -> Entry:
        if why := ledger.untold.get(name):
            return Entry(NAMES[name], None, why, total)
        return Entry(NAMES[name], books.effect(ledger.of(lines)), "", total)

    told = [entry(line, (line,)) for line in REVENUE]
    told += [entry("points", ()), entry("revenue", REVENUE, total=True), entry("goods", ("goods",))]
    if "goods" not in ledger.untold:
        told.append(entry("margin", MARGIN, total=True))
    told.append(entry("contact", ("contact",)))
    if "contact" not in ledger.untold:
        told.append(Entry(result_name(ledger), books.effect(ledger.of(bottom(ledger))), "", True))
    return told


@dataclass(frozen=True)
class Books:
    """The books of a month, and how two groups of them are compared.

    Args:
        ledger: the books.
        redrawn: draws of the holdout, the same for every line and part.
    """

    ledger: Ledger
    redrawn: Redrawn

    def effect(self, outcome: Doubles) -> Interval:
        """What personalisation added to an outcome, whole shop; linear: effects of parts sum to the effect of the sum.

        No interval where fewer than LEAST_BUYERS customers have any of it.
        """
        found = whole(self.redrawn.difference(outcome, self.ledger.before))
        if np.count_nonzero(outcome) >= LEAST_BUYERS:
            return found
        return replace(found, low=float("nan"), high=float("nan"))

    def part(self, name: str, vector: Callable[[tuple[str, ...]], Doubles]) -> Part:
        """A part from what gives some of the lines of its money by subject."""
        return Part(name, self.effect(vector(REVENUE)), self.effect(vector(bottom(self.ledger))))


def broken_down(books: Books) -> dict[str, list[Part]]:
    """Parts by channel, slot and campaign; each list sums to the total."""
    ledger = books.ledger
    slots = [f"{spot.surface} / {spot.slot}" for spot in ledger.spots]
    rest = books.part(UNATTRIBUTED, partial(ledger.of, rows=ledger.spot < 0))
    return {
        "channel": [*_by(books, [spot.surface for spot in ledger.spots]), rest],
        "slot": [*_by(books, slots), rest],
        "campaign": [*_by_campaign(books, slots), rest],
    }


def _by(books: Books, labels: Sequence[str]) -> list[Part]:
    """A part for each label of the spots."""
    names = sorted(set(labels))
    code = np.array([names.index(label) for label in labels] + [-1], np.int64)[books.ledger.spot]
    return [books.part(name, partial(books.ledger.of, rows=code == at)) for at, name in enumerate(names)]


def _by_campaign(books: Books, slots: Sequence[str]) -> list[Part]:
    """A part for each campaign of each slot, against its share of the held out of the slot; small ones together."""
    made = [each for name in sorted(set(slots)) for each in _campaigns(books.ledger, slots, name)]
    parts = [books.part(*each) for each in made]
    if len(parts) <= MOST_PARTS:
        return parts
    order = np.argsort([-abs(part.result.value) for part in parts], kind="stable").tolist()
    shown, others = sorted(order[: MOST_PARTS - 1]), order[MOST_PARTS - 1 :]

    def together(lines: tuple[str, ...]) -> Doubles:
        return np.asarray(sum(made[at][1](lines) for at in others), np.float64)

    return [*(parts[at] for at in shown), books.part(f"{len(others)} others together", together)]


def _campaigns(
    ledger: Ledger, slots: Sequence[str], name: str
) -> list[tuple[str, Callable[[tuple[str, ...]], Doubles]]]:
    """Campaigns of a slot, and what gives their money by subject."""
    inside = [at for at, label in enumerate(slots) if label == name]
    many = int(ledger.decisions[inside].sum())
    here = np.isin(ledger.spot, inside)
    if not many:  # decided for the held out alone: no campaign has it
        return [(f"{name} / {NOTHING}", partial(ledger.of, rows=here))]
    theirs = here & ~ledger.treated[ledger.subject]
    return [
        (f"{name} / {ledger.spots[at].campaign}",
         partial(_against, ledger, at, theirs, float(ledger.decisions[at] / many)))
        for at in inside if ledger.decisions[at]
    ]  # fmt: skip


def _against(ledger: Ledger, spot: int, theirs: Mask, share: float, lines: tuple[str, ...]) -> Doubles:
    """Of the treated what came after the campaign, of the held out the campaign's share of what came after the slot."""
    mine = (ledger.spot == spot) & ledger.treated[ledger.subject]
    return ledger.of(lines, mine) + share * ledger.of(lines, theirs)
