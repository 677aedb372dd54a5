"""The account of a month in words, as a page and as a sheet of paper: what was earned, then why one may say so."""

from __future__ import annotations

import base64

import numpy as np

from features.moments import DAY, to_datetime, zone
from training import plots
from training.bench.rows import Row
from training.experiments.money import EFFECT, UNATTRIBUTED, Entry, MoneyReport, Part
from training.intervals import Interval
from training.pages import rendered
from training.plots import Mark

TITLES = {"channel": "By channel", "slot": "By slot", "campaign": "By campaign"}
"""Of the parts, in the order of the page."""
LONGEST = 46
"""Characters of a name that pictures show."""


def headline(report: MoneyReport) -> str:
    """The answer in one sentence."""
    month = report.ledger.month.name
    if report.reasons:
        return f"These data cannot tell what personalisation brought in {month}."
    found, what = report.total, f"of {report.result}"
    if found.low > 0:
        return f"Personalisation brought {amount(found.value, report.currency)} {what} in {month}."
    if found.high < 0:
        return f"Personalisation cost {amount(-found.value, report.currency)} {what} in {month}."
    ends = f"between {signed(found.low)} and {signed(found.high)} {report.currency}"
    return f"Whether personalisation paid in {month} cannot be told: it added {ends} {what}."


def reasons(report: MoneyReport) -> list[str]:
    """Why the answer is what it is, as sentences: what was compared, and what it would take."""
    told = list(report.reasons)
    if not told:
        per, many = report.difference.found, f"{report.difference.treated:,}"
        told.append(
            f"A customer who is held out brought {amount(report.held_mean, report.currency)} of {report.result}, one "
            f"who got personalisation {interval(per)} beside that. Times {many} customers who got it: "
            f"{interval(report.total)} {report.currency}."
        )
    if not over(report):
        told.append(f"The month is not over in the data: they end {moment(report, report.ledger.until)}.")
    return [*told, *needed(report)]


def needed(report: MoneyReport) -> list[str]:
    """How many customers a gain of EFFECT takes, and which gain so many customers show."""
    line = report.power
    many = line.stretch.customers
    if not np.isfinite(line.needed):
        return ["How many customers it takes cannot be told either: they brought no money to speak of."]
    takes = (
        f"To find a gain of {EFFECT:.0%} four times of five in one month takes {line.needed:,.0f} customers, "
        f"{report.share:.1%} of them held out; there were {many:,}."
    )
    if report.reasons:
        return [takes]
    seen = line.detectable * report.difference.treated
    least = f"{amount(seen, report.currency)} ({line.relative:.0%} of what they bring)"
    return [f"{takes} With these the least gain that is found so often is {least}."]


def facts(report: MoneyReport) -> list[str]:
    """What was counted and how, as sentences."""
    ledger, found = report.ledger, report.difference
    told = [
        f"{found.treated:,} customers who got personalisation and {found.held:,} who are held out for good: everybody "
        f"for whom anything was decided until the month ended. What counts begins with the first decision.",
        f"From {moment(report, ledger.month.start)} to {moment(report, ledger.until)}, {report.zone}. Money is without "
        "tax. A return counts for the month of its order; those that come later still take from it.",
        f"Money is put down to the last decision for its customer in the {ledger.window / DAY:g} days before; slots of "
        "one page share it equally. What has none is not attributed, so parts sum to the total. Decisions to do "
        "nothing count too: the held out have them as well.",
        "Intervals hold the true value 95 times of 100: they show how far the figures move when others are held out.",
        "Campaigns of a slot are compared with the held out of the whole slot. Where a policy chose them, their "
        "customers differ from the held out by that choice: only the sum of the slot compares like with like.",
    ]
    if found.saved > 0:
        told.append(f"What was bought before the first decision took {found.saved:.1%} of the variance away.")
    told += [f"{many:,} customers are left out: {why}." for why, many in ledger.left_out.items()]
    told.append("Not recorded: " + "; ".join(f"{name} ({why})" for name, why in ledger.untold.items()) + ".")
    return [*told, *ledger.notes]


def over(report: MoneyReport) -> bool:
    """Whether the data reach the end of the month."""
    return report.ledger.until >= report.ledger.month.end


def moment(report: MoneyReport, instant: int) -> str:
    """Day and minute in the shop's time zone."""
    return f"{to_datetime(instant).astimezone(zone(report.zone)):%Y-%m-%d %H:%M}"


