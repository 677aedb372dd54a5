"""What a search for parameters ended with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.course import Course
from training.intervals import Interval
from training.study import Tried


@dataclass(frozen=True)
class Found:
    """What a search ended with.

    Args:
        course: what was tuned, and on what.
        tried: all trials of the study, by number.
        default, best: the trial of the default, and the best one; the default where none is better.
        held: means of the default and of the best over the customers kept apart.
        difference: of these two, paired by customer.
        better: whether its interval lies above 0.
        outcome: what became of it, as a sentence.
        table: the best parameters as a table of TOML.
        notes: what a person should know, as sentences.
        seconds: that this call took.
        run_id: of the MLflow run.
    """

    course: Course
    tried: Sequence[Tried]
    default: Tried
    best: Tried
    held: tuple[float, float]
    difference: Interval
    better: bool
    outcome: str
    table: str
    notes: Sequence[str]
    seconds: float
    run_id: str
