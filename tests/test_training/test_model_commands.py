"""kokyaku models, promote, rollback, batch: what they print, and that a wrong word costs one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from features.shop import Shop
from serving.artifact import live_name
from training.cli import main
from training.commands.train import run_training


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, make_shop: Callable[[Path], Shop], tiny_dataset: Path) -> Shop:
    """The tiny shop after `kokyaku train --no-promote`."""
    shop = make_shop(tmp_path_factory.mktemp("commands"))
    shutil.copytree(tiny_dataset, shop.dataset)
    run_training(shop, promote=False)
    return shop


def call(shop: Shop, *words: str) -> int:
    """Run a verb; gives the exit code."""
    with pytest.raises(SystemExit) as left:
        main([*words, "--shop", shop.id, "--root", str(shop.root)])
    return int(left.value.code or 0)


def test_from_registered_to_serving_and_into_a_file(
    trained: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """models shows it accepted; promote lets it serve; batch answers; rollback has nothing to go back to."""
    shutil.copytree(trained.root, tmp_path / "copy")
    shop = Shop(trained.id, tmp_path / "copy")
    assert call(shop, "models") == 0
    assert "accepted" in capsys.readouterr().out
    assert call(shop, "promote") == 0
    live = live_name(shop.bundles)
    assert live is not None
    assert "Version 1 serves" in capsys.readouterr().out
    assert call(shop, "models") == 0
    assert live in capsys.readouterr().out
    ids, out = tmp_path / "ids.txt", tmp_path / "out.csv"
    ids.write_text("c0000000\nnobody\n")
    assert call(shop, "batch", "--customers", str(ids), "--num", "3", "--out", str(out), "--version", "1") == 0
    assert len(out.read_text().splitlines()) == 7
    assert call(shop, "rollback") == 2
    assert "no model served before this one" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("promote",), ("promote", "3"), ("rollback",)])
def test_a_mistyped_shop_makes_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit code 2, and no empty store in a folder that nobody wanted."""
    shop = Shop("typo", tmp_path / "typo")
    assert call(shop, *words) == 2
    assert not shop.root.exists()


def test_models_of_a_new_shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing yet is no error."""
    assert call(Shop("fresh", tmp_path / "fresh"), "models") == 0
    assert "kokyaku train --shop fresh" in capsys.readouterr().out


def test_a_version_that_is_not_there(trained: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says where to look."""
    assert call(trained, "promote", "99") == 2
    error = capsys.readouterr().err
    assert "no such model version" in error
    assert len(error.splitlines()) == 1


def test_bad_moments_are_one_line(trained: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """--as-of takes ISO 8601 with a zone."""
    assert call(trained, "train", "--as-of", "yesterday") == 2
    assert "--as-of: not a time" in capsys.readouterr().err
