"""The data sets that defaults are chosen on: shops as they were when a window of theirs began, and who is judged.

Real shops are judged on their validation window. Of the simulated shop, which is two shops of two seeds and counts as
one data set, it is the window before the one that `bench oracle` judges. What happened after a window is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import DataError
from serving.settings.shop import ModelSettings
from training.bench.judging import PRIMARY
from training.bench.oracle import WINDOW, simulated_shop
from training.bench.shops import CASES, dataset_of
from training.candidates import source_candidate
from training.contest import sampled
from training.course import Course
from training.fitting import Cut
from training.material import Material, regions_of
from training.meter import Tell
from training.params import Named
from training.recipes import Preset, menu
from training.session import active_customers
from training.simulation.oracle import world_of
from training.spaces import Space
from training.split import Truth, Window, last_windows, truth_of

SEEDS = (0, 1)
"""Of the simulated shops."""
LEAST_CUSTOMERS = 2
"""Of a window: fewer have no interval."""


@dataclass(frozen=True)
class Place:
    """A shop as it was when a window began.

    Args:
        name: of the shop.
        material: its events before the window's end.
        window: the judged one.
        cut: what was known at its start.
        truth: what those who are judged bought in it.
    """

    name: str
    material: Material
    window: Window
    cut: Cut
    truth: Truth


DataSets = Mapping[str, Sequence[Place]]
"""Name -> its shops, which count as one."""


def data_sets(path: Path | None, cache: Path, size: str, customers: int, tell: Tell) -> tuple[DataSets, list[str]]:
    """The data sets that are there, and sentences on those that are not.

    Args:
        path: of the file of Online Retail, whose fees are items here; None leaves it out.
        cache: of imported and simulated shops.
        size: of the simulated shops.
        customers: of each data set at most.
        tell: hears `(what, done, total)`.

    Raises:
        ConfigError: an unknown size.
        DataError: the file is not there or cannot be read.
    """
    found: dict[str, Sequence[Place]] = {}
    notes = []
    for step, (name, case) in enumerate(CASES.items()):
        tell("data sets", step, len(CASES) + len(SEEDS))
        needs_file = name == "online-retail"
        if needs_file and path is None:
            notes.append(f"{name} is left out: --path does not name its file.")
            continue
        try:
            dataset = dataset_of(name, path if needs_file else None, cache, keep_fees=needs_file)
        except DataError as error:
            if needs_file:
                raise
            notes.append(f"{name} is left out: {error.line()}.")
            continue
        found[name] = (place_of(name, dataset, case.valid, customers),)
    simulated = []
    for step, seed in enumerate(SEEDS, start=len(CASES)):
        tell("data sets", step, len(CASES) + len(SEEDS))
        dataset, truth = simulated_shop(cache, size, seed, tell)
        earlier, _ = last_windows(world_of(truth.manifest).calendar.end, WINDOW, 2)
        simulated.append(place_of(f"simulated-{size}-{seed}", dataset, earlier, customers // len(SEEDS)))
    tell("data sets", 1, 1)
    return {**found, f"simulated-{size}": tuple(simulated)}, notes


def place_of(name: str, dataset: Dataset, window: Window, customers: int) -> Place:
    """A shop at the start of a window.

    Args:
        name: of the shop.
        dataset: its tables; the folder's path tells two of them apart.
        window: to judge on.
        customers: at most so many, the same ones each time.

    Raises:
        DataError: too few customers bought anything in the window.
    """
    histories = histories_as_of(dataset)
    histories = histories.where(histories.events.time < window.end)
    regions = regions_of(dataset, histories, window.start)
    cut = Cut(
        histories, window.start, min_customers=ModelSettings().min_customers, regions=regions, dataset=dataset
    )  # fmt: skip
    truth = sampled(truth_of(histories, window, listed=cut.listed), customers)
    if len(truth) < LEAST_CUSTOMERS:
        raise DataError(f"too few customers of {name} bought anything", where=str(window), got=len(truth))
    key = f"{dataset.root.parent.name}/{dataset.root.name}"
    material = Material(dataset, histories, window.end, window, None, regions, [], key)
    return Place(name, material, window, cut, truth)


def course_of(place: Place, what: str, preset: Preset, space: Space, default: Named) -> Course:
    """A source to try on a shop: all customers are judged in one part, and none are kept apart.

    Raises:
        DataError: this shop cannot fit it; the reason is named.
    """
    cut = place.cut
    customers, items = active_customers(cut), int(cut.listed.sum())
    listed = menu(ModelSettings(), preset=preset, customers=customers, items=items, texts=cut.texts is not None)
    subject = source_candidate(listed, what, cut, place.name)
    nobody = place.truth.take(np.zeros(0, np.intp))
    return Course(
        subject, place.material, place.window, PRIMARY, subject.tasks, space, default, (), (place.truth,), nobody
    )  # fmt: skip
