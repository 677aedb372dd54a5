"""What is measured of the winner: a ranker's chances are logged and drawn, a blend's score is named as none."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from features.moments import DAY
from features.shop import Shop
from serving.recipe import RankerSpec, Recipe, SourceSpec
from training.contest import Arena
from training.evidence import Evidence, of_winner
from training.fitting import fit_bundle
from training.journal import Judged
from training.material import Material, load_material
from training.session import Session, TrainOptions, cut_at, fit_rankers, open_session, silent
from training.split import truth_of

MakeShop = Callable[[Path], Shop]
VOICES = ("popularity", "personal-frequency")
SOURCES = tuple(SourceSpec(name, name) for name in VOICES)
SPEC = RankerSpec("ranker", "binary", VOICES, {"trees": 10, "min_leaf": 10})
RECIPES = {
    "ranker": Recipe("ranker", SOURCES, {"popularity": 1.0}, ranker=SPEC),
    "habit": Recipe("habit", SOURCES, {"personal-frequency": 1.0}),
}


@pytest.fixture(scope="module")
def measured(
    make_shop: MakeShop, tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Shop, str, dict[str, Evidence]]:
    """Evidence of a ranker and of a blend, in one MLflow run of the tiny shop."""
    shop = make_shop(tmp_path_factory.mktemp("evidence"))
    shutil.copytree(tiny_dataset, shop.dataset)
    shop.config.write_text("[model]\nwindow-days = 10\nmin-customers = 2\n", encoding="utf-8")
    with open_session(shop, TrainOptions(), silent) as session:
        material = load_material(shop, session.config)
        judged = judged_of(session, material)
        found = {name: of_winner(session, material, judged, name) for name in RECIPES}
        nobody = Judged(None, {}, RECIPES, [])
        assert of_winner(session, material, nobody, "habit") == Evidence()
        return shop, session.run.id, found


def judged_of(session: Session, material: Material) -> Judged:
    window = material.judged
    assert window is not None
    assert window.days == 10 * DAY / DAY
    cut = cut_at(session, material, window.start)
    trees, recipes = fit_rankers(session, material, RECIPES, window.start)
    assert set(recipes) == set(RECIPES), session.notes
    bundle = fit_bundle(cut, Recipe("arena", SOURCES, {"popularity": 1.0}), rankers=trees)
    truth = truth_of(material.histories, window, listed=cut.listed)
    return Judged(Arena(bundle, material.histories, window, truth, material.regions), {}, recipes, [])


def table(shop: Shop, run: str, name: str) -> list[dict[str, str]]:
    path = shop.mlflow_artifacts / run / "artifacts" / "tables" / name
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_a_ranker_is_calibrated_and_a_blend_is_not(measured) -> None:
    """The picture comes with the chance alone; both are ordered within categories."""
    _, _, found = measured
    assert found["ranker"].sentences[0].startswith("On all purchases the score of ranker is meant as a chance")
    assert "not calibrated" in found["habit"].sentences[0]
    assert set(found["ranker"].plots) == {"calibration", "category-lists"}
    assert set(found["habit"].plots) == {"category-lists"}


def test_tables_and_figures_are_of_one_piece(measured) -> None:
    """Candidates of the tenths sum to the figure of all; the personalised order is no better than itself."""
    shop, run, _ = measured
    from training.tracking import Tracking

    metrics = Tracking(shop)._client.get_run(run).data.metrics
    tenths = table(shop, run, "calibration.csv")
    for task in ("all", "new"):
        mine = [line for line in tenths if line["task"] == task]
        assert sum(int(line["candidates"]) for line in mine) == metrics[f"calibration/{task}/candidates"]
        assert [float(line["predicted"]) for line in mine] == sorted(float(line["predicted"]) for line in mine)
        assert np.isfinite([metrics[f"calibration/{task}/{name}"] for name in ("error", "slope", "observed/low")]).all()
    lists = table(shop, run, "category-lists.csv")
    assert {line["order"] for line in lists} == {"personalised", "sales of 28 days", "newest first"}
    assert {float(line["personalised minus it"]) for line in lists if line["order"] == "personalised"} == {0.0}
    assert "category-lists/all purchases/newest first/place" in metrics