def signed(value: float) -> str:
    """A figure with its sign, as exact as its size needs.

    >>> signed(1234.5), signed(-1.234), signed(float("nan"))
    ('+1,234', '-1.23', 'not defined')
    """
    if not np.isfinite(value):
        return "not defined"
    value = 0.0 if abs(value) < 0.005 else value  # no -0.00
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+,.2f}"


def amount(value: float, currency: str) -> str:
    """A sum of money without a plus."""
    return f"{signed(value).removeprefix('+')} {currency}"


def interval(found: Interval) -> str:
    """A figure with its interval; without one where too few customers have any of it."""
    if not np.isfinite(found.low):
        return f"{signed(found.value)} (too few for an interval)" if np.isfinite(found.value) else "not defined"
    return f"{signed(found.value)} [{signed(found.low)}, {signed(found.high)}]"


def account_rows(report: MoneyReport) -> list[tuple[str, str, bool]]:
    """Name, figure and whether it is a sum, of each line of the account."""
    return [(each.name, "not recorded" if each.found is None else interval(each.found), each.total)
            for each in report.entries]  # fmt: skip


def part_rows(parts: list[Part]) -> list[tuple[str, str, str]]:
    """Name, revenue and bottom line of each part."""
    return [(part.name, interval(part.revenue), interval(part.result)) for part in parts]


def marks(report: MoneyReport) -> dict[str, list[Mark]]:
    """What the picture shows: the total, then the parts."""
    total = report.total
    found = {"In all": [Mark("personalisation", total.value, total.low, total.high, "challenger")]}
    for key, title in TITLES.items():
        found[title] = [
            Mark(_short(part.name), part.result.value, part.result.low, part.result.high,
                 "baseline" if part.name == UNATTRIBUTED else "candidate")
            for part in report.parts[key]
        ]  # fmt: skip
    return found


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."


def unit(report: MoneyReport) -> str:
    """Of the picture's axis."""
    return f"{report.result} that personalisation added, {report.currency} in {report.ledger.month.name}"


def html(report: MoneyReport) -> str:
    """The page, self-contained: the picture is inside and nothing is fetched."""
    picture = "" if report.reasons else _picture(report)
    return rendered(
        "experiments/money.html.j2", report=report, month=report.ledger.month.name, headline=headline(report),
        reasons=reasons(report), facts=facts(report), accepted=bool(not report.reasons and report.total.low > 0),
        account=account_rows(report), picture=picture, titles=TITLES,
        tables={key: part_rows(list(parts)) for key, parts in report.parts.items()},
    )  # fmt: skip


def _picture(report: MoneyReport) -> str:
    drawn = plots.values(marks(report), unit=unit(report), best=float("nan"))
    return base64.b64encode(drawn).decode()


def pdf(report: MoneyReport) -> bytes:
    """The same on one sheet of A4."""
    return plots.sheet(
        title=f"{report.shop}: personalisation in {report.ledger.month.name}", headline=headline(report),
        reasons=reasons(report), account=account_rows(report), groups={} if report.reasons else marks(report),
        unit=unit(report), facts=facts(report),
    )  # fmt: skip


def json_rows(report: MoneyReport) -> list[Row]:
    """Every figure, for programs."""
    name, month = report.shop, report.ledger.month.name
    found = [
        Row("money", name, month, "customers", "treated", report.difference.treated),
        Row("money", name, month, "customers", "held-out", report.difference.held),
        Row("money", name, month, "customers", "left-out", sum(report.ledger.left_out.values())),
        Row("money", name, month, "customers", "needed", report.power.needed),
    ]
    total = report.total if not report.reasons else Interval(float("nan"), float("nan"), float("nan"), 0, 0)
    found.append(_row(report, "total", report.result, total))
    found += [_row(report, "account", each.name, _unknown(each)) for each in report.entries]
    for key, parts in report.parts.items():
        for part in parts:
            found += [_row(report, f"{key}: {part.name}", "revenue", part.revenue),
                      _row(report, f"{key}: {part.name}", report.result, part.result)]  # fmt: skip
    return found


def _unknown(entry: Entry) -> Interval:
    nothing = float("nan")
    return entry.found or Interval(nothing, nothing, nothing, 0, 0)


def _row(report: MoneyReport, subject: str, metric: str, found: Interval) -> Row:
    return Row(
        "money", report.shop, report.ledger.month.name, subject, metric, found.value, found.low, found.high,
        report.currency,
    )  # fmt: skip
