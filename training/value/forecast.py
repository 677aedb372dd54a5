"""Expected value per customer: choose a method on one horizon, judge it on the next, forecast the one to come.

The horizons lie side by side before the moment: [learn ...][choose][judge] moment [forecast]. A method sees nothing at
or after the moment that it forecasts from: its examples are earlier moments whose outcomes were complete by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.history import Histories
from features.kinds import EventType
from features.moments import DAY, format_instant
from features.shop import Shop
from serving.config import load_config
from training.intervals import Interval, compare, mean_interval
from training.material import load_material
from training.meter import Tell
from training.split import customers
from training.value.judge import Decile, Scores, deciles_of, deviances, scores_of
from training.value.methods import BASELINES, LAST_PERIOD, METHODS, Forecast
from training.value.money import Money, money_of
from training.value.sample import Sample, sample_at

Floats = npt.NDArray[np.float64]

LEAST_HISTORY = 90
"""Days that customers should be known for before the first example (or a horizon, where that is shorter)."""
LEAST_HORIZON = 14
"""Days; what a shorter horizon says is mostly who was about to buy."""
LEAST_CUSTOMERS = 100
"""With fewer customers to choose on, the choice would be chance."""
EXAMPLES = 6
"""Past moments that a method may learn from, a quarter of the horizon apart."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One method in both windows.

    Args:
        chosen_on: its scores where the method was chosen.
        judged_on: its scores in the last window.
        mae: its mean absolute error there, with the interval.
        worse: its mean deviance less that of the chosen method, paired by customer; above 0 it is worse.
        worse_mae: the same of the absolute error.
    """

    chosen_on: Scores
    judged_on: Scores
    mae: Interval
    worse: Interval
    worse_mae: Interval


@dataclass(frozen=True)
class ValueReport:
    """What customers are expected to bring, and how far to believe it.

    Args:
        money: unit and why.
        as_of: microseconds.
        horizon_days: what the values are of.
        method: which method the values are of.
        sample: the customers.
        forecast: theirs, in the sample's order.
        customers: their ids, in the sample's order.
        data_hash: of what went in.
        judged: method -> scores; empty where the past was too short to judge.
        deciles: of the chosen method in the judged window.
        windows: `chosen` and `judged` -> [start, end); empty as above.
        notes: what a person should know, as sentences.
    """

    money: Money
    as_of: int
    horizon_days: int
    method: str
    sample: Sample
    forecast: Forecast
    customers: list[str]
    data_hash: str
    judged: dict[str, Judged] = field(default_factory=dict)
    deciles: list[Decile] = field(default_factory=list)
    windows: dict[str, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def forecast_value(
    shop: Shop, *, horizon: int = 365, as_of: int | None = None, tell: Tell = lambda what, done, total: None
) -> ValueReport:
    """What each customer will bring in the days after a moment.

    Args:
        shop: whose customers.
        horizon: days; a shorter one is taken, and named, where the past does not hold this one.
        as_of: microseconds; default: just after the last event.
        tell: hears `(what, done, total)`.

    Raises:
        DataError: there is no dataset, nothing was known at that moment, or no purchase has a price.
    """
    material = load_material(shop, load_config(shop.config), as_of)
    histories, end = material.histories, material.as_of
    money = money_of(material.dataset, histories, end)
    past = (end - first_known(histories)) / DAY
    days = horizon_of(past, horizon)
    shelf = Samples(histories, money.amount, days * DAY, end, tell)
    if days < min(LEAST_HORIZON, horizon):
        return _plain(money, shelf, horizon, material.data_hash)
    notes = [*money.notes]
    if days < horizon:
        notes.append(
            f"The past of {past:.0f} days is too short to learn, choose and judge {horizon} days ahead: "
            f"the values are of {days} days, and nothing is scaled up."
        )
    if past < 365 + days:
        notes.append("The past is shorter than a year and one horizon: no method can know what the season changes.")
    return _judged(money, shelf, tuple(notes), material.data_hash)


def horizon_of(past: float, wanted: int) -> int:
    """Days of the horizon that a past holds: three times, after a time in which customers become known.

    One that is shorter than wanted is of whole weeks, so that no weekday counts twice.

    Args:
        past: days.
        wanted: days.

    >>> horizon_of(1185, 365), horizon_of(373.2, 365), horizon_of(30, 365), horizon_of(30, 7)
    (365, 91, 7, 7)
    """
    if past >= 3 * wanted + min(wanted, LEAST_HISTORY):
        return wanted
    days = int(max(past / 4, (past - LEAST_HISTORY) / 3))
    return days - days % 7


def first_known(histories: Histories) -> int:
    """When the first purchase of a customer was known: it had happened and was recorded."""
    events = histories.events
    bought = (events.type == EventType.PURCHASE) & customers(histories.subjects)[histories.subject_rows()]
    return int(np.maximum(events.time, events.recorded)[bought].min())


class Samples:
    """Samples of a shop's customers, each made once.

    Args:
        histories, amount: all that is known at `end`, and what each event brought.
        horizon: microseconds.
        end: microseconds.
        tell: hears how many moments were read.
    """

    def __init__(self, histories: Histories, amount: Floats, horizon: int, end: int, tell: Tell) -> None:
        self.histories, self.amount, self.horizon, self.end, self.tell = histories, amount, horizon, end, tell
        self.first = first_known(histories)
        self._made: dict[int, Sample] = {}

    def at(self, moment: int) -> Sample:
        """Customers as of a moment."""
        if moment not in self._made:
            self._made[moment] = sample_at(self.histories, self.amount, moment, self.horizon, self.end)
        return self._made[moment]

    def before(self, moment: int) -> list[Sample]:
        """Examples whose outcomes were complete at a moment, oldest first."""
        step = max(self.horizon // 4, 1)
        known = self.first + min(self.horizon, LEAST_HISTORY * DAY) // 2
        moments = [moment - self.horizon - back * step for back in range(EXAMPLES)]
        return [self.at(each) for each in reversed(moments) if each == moments[0] or each >= known]

    def forecasts(self, moment: int, methods: Sequence[str], what: str) -> tuple[dict[str, Forecast], dict[str, str]]:
        """Each method's forecast from a moment, and why for those that had too little to learn from."""
        found, failed = {}, {}
        for done, name in enumerate(methods):
            self.tell(what, done, len(methods))
            try:
                found[name] = METHODS[name](self.before(moment), self.at(moment), self.horizon)
            except DataError as error:
                failed[name] = error.line()
        self.tell(what, len(methods), len(methods))
        return found, failed


