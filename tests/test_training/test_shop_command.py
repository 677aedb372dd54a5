"""`kokyaku shop init` and `check`, and what the doctor says of the file."""

from __future__ import annotations

import json

import pytest

from features.shop import Shop
from serving import ops
from serving.checking import Check
from serving.config import load_config
from training.cli import main


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop("mine", tmp_path / "shop")


def run(shop: Shop, capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str]:
    """Exit code, and all that was said."""
    with pytest.raises(SystemExit) as ended:
        main(["shop", *given, "--shop", shop.id, "--root", str(shop.root)])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out + told.err


@pytest.mark.parametrize(("sample", "name"), [("plain", "My shop"), ("home", "Kokyaku Home")])
def test_init_writes_a_file_without_warnings_and_never_over_one(shop, capsys, sample, name) -> None:
    code, said = run(shop, capsys, "init", "--sample", sample, "--basis", 'our terms, "4"')
    assert code == 0 and str(shop.config) in said
    config = load_config(shop.config)
    assert (config.shop.name, config.consent.basis) == (name, 'our terms, "4"')
    assert "personalization" in config.consent.assumed
    code, said = run(shop, capsys, "check")
    assert code == 0 and "0 failures, 0 warnings" in said and "no bundle serves yet" in said
    shop.config.write_text("# mine\n")
    code, said = run(shop, capsys, "init")
    assert code == 2 and "--force" in said and shop.config.read_text() == "# mine\n"
    assert run(shop, capsys, "init", "--force")[0] == 0
    assert "My shop" in shop.config.read_text(encoding="utf-8")
    code, said = run(shop, capsys, "init", "--sample", "hone")
    assert code == 2 and 'did you mean "home"?' in said


def test_check_ends_with_2_on_failures_and_with_0_on_warnings(shop, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("training.commands.shop.console.width", 200)
    shop.root.mkdir()
    draft, out = tmp_path / "draft.toml", tmp_path / "found.json"
    draft.write_text('[actions.card]\nkind = "content"\ntexts = [{title = "Hi[ {name}]", text = "In {region}"}]\n')
    code, said = run(shop, capsys, "check", "--file", str(draft), "--words", "--json", str(out))
    assert code == 0
    assert "it stands in no slot" in said and "1 warning" in said
    assert "title  all known: Hi Ann" in said and "text   nothing known: (passed over)" in said
    found = json.loads(out.read_text())
    assert [each["verdict"] for each in found["findings"]] == ["warn", "note"] and len(found["unseen"]) == 1
    draft.write_text('[pages.home]\nslots = [{name = "a", modules = ["populer"]}]\n')
    code, said = run(shop, capsys, "check", "--file", str(draft))
    assert code == 2 and 'did you mean "popular"?' in said and "1 failure" in said
    assert run(shop, capsys, "check", "--file", str(tmp_path / "none"))[0] == 2
    draft.write_bytes(b"\xff\xfe")
    assert "UTF-8" in run(shop, capsys, "check", "--file", str(draft))[1]
    assert run(shop, capsys, "check", "--json", str(tmp_path))[0] == 2


def test_the_doctor_counts_what_the_check_finds(shop) -> None:
    shop.root.mkdir()

    def said() -> Check:
        return next(check for check in ops.doctor(shop) if check.name == "shop check")

    assert (said().verdict, said().detail, said().remedy) == ("ok", "0 failures, 0 warnings, 0 notes", "")
    shop.config.write_text("[segments.none]\nknown = true\n")
    assert (said().verdict, said().detail) == ("warn", "0 failures, 1 warning, 0 notes")
    assert said().remedy == "kokyaku shop check"
    shop.config.write_text("[segment.none]\n")
    assert said().verdict == "warn" and "valid settings" in said().detail
