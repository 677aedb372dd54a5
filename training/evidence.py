"""What is measured of the winner alone, beyond the contest: whether its score is a chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training import calibration, journal
from training.calibration import CALIBRATED_CUSTOMERS
from training.journal import Judged
from training.session import Session


@dataclass(frozen=True)
class Evidence:
    """What the report says and shows of it.

    Args:
        sentences: for a merchant.
        plots: name -> PNG.
    """

    sentences: Sequence[str] = ()
    plots: Mapping[str, bytes] = field(default_factory=dict)


def of_winner(session: Session, judged: Judged, winner: str) -> Evidence:
    """Measure, log and tell; nothing where there was nobody to judge."""
    if judged.arena is None or not len(judged.arena.truth):
        return Evidence()
    return _calibrated(session, judged, winner)


def _calibrated(session: Session, judged: Judged, winner: str) -> Evidence:
    arena, recipe = judged.arena, judged.recipes[winner]
    if arena is None or not calibration.is_probability(recipe):
        return Evidence(calibration.told(recipe, {}))
    progress = session.counted("calibration (last window)", min(len(arena.truth), CALIBRATED_CUSTOMERS))
    scored = calibration.scored(arena, recipe, progress=progress)
    confidence = session.config.gate.confidence
    found = {task: calibration.calibration_of(each, confidence=confidence) for task, each in scored.items()}
    journal.log_calibration(session.run, found)
    return Evidence(calibration.told(recipe, found), {"calibration": journal.draw_calibration(found)})
