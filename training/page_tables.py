"""The small tables of a bundle that pages read beside the ranking: deliveries, hours, answers, resting categories."""

from __future__ import annotations

import numpy as np

from features.ids import Array
from serving.repurchase import LEARNED
from training.delivery_report import delivery_arrays
from training.fitting import Cut
from training.material import Material
from training.questions import page_tables
from training.repurchase import repurchase_days
from training.session import Session


def tables_of(session: Session, material: Material, cut: Cut) -> dict[str, Array]:
    """Everything that pages read of a bundle and that no source or ranker needs.

    Args:
        session: the run.
        material: what it reads.
        cut: what the bundle is fitted on.
    """
    config = session.config.shop
    with session.meter.step("fit resting categories"):
        category = np.asarray(cut.items["shared.category"], np.int32)
        days = repurchase_days(cut.known, category, cut.categories, cut.as_of)
    with session.meter.step("fit hours and answers"):
        asked = {name: question.values for name, question in session.config.questions.items()}
        told = page_tables(cut, material.dataset, config.time_zone, material.unlearned, asked)
    return {**delivery_arrays(session, material, cut), **told, LEARNED: days}
