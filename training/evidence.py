"""What is measured of the winner alone, beyond the contest: whether its score is a chance, and lists of a category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serving.recipe import Recipe
from training import calibration, category_lists, journal
from training.calibration import CALIBRATED_CUSTOMERS
from training.category_lists import PURCHASES
from training.contest import Arena
from training.journal import Judged
from training.material import Material
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


def of_winner(session: Session, material: Material, judged: Judged, winner: str) -> Evidence:
    """Measure, log and tell; nothing where there was nobody to judge."""
    arena = judged.arena
    if arena is None or not len(arena.truth):
        return Evidence()
    recipe = judged.recipes[winner]
    score, lists = _calibrated(session, arena, recipe), _in_lists(session, material, arena, recipe)
    return Evidence([*score.sentences, *lists.sentences], {**score.plots, **lists.plots})


def _calibrated(session: Session, arena: Arena, recipe: Recipe) -> Evidence:
    if not calibration.is_probability(recipe):
        return Evidence(calibration.told(recipe, {}))
    progress = session.counted("calibration (last window)", min(len(arena.truth), CALIBRATED_CUSTOMERS))
    scored = calibration.scored(arena, recipe, progress=progress)
    confidence = session.config.gate.confidence
    found = {task: calibration.calibration_of(each, confidence=confidence) for task, each in scored.items()}
    journal.log_calibration(session.run, found)
    return Evidence(calibration.told(recipe, found), {"calibration": journal.draw_calibration(found)})


def _in_lists(session: Session, material: Material, arena: Arena, recipe: Recipe) -> Evidence:
    settings = session.config.gate
    position = category_lists.positions(material.dataset, arena.histories.items, arena.window.start)
    what = "lists of a category (last window)"
    progress = session.counted(what, min(len(arena.truth.items), PURCHASES))
    places = category_lists.measured(arena, recipe, position, progress=progress)
    session.tell(what, 1, 1)  # purchases of items without a category are not counted above
    resamples = min(settings.resamples, 500)
    found = category_lists.standings(places, resamples=resamples, confidence=settings.confidence)
    journal.log_category_lists(session.run, found)
    share = f"{settings.confidence:.0%}"
    drawn = {"category-lists": journal.draw_category_lists(found, share)} if len(places.sizes) else {}
    return Evidence(category_lists.told(places, found), drawn)
