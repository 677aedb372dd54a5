"""Spells: each subject's time in each stage, one row from a change to the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from features.journey import RULES, STAGES, StageRules
from features.timeline import stages_over
from training.journey.reading import Travellers
from training.meter import Tell
from training.session import silent

Counts = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]
CODE = {name: code for code, name in enumerate(STAGES)}
CHUNK = 500
"""Subjects whose journeys are held as lists at once."""


@dataclass(frozen=True, slots=True)
class Spells:
    """Time that subjects spent in stages; a subject's rows lie side by side, oldest first.

    Args:
        subject: int64[n], row of the subject.
        stage: int8[n], place in `STAGES`.
        start, end: int64[n], microseconds; the last spell of each ends where knowledge ends.
        following: int8[n], the stage after it; -1: it lasted when knowledge ended.
    """

    subject: Counts
    stage: Codes
    start: Counts
    end: Counts
    following: Codes

    def __len__(self) -> int:
        return len(self.subject)

    def take(self, which: npt.NDArray[np.bool_]) -> Spells:
        """Some of them."""
        return Spells(*(getattr(self, field.name)[which] for field in fields(self)))


def spells_of(all_: Travellers, until: int, rules: StageRules = RULES, tell: Tell = silent) -> Spells:
    """The spells of all subjects, from the first that is known of each until a moment.

    Args:
        all_: subjects, as known at `until`.
        until: microseconds.
        rules: the thresholds.
        tell: hears of the subjects that are done.
    """
    pieces = []
    for first in range(0, len(all_), CHUNK):
        rows = range(first, min(first + CHUNK, len(all_)))
        pieces.append(_packed([spell for row in rows for spell in _journey(all_, row, until, rules)]))
        tell("journeys", rows.stop, len(all_))
    return Spells(*(np.concatenate([getattr(each, field.name) for each in pieces]) for field in fields(Spells)))


def _journey(all_: Travellers, row: int, until: int, rules: StageRules) -> Iterator[tuple[int, int, int, int, int]]:
    history, lines = all_.history(row), all_.lines(row)
    known = np.maximum(history.time + 1, history.recorded)
    first = min(int(known.min(initial=until)), *(line.steps[0].at + 1 for line in lines), until)
    changes = stages_over(history, lines, first, until, rules, all_.category)
    for place, (start, name) in enumerate(changes):
        last = place + 1 == len(changes)
        end, following = (until, -1) if last else (changes[place + 1][0], CODE[changes[place + 1][1]])
        yield row, CODE[name], start, end, following


def _packed(rows: list[tuple[int, int, int, int, int]]) -> Spells:
    table = np.array(rows, np.int64).reshape(-1, 5)
    subject, stage, start, end, following = (np.ascontiguousarray(column) for column in table.T)
    return Spells(subject, stage.astype(np.int8), start, end, following.astype(np.int8))
