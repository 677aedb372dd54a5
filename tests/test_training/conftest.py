"""What tests of training share: shops whose tracking database need not be migrated from nothing each time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from features.shop import Shop

MakeShop = Callable[[Path], Shop]


@pytest.fixture(scope="session")
def make_shop(tmp_path_factory: pytest.TempPathFactory) -> MakeShop:
    """`make_shop(folder)`: a shop with an empty tracking database (making one takes MLflow three seconds)."""
    from training.tracking import Tracking

    template = Shop("template", tmp_path_factory.mktemp("template"))
    Tracking(template)

    def made(folder: Path) -> Shop:
        shop = Shop("toy", folder)
        shop.root.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template.mlflow_db, shop.mlflow_db)
        return shop

    return made


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny simulated shop's dataset; copy it, do not change it."""
    from training.simulation.run import simulate

    folder = tmp_path_factory.mktemp("tiny") / "dataset"
    simulate(folder, size="tiny", seed=1)
    return folder
