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
