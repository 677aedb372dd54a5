"""How much predicted deliveries can be believed: coverage and width of the 80 % intervals on a later time.

Everything is learned as of the start of the last window and asked in it (`training.delivery_asked.asked`). A question
counts once the latest instant that any method named has passed: what is left out is decided by predictions, never by
what came. Lines that were not delivered by then were missed by all.
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
from training.delivery import COVERAGE, TAILS, Learned, learn, window_of
from training.delivery_asked import Question, asked
from training.delivery_lines import Doubles, Kinds, Mask, Whole, before, counted
from training.intervals import Interval, share_interval

OURS: Final = "kokyaku"
PROMISED: Final = "promised"
BY_CATEGORY: Final = "category"
METHODS: Final = (OURS, PROMISED, BY_CATEGORY)
EVERYTHING, IN_TIME, LATE = "all", "asked: in time", "asked: late"


@dataclass(frozen=True, slots=True)
class Part:
    """A method on some of the questions.

    Args:
        slice: `all`, `asked: ...`, `state: ...` or `lead time: ...`.
        method: one of `METHODS`.
        coverage: share of the questions whose delivery fell into the interval; its n counts orders.
        questions: how many there are.
        mean_width, median_width: days.
        matched_width: mean days if both ends moved outwards alike until as many were held as by kokyaku, never before
            now: how far is taken from the same window, in the method's favour. NaN where that cannot be.
        error: mean |likely - delivered|, days, of those that came.
        score: mean interval score, days: the width and ten times what a delivery lies outside (Gneiting & Raftery 2007,
            equation 43); of what has not come, what it lies outside by now.
        after: share that came after the interval, or not yet.
    """

    slice: str
    method: str
    coverage: Interval
    questions: int
    mean_width: float
    median_width: float
    matched_width: float
    error: float
    score: float
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
    kept = _decided(said, as_of)
    mine = [questions[place] for place in kept]
    parts = _parts(mine, {name: each[kept] for name, each in said.items()}, came[kept], as_of)
    return Proof(
        start=start,
        until=as_of,
        parts=parts,
        counts=counted(lines),
        open_share=float(np.mean(~np.isfinite(came[kept]))) if len(kept) else np.nan,
        undecided=1 - len(kept) / max(len(questions), 1),
        learned=learned,
    )


def _decided(said: Mapping[str, Doubles], until: int) -> Whole:
    """Places of the questions that have an answer, and whose latest instant has passed whoever named it."""
    latest = np.stack([each[:, 2] for each in said.values()])
    passed = np.where(np.isnan(latest), -np.inf, latest).max(axis=0) <= until
    return np.flatnonzero(np.isfinite(said[OURS][:, 2]) & passed)


def by_promise(past: Sequence[OrderLine], questions: Sequence[Question]) -> Doubles:
    """float64[n, 3]: what is promised and the quantiles of all delays, never before now; NaN without a promise."""
    delays = [
        line.delivered_at - line.first_promised_at
        for line in past
        if line.delivered_at is not None and line.first_promised_at is not None
    ]
    tails = np.quantile(delays, TAILS) if delays else np.full(3, np.nan)
    promised = np.array([
        np.nan if each.line.promised_at is None else each.line.promised_at for each in questions
    ], np.float64)  # fmt: skip
    return np.asarray(np.maximum(promised[:, None] + tails, _now(questions)[:, None]), np.float64)


def by_category(past: Sequence[OrderLine], kinds: Kinds, questions: Sequence[Question]) -> Doubles:
    """float64[n, 3]: the quantiles of days from order to delivery of the category (of all where it has none)."""
    took: dict[int, list[int]] = {}
    for line in past:
        if line.delivered_at is not None:
            for code in {kinds.of(line)[1], -1}:
                took.setdefault(code, []).append(line.delivered_at - line.ordered_at)
    tails = {code: np.quantile(days, TAILS) for code, days in took.items()}
    found = np.array([each.line.ordered_at + tails.get(each.category, tails[-1]) for each in questions]).reshape(-1, 3)
    return np.asarray(np.maximum(found, _now(questions)[:, None]), np.float64)


def told(proof: Proof) -> list[str]:
    """What a merchant should know of it, as sentences."""
    ours, promise, category = (proof.part(EVERYTHING, name) for name in METHODS)
    if ours is None:
        return ["Predicted deliveries cannot be judged: nothing that was asked in the last window is decided yet."]
    said = [
        f"When an order arrives is predicted as an interval: {_covered(ours)} of the deliveries of the last window "
        f"fell into it (meant: {COVERAGE:.0%}), at a mean width of {ours.mean_width:.1f} days."
    ]
    said += [
        f"{name} held {_covered(each)} at {each.mean_width:.1f} days."
        for name, each in (
            ("The promised date with the usual delays", promise),
            ("The category's usual time", category),
        )
        if each is not None
    ]
    late = proof.part(LATE, OURS)
    if late is not None:
        said.append(f"Of lines that were late already it held {_covered(late)}, at {late.mean_width:.1f} days.")
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


def _parts(questions: Sequence[Question], said: Mapping[str, Doubles], came: Doubles, until: int) -> list[Part]:
    orders = np.array([each.line.order_id for each in questions], str)
    now, parts = _now(questions), []
    for name, mask in _slices(questions).items():
        share = float(_inside(said[OURS][mask], came[mask]).mean()) if mask.any() else np.nan
        for method, each in said.items():
            some = mask & np.isfinite(each[:, 2])
            if some.any():
                matched = matched_width(each[some], came[some], now[some], share)
                parts.append(_part((name, method), each[some], came[some], orders[some], matched, until))
    return parts


def _slices(questions: Sequence[Question]) -> dict[str, Mask]:
    state = np.array([each.line.state for each in questions], str)
    lead = np.array([each.lead_class for each in questions], np.int64)
    late = np.array([each.line.is_overdue(each.now) for each in questions], bool)
    found: dict[str, Mask] = {EVERYTHING: np.ones(len(questions), bool), IN_TIME: ~late, LATE: late}
    found |= {f"state: {name}": state == name for name in STATES}
    return found | {f"lead time: {name}": lead == place for place, name in enumerate(CLASSES)}


def matched_width(said: Doubles, came: Doubles, now: Doubles, share: float) -> float:
    """`Part.matched_width`, days.

    Args:
        said: float64[n, 3], intervals.
        came: float64[n], infinite where not yet.
        now: float64[n], the moments of asking; all in microseconds.
        share: of the deliveries to be held.
    """
    short = np.sort(np.maximum(said[:, 0] - came, came - said[:, 2]))
    move = max(float(short[max(int(np.ceil(share * len(short))) - 1, 0)]), 0.0)
    if not np.isfinite(move):
        return np.nan
    return float((said[:, 2] + move - np.maximum(said[:, 0] - move, now)).mean() / DAY)


def _inside(said: Doubles, came: Doubles) -> Mask:
    return np.asarray((said[:, 0] <= came) & (came <= said[:, 2]))


def _part(
    name: tuple[str, str], said: Doubles, came: Doubles, orders: npt.NDArray[np.str_], matched: float, until: int
) -> Part:  # fmt: skip
    low, likely, high = said.T
    width, off = (high - low) / DAY, np.abs(likely - came)[np.isfinite(came)] / DAY
    at = np.minimum(came, until)
    missed = (np.maximum(low - at, 0) + np.maximum(at - high, 0)) / DAY
    return Part(
        *name, share_interval(_inside(said, came), orders), len(said), float(width.mean()), float(np.median(width)),
        matched, float(off.mean()) if len(off) else np.nan, float((width + 2 / (1 - COVERAGE) * missed).mean()),
        float(np.mean(came > high)),
    )  # fmt: skip


def _now(questions: Sequence[Question]) -> Doubles:
    return np.array([each.now for each in questions], np.float64)
