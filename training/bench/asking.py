"""Questions in the simulated shop: how often a moment is unusual, and what the answer about a pet is worth.

Hours are learned on the earlier half of looks and judged on the later: by department, the share of looks in moments
that a threshold calls unusual. In that world hours follow the device, and only what broke is looked at at any hour.
What an answer is worth is learned as a bundle learns it, and stands beside the truth: the mean true chances of clicks
of unknown visitors with and without a pet. All figures are of the simulated shop, never of real ones.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.build import histories_as_of
from features.dataset import Dataset
from features.text import event_key
from serving.prior import NOTHING
from serving.questions import learned_of, value_of_answer
from training.bench.rows import Row
from training.bench.strangers import SURFACE, truth_of
from training.fitting import Cut
from training.hours import Looks, hour_arrays, looks_of, unusual_shares
from training.prior_log import strangers
from training.questions import question_arrays
from training.simulation.effects import Segment
from training.simulation.oracle import world_of
from training.simulation.sessions import APART
from training.simulation.truth import Truth
from training.uplift.log import Whole
from training.uplift.reading import read_log

THRESHOLDS = (0.02, 0.05)
PET = "pet"
ZONE = "America/New_York"
"""Of the simulated shop; its customers live in several."""
SLOTS = ("hero", "band")


def rows_of(dataset: Dataset, truth: Truth, data: str) -> list[Row]:
    """Shares of unusual moments by department, and the worth of the answer, learned and true."""
    end = world_of(truth.manifest).calendar.end
    looks = looks_of(Cut(histories_as_of(dataset), end, dataset=dataset), ZONE)
    later = looks.time >= np.quantile(looks.time, 0.5)
    shares = unusual_shares(hour_arrays(_some(looks, ~later)), _some(looks, later), THRESHOLDS)
    rows = [
        Row("context", data, "unusual moments", name, f"share-below-{threshold:g}", float(share))
        for name, each in shares.items()
        for threshold, share in zip(THRESHOLDS, each, strict=True)
    ]
    learned = learned_of(question_arrays(dataset, end, ZONE))
    for slot in SLOTS:
        true, able = pet_truth(dataset, truth, slot)
        known = learned[PET].gain({}, {f"{SURFACE}/{slot}": able}) if PET in learned else 0.0
        rows += [
            Row("context", data, f"question {PET} {slot}", "kokyaku", "worth-of-answer", known),
            Row("context", data, f"question {PET} {slot}", "truth", "worth-of-answer", true),
        ]
    return rows


def pet_truth(dataset: Dataset, truth: Truth, slot: str) -> tuple[float, tuple[str, ...]]:
    """What knowing of a pet truly adds to the clicks of unknown visitors, a slot; and the slot's actions."""
    log = read_log(dataset, surface=SURFACE, slot=slot, rewards=("click",), window=APART, history=False)
    log = log.take(log.usable & strangers(log))
    true = truth_of(truth, log, slot, "click")
    owner = _owners(truth, log.keys)
    count = np.stack([np.isfinite(true[rows]).sum(axis=0) for rows in (owner, ~owner)])
    total = np.stack([np.nan_to_num(true[rows]).sum(axis=0) for rows in (owner, ~owner)])
    value = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    able = tuple(NOTHING if action is None else action for action in log.actions)
    return value_of_answer(np.array([owner.mean(), 1 - owner.mean()]), value), able


def _owners(truth: Truth, keys: Whole | np.ndarray | None) -> np.ndarray:
    """bool[n]: whether each decision was about somebody with a pet."""
    table = truth.decisions.select(["decision_id", "situation"]).to_pydict()
    bits = {event_key(each): bit for each, bit in zip(table["decision_id"], table["situation"], strict=True)}
    listed = [] if keys is None else keys.tolist()
    return np.array([bool(bits[key] & int(Segment.PET)) for key in listed])


def _some(looks: Looks, rows: np.ndarray) -> Looks:
    return replace(
        looks, time=looks.time[rows], hour=looks.hour[rows], device=looks.device[rows], path=looks.path[rows]
    )
