"""A bundle without a contest: all that pages read, fitted once as of a moment, judged by nobody.

For looking around in a shop, as the notebooks do: it takes seconds where `training.train` takes minutes. It passed no
gate and stands in no registry, so what serves customers is never made here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.ids import Array
from features.shop import Shop
from serving.bundle import Bundle
from serving.config import ShopConfig, load_config
from serving.recipe import Recipe
from serving.repurchase import LEARNED
from training.delivery import learn
from training.delivery_lines import kinds_of, read_lines
from training.fitting import Cut, fit_bundle
from training.material import Material, load_material
from training.questions import page_tables
from training.recipes import FREQUENCY, POPULARITY, SESSION, menu
from training.repurchase import repurchase_days

SOURCES: Final = (
    POPULARITY, FREQUENCY, "item-item", "co-purchase", "replenishment", "wishlist", SESSION, "context-popularity"
)  # fmt: skip
"""Sources that are quick to fit, and enough for every kind of module."""
WEIGHTS: Final = {FREQUENCY: 1.0, "item-item": 0.5}
NEW_WEIGHTS: Final = {"item-item": 1.0}
"""Of what was never bought before."""
NAME: Final = "unjudged"


def unjudged_bundle(shop: Shop, as_of: int | None = None) -> Bundle:
    """Repeat purchase before item neighbours, with every table that pages read.

    Args:
        shop: whose dataset and file.
        as_of: microseconds; events and orders before it count. None: just after the last event.

    Raises:
        DataError: no dataset, nothing known by then, or a source that finds too little.
    """
    config = load_config(shop.config)
    material = load_material(shop, config, as_of)
    cut = Cut(
        material.histories, material.as_of, min_customers=config.model.min_customers, regions=material.regions,
        dataset=material.dataset,
    )  # fmt: skip
    listed = menu(
        config.model, preset="quick", customers=len(cut.known.subjects), items=int(cut.listed.sum()),
        time_zone=config.shop.time_zone,
    )  # fmt: skip
    sources = tuple(spec for spec in listed.sources if spec.name in SOURCES)
    fitted = {spec.name for spec in sources}  # a shop with too little to learn from has only the plain ones
    weights, new = ({name: each[name] for name in each if name in fitted} for each in (WEIGHTS, NEW_WEIGHTS))
    recipe = Recipe(NAME, sources, weights, new, fill=POPULARITY)
    tables = _tables(material, cut, config)
    return fit_bundle(cut, recipe, data_hash=material.data_hash, tables=tables)


def _tables(material: Material, cut: Cut, config: ShopConfig) -> dict[str, Array]:
    """Deliveries, hours, answers and resting categories; of deliveries nothing where there are too few."""
    category = np.asarray(cut.items["shared.category"]).view(np.int32)
    asked = {name: question.values for name, question in config.questions.items()}
    kinds = kinds_of(material.dataset, cut.as_of, items=cut.known.items, category=category)
    learned = learn(read_lines(material.dataset, cut.as_of, material.unlearned), kinds, cut.as_of)
    return {
        **({} if learned is None else learned.arrays),
        **page_tables(cut, material.dataset, config.shop.time_zone, material.unlearned, asked),
        LEARNED: repurchase_days(cut.known, category, cut.categories, cut.as_of),
    }
