"""`tuned.toml`: each table stays as its author left it, what makes no sense is refused, and training uses the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError
from serving.settings.shop import ModelSettings
from training.params import overlaid
from training.rankers import OBJECTIVES, ranked
from training.ranking import RankerParams
from training.recipes import menu, source_names
from training.tuned import read_tuned, write_tuned


def test_tables_of_others_stay_with_their_comments(tmp_path: Path) -> None:
    """Also those that somebody wrote by hand, with tables inside."""
    path = tmp_path / "tuned.toml"
    path.write_text("# mine\n[ease]\n# from last year\nl2 = 30.0\n[ease.confidence]\nhalf_life_days = 9.0\n")
    write_tuned(path, "ials", {"alpha": 2.5, "confidence.damped": False}, ["why"])
    write_tuned(path, "ials", {"alpha": 3.5, "confidence.damped": True, "factors": 8}, ["why else"])
    write_tuned(path, "item-item", {"binary": True})
    assert read_tuned(path, source_names()) == {
        "ease": {"l2": 30.0, "confidence.half_life_days": 9.0},
        "ials": {"alpha": 3.5, "confidence.damped": True, "factors": 8},
        "item-item": {"binary": True},
    }
    text = path.read_text()
    assert "# from last year" in text
    assert text.count("# why") == 1
    write_tuned(path, "ease", None)
    assert set(read_tuned(path, source_names())) == {"ials", "item-item"}
    write_tuned(tmp_path / "none.toml", "ease", None)
    assert not (tmp_path / "none.toml").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[ialss]\nalpha = 1.0", "no such source or ranker; got 'ialss'; did you mean \"ials\""),
        ("ials = 3", "parameters must stand in a table"),
        ("[ials", "not valid TOML"),
    ],
)
def test_a_tuned_file_that_makes_no_sense_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tuned.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_tuned(path, source_names())
    assert message in error.value.line()
    assert str(path) in error.value.where


def test_tuned_parameters_reach_the_menu_and_the_ranker() -> None:
    """Only the sources and rankers that are named change; names and values that there are not are refused."""
    sizes: Any = {"preset": "quick", "customers": 2000, "items": 500, "texts": True}
    usual = menu(ModelSettings(), **sizes)
    tuned = menu(ModelSettings(), **sizes, tuned={"ease": {"l2": 7.0}, "popularity": {"half_life_days": 3.0}})
    changed = {mine.name for mine, other in zip(tuned.sources, usual.sources, strict=True) if mine != other}
    assert changed == {"ease", "popularity"}
    assert next(spec.params["l2"] for spec in tuned.sources if spec.name == "ease") == 7.0
    with pytest.raises(ConfigError, match="tuned parameters of ease: no such parameter"):
        menu(ModelSettings(), **sizes, tuned={"ease": {"l3": 7.0}})
    with pytest.raises(ConfigError, match="parameters of ease"):
        menu(ModelSettings(), **sizes, tuned={"ease": {"l2": "much"}})
    recipes = ranked(usual.recipes[0], usual.sources, ["ease"], {"ranker": {"trees": 9}})
    trees = {recipe.name: recipe.ranker.params["trees"] for recipe in recipes if recipe.ranker}
    assert trees == {name: 9 if name == "ranker" else RankerParams().trees for name in OBJECTIVES}


def test_overlaid_leaves_what_it_was_given() -> None:
    given = {"confidence": {"weights": {"view": 0.1}}}
    assert overlaid(given, {"confidence.weights.view": 0.3}, where="here") == {"confidence": {"weights": {"view": 0.3}}}
    assert given["confidence"]["weights"]["view"] == 0.1
