"""`kokyaku policies` lists what lies in the folder, what it decides, and what is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.shop import Shop
from serving.policy_files import write_policy
from tests.test_serving.grown import policy, stump
from training.cli import main

SHOP = '[pages.home]\nslots = [{name = "first", modules = ["for-you", "popular"], policy = "hero"}]\n'


def said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        main(["policies", "--shop", shop.id, "--root", str(shop.root)])
    assert ended.value.code in (0, None)
    return capsys.readouterr().out.splitlines()


def test_policies_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("training.commands.policies.console.width", 200)
    shop = Shop("toy", tmp_path / "shop")
    shop.root.mkdir()
    assert "No policies yet" in said(shop, capsys)[0]
    shop.config.write_text(SHOP)
    write_policy(shop.policies, policy("hero", trees={"popular": stump(1, 8.0, 0.0, 1.0)}))
    write_policy(shop.policies, policy("plain", {"popular": 0.2}))
    damaged = write_policy(shop.policies, policy("torn", trees={"popular": stump(1, 8.0, 0.0, 1.0)}))
    (damaged / "forest.0.left.npy").unlink()
    (shop.policies / ".draft").mkdir()
    lines = {line.split()[0]: line for line in said(shop, capsys) if line.strip()}
    assert "[pages.home] slot first" in lines["hero"] and "effects by 1 forests" in lines["hero"]
    assert "averages, the same for everybody" in lines["plain"] and "home/first" not in lines["plain"]
    assert "cannot be used: a file is missing" in lines["torn"]
    assert ".draft" not in lines