def _judged(money: Money, shelf: Samples, notes: tuple[str, ...], data_hash: str) -> ValueReport:
    """Choose on the window before the last, judge on the last, forecast from the end."""
    judge, choose = shelf.end - shelf.horizon, shelf.end - 2 * shelf.horizon
    tried = list(METHODS) if len(shelf.at(choose)) >= LEAST_CUSTOMERS else list(BASELINES)
    if tried == list(BASELINES):
        notes += (f"{len(shelf.at(choose))} customers are too few for a model: the plain ones stand alone.",)
    early, failed = shelf.forecasts(choose, tried, "choose")
    notes += _left_out(failed)
    late, failed = shelf.forecasts(judge, list(early), "judge")
    notes += _left_out(failed)
    first = {name: scores_of(early[name].value, _truth(shelf.at(choose))) for name in late}
    ranked = sorted(first, key=lambda name: np.nan_to_num(first[name].deviance, nan=np.inf))
    for method in ranked:  # the last period always says something
        final, failed = shelf.forecasts(shelf.end, [method], "forecast")
        if not failed:
            break
        notes += _left_out(failed)
    truth = _truth(shelf.at(judge))
    return ValueReport(
        money, shelf.end, shelf.horizon // DAY, method, shelf.at(shelf.end), final[method],
        _customers(shelf), data_hash, _compared(first, late, method, truth),
        deciles_of(late[method].value, truth), {"chosen": (choose, judge), "judged": (judge, shelf.end)}, notes,
    )  # fmt: skip


def _left_out(failed: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{name} is left out: {why}." for name, why in failed.items())


def _compared(first: dict[str, Scores], late: dict[str, Forecast], method: str, truth: Floats) -> dict[str, Judged]:
    """Each method in both windows, and in the judged one beside the chosen method."""
    deviance = {name: deviances(each.value, truth) for name, each in late.items()}
    error = {name: np.abs(each.value - truth) for name, each in late.items()}
    return {
        name: Judged(
            first[name], scores_of(late[name].value, truth), mean_interval(error[name]),
            compare(deviance[name], deviance[method]), compare(error[name], error[method]),
        )
        for name in first
    }  # fmt: skip


def _plain(money: Money, shelf: Samples, wanted: int, data_hash: str) -> ValueReport:
    """Too short a past to judge anything: what customers brought of late, over no more days than there are."""
    past = (shelf.end - shelf.first) / DAY
    days = max(min(wanted, int(past)), 1)
    short = Samples(shelf.histories, shelf.amount, days * DAY, shelf.end, shelf.tell)
    found, _ = short.forecasts(shelf.end, [LAST_PERIOD], "forecast")
    why = (
        f"Purchases of {past:.0f} days are too few to judge a forecast: "
        f"the values are what customers brought in the last {days} days, as if they would again."
    )
    return ValueReport(
        money, shelf.end, days, LAST_PERIOD, short.at(shelf.end), found[LAST_PERIOD], _customers(short), data_hash,
        notes=(*money.notes, why),
    )  # fmt: skip


def verdict_of(report: ValueReport) -> str:
    """Whether the chosen method is better than the best plain ones, as a sentence."""
    if not report.judged:
        return f"The values are of the plain method {report.method}; nothing could be judged."
    if report.method in BASELINES:
        return f"No model was better than the plain method {report.method} where the choice was made: it is used."
    plain = {name: report.judged[name] for name in BASELINES if name in report.judged}
    first = min(plain, key=lambda name: plain[name].judged_on.deviance)
    second = min(plain, key=lambda name: plain[name].judged_on.mae)
    worse, worse_mae = plain[first].worse, plain[second].worse_mae
    return (
        f"In the judged window {report.method} is {_better(worse)} than the best plain method in deviance, which it "
        f"was chosen by ({first}: {_gain(worse)}), and {_better(worse_mae)} in absolute error "
        f"({second}: {_gain(worse_mae)}); differences are paired by customer."
    )


def _better(worse: Interval) -> str:
    return "better" if worse.low > 0 else "worse" if worse.high < 0 else "no better"


def _gain(worse: Interval) -> str:
    return f"{worse.value:+.3g} [{worse.low:+.3g}, {worse.high:+.3g}]"


def span_text(span: tuple[int, int]) -> str:
    """A window as dates."""
    return " to ".join(format_instant(each)[:10] for each in span)


def _truth(sample: Sample) -> Floats:
    assert sample.next is not None, "windows end before the moment"
    return sample.next.value


def _customers(shelf: Samples) -> list[str]:
    """Ids in the order of the last sample."""
    return [shelf.histories.subjects[int(row)][2:] for row in shelf.at(shelf.end).rows]
