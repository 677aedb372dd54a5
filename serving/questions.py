"""Progressive profiling: whether to ask something now, and what.

    asking = best_question(questions, asked, session_asked, gains, rarity=rarity(hours, "mobile", 5, "Appliances"))

At most one question a session, never one that was put before (answered or skipped), only where what the answer is
expected to bring exceeds what asking costs. Everything learned comes from small tables of the bundle
(`training.questions`); where they say nothing, a question is worth what the shop's file declares.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from features.ids import Array, Vocabulary
from serving.prior import ContextPrior
from serving.strict import Strict

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
HOURS = "context.hours"
ANSWERS = "context.answers"
STEP = " > "
"""Between the steps of a category path."""
Money = Annotated[float, Meta(ge=0)]


class Question(Strict, frozen=True):
    """A question that the shop may put, as its file declares it.

    Args:
        id: of the question; `answer` events name it.
        attribute: what the answer is kept as.
        options: the answers that can be given; none: free text, such as a name.
        categories: only while something in a category whose path begins with one of these is looked at; none: always.
        unusual: only where the moment is at most so usual for the category and device (`rarity`), such as 0.05; None:
            at any moment.
        cost: what asking costs, in the unit of the gains: an answer must bring more.
        gain: what an answer is worth while nothing was learned of it; for free text that is always so.
    """

    id: str
    attribute: str
    options: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    unusual: Annotated[float, Meta(gt=0, le=1)] | None = None
    cost: Money = 0.0
    gain: Money = 0.0


class Rarity(msgspec.Struct, frozen=True):
    """How usual a moment is.

    Args:
        value: at most this share of such looks falls in hours that are as rare as this one; 1: nothing unusual.
        why: in words, also where nothing is known.
    """

    value: float
    why: str


class Asking(msgspec.Struct, frozen=True):
    """What to ask now.

    Args:
        question: None: nothing.
        gain: what its answer is expected to bring; NaN without one.
        reasons: why, of it and of those that were passed over, or why nothing is asked.
    """

    question: Question | None
    gain: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Hours:
    """When things are looked at, by category and device (`training.questions.hour_arrays`).

    Args:
        paths: categories and departments; the whole shop is the last row, without a name.
        devices: words.
        rarity: float32[paths + 1, devices, 24], upper ends of tail shares.
        looks: int64[paths + 1, devices], what they were learned from.
    """

    paths: Vocabulary
    devices: Vocabulary
    rarity: Floats
    looks: npt.NDArray[np.int64]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Hours | None:
        """Those of a bundle; None where it has none."""
        if f"{HOURS}.rarity" not in arrays:
            return None
        paths, devices = (Vocabulary.from_arrays(arrays, f"{HOURS}.{name}") for name in ("paths", "devices"))
        looks = np.asarray(arrays[f"{HOURS}.looks"], np.int64)
        return cls(paths, devices, np.asarray(arrays[f"{HOURS}.rarity"], np.float32), looks)


def rarity(hours: Hours | None, device: str | None, hour: int, category: str) -> Rarity:
    """How usual it is that something of a category is looked at in this local hour on this device.

    The value is the 95 % upper end of a tail: the share of looks at the category on the device that fall in hours at
    least as rare as this one. It is of the hour given the device, since otherwise every hour of a rare device would be
    unusual. An upper end, since few looks are no evidence: they leave it wide, and nothing is cried. A category without
    looks of its own stands for its department, that for the shop.

    Args:
        hours: of the bundle.
        device: as the request tells it.
        hour: local, from 0.
        category: path, such as `Home > Refrigerators`.
    """
    if hours is None:
        return Rarity(1.0, "nothing was learned of hours, so no moment is unusual")
    column = None if device is None else hours.devices.find(device)
    if column is None:
        return Rarity(1.0, f"nothing was learned of the device {device or '(not told)'}, so no moment is unusual")
    steps = category.split(STEP)
    names = [STEP.join(steps[:count]) for count in range(len(steps), 0, -1)]
    row, name = next(
        ((found, name) for name in names if (found := hours.paths.find(name)) is not None), (len(hours.paths), "")
    )
    value = float(hours.rarity[row, column, hour])
    what, count = name or "the shop", int(hours.looks[row, column])
    told = f"at most {value:.1%} of looks at {what} on {device} are at hours as rare as {hour}:00"
    return Rarity(value, f"{told} ({count:,} looks)")


def value_of_answer(chance: Doubles, value: Doubles) -> float:
    """What knowing the answer is expected to add to the best action's value.

        sum_o P(o) max_a v(a | o)  -  max_a sum_o P(o) v(a | o)

    the expected value of perfect information (Raiffa & Schlaifer 1961, section 4.5; Howard 1966). Never below 0.

    Args:
        chance: float64[options], P(o); scaled to sum to 1.
        value: float64[options, actions]; an action of which something is not known is left out.

    Returns:
        0 where nothing is known.
    """
    known = value[:, np.isfinite(value).all(axis=0)]
    total = float(chance.sum())
    if not known.size or not np.isfinite(total) or total <= 0:
        return 0.0
    share = chance / total
    return max(0.0, float(share @ known.max(axis=1) - (share @ known).max()))


@dataclass(frozen=True)
class Learned:
    """What was learned of one question.

    Args:
        answers: how likely each option is, by context.
        values: slot -> its actions, and float64[options, actions], the chance of a click given the answer.
    """

    answers: ContextPrior
    values: Mapping[str, tuple[tuple[str, ...], Doubles]]

    def gain(self, words: Mapping[str, str], able: Mapping[str, Collection[str]]) -> float:
        """What the answer is expected to add to a page, slot by slot.

        Args:
            words: what the visit tells (`serving.prior.words_of`).
            able: slot -> the actions that may stand there now; slots of which nothing was learned add nothing.
        """
        chance = self.answers.score(words)
        total = 0.0
        for slot, actions in able.items():
            known, value = self.values.get(slot, ((), np.empty((len(chance), 0))))
            total += value_of_answer(chance, value[:, [at for at, name in enumerate(known) if name in actions]])
        return total


def learned_of(arrays: Mapping[str, Array]) -> dict[str, Learned]:
    """The questions of which the bundle knows something, by id; empty where it knows nothing."""
    if f"{ANSWERS}.questions.rows" not in arrays:
        return {}
    found = {}
    for number, question in enumerate(Vocabulary.from_arrays(arrays, f"{ANSWERS}.questions")):
        prefix = f"{ANSWERS}.{number}"
        answers = ContextPrior.from_arrays(arrays, f"{prefix}.chance")
        values = {}
        for at, slot in enumerate(Vocabulary.from_arrays(arrays, f"{prefix}.slots")):
            actions = tuple(Vocabulary.from_arrays(arrays, f"{prefix}.slot.{at}.actions"))
            values[slot] = actions, np.asarray(arrays[f"{prefix}.slot.{at}.value"], np.float64)
        if answers is not None:
            found[question] = Learned(answers, values)
    return found


def best_question(
    questions: Sequence[Question],
    asked: Collection[str],
    session_asked: bool,
    gains: Mapping[str, float],
    cost: float = 0.0,
    *,
    category: str = "",
    moment: Rarity | None = None,
) -> Asking:
    """The one question whose answer is expected to bring most beyond its cost now, if any.

    Args:
        questions: of the shop's file; of equally good ones the first is asked.
        asked: questions that were put to the person before, answered or skipped.
        session_asked: whether one was put in this session.
        gains: question -> what was learned that its answer brings (`Learned.gain`); a question with options that is
            not there, or NaN, and one of free text bring what they declare.
        cost: what any question costs now, beside its own.
        category: path of what is looked at; empty: nothing.
        moment: how usual it is; None: not known, so it is not unusual.
    """
    if session_asked:
        return Asking(None, np.nan, ("one question a session, and it was put",))
    best, top, reasons = None, 0.0, []
    for question in questions:
        passed = _passed_over(question, asked, category, moment)
        gain, source = _gain(question, gains)
        net = gain - question.cost - cost
        if passed is None and net <= 0:
            passed = f"its answer brings {gain:.4g} ({source}), which asking costs"
        if passed is not None:
            reasons.append(f"{question.id}: {passed}")
        elif best is None or net > top:
            best, top = question, net
    if best is None:
        return Asking(None, np.nan, tuple(reasons) or ("there is nothing to ask",))
    gain, source = _gain(best, gains)
    why = [f"{best.id}: its answer is expected to bring {gain:.4g} ({source})"]
    if best.unusual is not None and moment is not None:
        why.append(f"{best.id}: {moment.why}")
    return Asking(best, gain, (*why, *reasons))


def _passed_over(question: Question, asked: Collection[str], category: str, moment: Rarity | None) -> str | None:
    if question.id in asked:
        return "it was put before"
    if question.categories and not _within(category, question.categories):
        return "nothing of its categories is looked at"
    if question.unusual is not None and (moment is None or moment.value > question.unusual):
        return f"the moment is not unusual{'' if moment is None else f': {moment.why}'}"
    return None


def _within(category: str, wanted: Iterable[str]) -> bool:
    """Whether a path is one of some categories, or below one: whole steps, so `Home` does not hold `Homeware`."""
    return any(category == each or category.startswith(each + STEP) for each in wanted)


def _gain(question: Question, gains: Mapping[str, float]) -> tuple[float, str]:
    learned = gains.get(question.id, np.nan) if question.options else np.nan
    return (question.gain, "declared") if np.isnan(learned) else (float(learned), "learned")
