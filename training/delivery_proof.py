"""How much predicted deliveries can be believed: coverage and width of the 80 % intervals on a later time.

Everything is learned as of the start of the last window and asked in it (`training.delivery_asked.asked`). A question counts
once the latest instant that any method named has passed: what is left out is decided by predictions, never by what came.
Lines that were not delivered by then were missed by all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.moments import DAY
from features.orders import OrderLine
from serving.delivery import CLASSES, STATES, Deliveries
from training.delivery import COVERAGE, LEAST, TAILS, Learned, learn, window_of
from training.delivery_asked import Question, asked
from training.delivery_lines import Doubles, Kinds, Mask, before, counted
from training.intervals import Interval, share_interval

OURS: Final = "kokyaku"
PROMISED: Final = "promised date and delays"
BY_CATEGORY: Final = "quantiles by category"
METHODS: Final = (OURS, PROMISED, BY_CATEGORY)
EVERYTHING: Final = "all"


@dataclass(frozen=True, slots=True)
class Part:
    """A method on some of the questions.

    Args:
        slice: `all`, `state: ...` or `lead time: ...`.
        method: one of `METHODS`.
        coverage: share of the questions whose delivery fell into the interval; its n counts orders.
        questions: how many there are.
        mean_width, median_width: days.
        error: mean |likely - delivered|, days, of those that came.
        after: share that came after the interval, or not yet.
    """

    slice: str
    method: str
    coverage: Interval
    questions: int
    mean_width: float
    median_width: float
    error: float
    after: float


@dataclass(frozen=True, slots=True)
class Proof:
    """What was measured.

    Args:
        start, until: microseconds; the window of the questions.
        parts: slice by slice, each with all methods.
        counts: lines by what became of them, over all time.
        open_share: of the lines asked about, those that were not delivered when it was decided.
        undecided: share of the questions that could not be decided yet.
        learned: what was asked.
    """

    start: int
    until: int
    parts: Sequence[Part]
    counts: Mapping[str, int]
    open_share: float
    undecided: float
    learned: Learned

    def part(self, slice: str, method: str) -> Part | None:
        """The figures of one method on one slice, where it has any."""
        return next((each for each in self.parts if (each.slice, each.method) == (slice, method)), None)

    @property
    def slices(self) -> list[str]:
        """In the order of the parts."""
        return list(dict.fromkeys(each.slice for each in self.parts))


def prove(lines: Sequence[OrderLine], kinds: Kinds, as_of: int) -> Proof | None:
    """Learn before the last window, ask in it, and compare with two baselines.

    Args:
        lines: as known at `as_of`.
        kinds: of their items, as known before the window.
        as_of: microseconds.

    Returns:
        None where too little was delivered before the window.
    """
    start = as_of - window_of(lines, as_of)
    past = before(lines, start)
    learned = learn(past, kinds, start)
    if learned is None:
        return None
    questions = asked(lines, kinds, start, as_of)
    said = {
        OURS: _predicted(Deliveries.from_arrays(learned.arrays), questions),
        PROMISED: by_promise(past, questions),
        BY_CATEGORY: by_category(past, kinds, questions),
    }
    came = np.array([np.inf if each.delivered is None else each.delivered for each in questions])
    latest = np.stack([each[:, 2] for each in said.values()])
    decided = np.isfinite(said[OURS][:, 2]) & (np.where(np.isnan(latest), -np.inf, latest).max(axis=0) <= as_of)
    kept = np.flatnonzero(decided)
    mine = [questions[place] for place in kept]
    parts = _parts(mine, {name: each[kept] for name, each in said.items()}, came[kept])
    return Proof(
        start=start,
        until=as_of,
        parts=parts,
        counts=counted(lines),
        open_share=float(np.mean(~np.isfinite(came[kept]))) if len(kept) else np.nan,
        undecided=1 - len(kept) / max(len(questions), 1),
        learned=learned,
    )


def too_little(lines: Sequence[OrderLine]) -> str:
    """Why nothing is predicted, or nothing measured, as a sentence."""
    if not lines:
        return "No delivery is predicted: the shop has no order lines with states."
    done = counted(lines)["delivered"]
    what = f"{done:,} delivered lines, and at least {LEAST} are needed before the last windows"
    return f"Predicted deliveries are not measured: {what}."


def by_promise(past: Sequence[OrderLine], questions: Sequence[Question]) -> Doubles:
    """float64[n, 3]: what is promised and the quantiles of all delays so far, never before now; NaN without a promise."""
    delays = [
        line.delivered_at - line.first_promised_at
        for line in past
        if line.delivered_at is not None and line.first_promised_at is not None
    ]
    tails = np.quantile(delays, TAILS) if delays else np.full(3, np.nan)
    promised = np.array([
        np.nan if each.line.promised_at is None else each.line.promised_at for each in questions
    ], np.float64)  # fmt: skip
    return np.maximum(promised[:, None] + tails, _now(questions)[:, None])


def by_category(past: Sequence[OrderLine], kinds: Kinds, questions: Sequence[Question]) -> Doubles:
    """float64[n, 3]: the quantiles of days from order to delivery of the category (of all where it has none)."""
    took: dict[int, list[int]] = {}
    for line in past:
        if line.delivered_at is not None:
            for code in {kinds.of(line)[1], -1}:
                took.setdefault(code, []).append(line.delivered_at - line.ordered_at)
    tails = {code: np.quantile(days, TAILS) for code, days in took.items()}
    found = np.array([each.line.ordered_at + tails.get(each.category, tails[-1]) for each in questions]).reshape(-1, 3)
    return np.maximum(found, _now(questions)[:, None])


def told(proof: Proof) -> list[str]:
    """What a merchant should know of it, as sentences."""
    ours, promise, category = (proof.part(EVERYTHING, name) for name in METHODS)
    if ours is None:
        return ["Predicted deliveries cannot be judged: nothing that was asked in the last window is decided yet."]
    said = [
        f"When an order arrives is predicted as an interval: {_covered(ours)} of the deliveries of the last window fell "
        f"into it (meant: {COVERAGE:.0%}), at a mean width of {ours.mean_width:.1f} days."
    ]
    said += [
        f"Beside it, {name} ({_covered(each)}) would take {each.mean_width:.1f} days."
        for name, each in ((PROMISED, promise), (BY_CATEGORY, category))
        if each is not None
    ]
    ended = sum(proof.counts[name] for name in ("cancelled", "lost", "returned"))
    share = ended / max(proof.counts["lines"], 1)
    return [
        *said,
        f"{share:.1%} of the order lines were cancelled, lost or came back undelivered: no time is said for it.",
    ]


def _covered(part: Part) -> str:
    interval = part.coverage
    return f"{interval.value:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def _predicted(deliveries: Deliveries | None, questions: Sequence[Question]) -> Doubles:
    """float64[n, 3]: what serving says; NaN where it says nothing."""
    found = np.full((len(questions), 3), np.nan)
    for place, each in enumerate(questions):
        said = deliveries.predict(each.line, each.row, each.category, each.now) if deliveries else None
        if said is not None:
            found[place] = said.earliest, said.likely, said.latest
    return found


def _parts(questions: Sequence[Question], said: Mapping[str, Doubles], came: Doubles) -> list[Part]:
    state = np.array([each.line.state for each in questions], str)
    lead = np.array([each.lead_class for each in questions], np.int64)
    orders = np.array([each.line.order_id for each in questions], str)
    slices: dict[str, Mask] = {EVERYTHING: np.ones(len(questions), bool)}
    slices |= {f"state: {name}": state == name for name in STATES}
    slices |= {f"lead time: {name}": lead == place for place, name in enumerate(CLASSES)}
    return [
        _part(name, method, each[some], came[some], orders[some])
        for name, mask in slices.items()
        for method, each in said.items()
        if (some := mask & np.isfinite(each[:, 2])).any()
    ]


def _part(name: str, method: str, said: Doubles, came: Doubles, orders: npt.NDArray[np.str_]) -> Part:
    low, likely, high = said.T
    width, off = (high - low) / DAY, np.abs(likely - came)[np.isfinite(came)] / DAY
    inside = (low <= came) & (came <= high)
    return Part(
        name, method, share_interval(inside, orders), len(said), float(width.mean()), float(np.median(width)),
        float(off.mean()) if len(off) else np.nan, float(np.mean(came > high)),
    )  # fmt: skip


def _now(questions: Sequence[Question]) -> Doubles:
    return np.array([each.now for each in questions], np.float64)
