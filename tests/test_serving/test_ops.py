"""What an operator calls: doctor, and `python -m serving` with its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from features.moments import DAY, parse_instant
from features.shop import Shop
from serving import machine, ops
from serving.__main__ import main
from serving.clock import set_clock
from serving.effects import SlotPolicy
from serving.erase import erase
from serving.events import StoredEvent
from serving.keeper import BELIEVED, LISTEN
from serving.policy_files import write_policy
from serving.store import Store
from serving.sync import sync
from tests.test_serving.grown import policy, stump

NOON = parse_instant("2024-11-22T12:00Z")


def event(event_id, at=NOON):
    return StoredEvent(event_id=event_id, occurred_at=at, recorded_at=at, type="view", customer_id="ann", item_id="tea")


def verdicts(shop):
    return {check.name: check.verdict for check in ops.doctor(shop)}


@pytest.fixture
def healthy(toy_shop, monkeypatch):
    """A shop with a bundle, a history, a store and a log: nothing to complain about."""
    named = ("KOKYAKU_ROOT", "KOKYAKU_DEV", "KOKYAKU_KEYS", "KOKYAKU_KEY_FILE", LISTEN, BELIEVED, *machine.THREADS)
    for name in named:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (1 << 16, 1 << 16))
    set_clock(toy_shop, NOON)
    store = Store.open(toy_shop.store, toy_shop.secret)
    store.append_sync([event("e1")])
    store.close()
    sync(toy_shop, now=NOON)
    return toy_shop


def test_a_damaged_clock_is_a_failed_check_with_its_remedy(healthy, capsys):
    """`doctor` exits as with any other, and looks at all else."""
    healthy.clock.write_text("")
    clock = next(check for check in ops.doctor(healthy) if check.name == "clock")
    assert (clock.verdict, clock.detail) == ("fail", "the shop's clock is damaged")
    assert "delete it" in clock.remedy
    where = ["--shop", "toy", "--root", str(healthy.root)]
    assert main([*where, "doctor"]) == 1
    assert "clock is damaged" in capsys.readouterr().out


def test_a_healthy_shop_has_nothing_to_mend(healthy):
    """Every check is there, is fine, and names no remedy."""
    checks = ops.doctor(healthy)
    assert {check.verdict for check in checks} == {"ok"}, checks
    assert not any(check.remedy for check in checks)
    assert [check.name for check in checks] == [
        "folder", "secret", "settings", "clock", "disk", "store", "erasures", "bundle", "selection", "policies",
        "shop check", "history", "decision logs", "keys", "proxies", "threads", "limits", "memory", "registry",
    ]  # fmt: skip


def test_an_empty_folder_is_told_what_comes_next(tmp_path):
    """No bundle is a failure, no history a warning; each says what to do. Looking makes nothing."""
    shop = Shop("new", tmp_path / "new")
    assert verdicts(shop)["folder"] == "fail"
    shop.root.mkdir()
    found = {check.name: check for check in ops.doctor(shop)}
    assert (found["bundle"].verdict, found["history"].verdict) == ("fail", "warn")
    assert "kokyaku train" in found["bundle"].remedy and "kokyaku sync" in found["history"].remedy
    assert list(shop.root.iterdir()) == []


def _open_secret(shop):
    (shop.root / "secret.key").chmod(0o644)


def _empty_secret(shop):
    (shop.root / "secret.key").write_bytes(b"")
    del shop.__dict__["secret"]  # read by another process


def _break_settings(shop):
    shop.config.write_text("[shop]\nholdouts = 3\n")


def _break_store(shop):
    for path in shop.root.glob("store.db*"):
        path.unlink()
    shop.store.write_bytes(b"nonsense" * 1000)


def _break_bundle(shop):
    next((shop.bundles / "toy-1").glob("source.*.npy")).write_bytes(b"")


def _break_history(shop):
    (name,) = [path for path in shop.histories.iterdir() if path.is_dir()]
    (name / "events.npy").write_bytes(b"")


def _lose_history_file(shop):
    (name,) = [path for path in shop.histories.iterdir() if path.is_dir()]
    (name / "events.npy").unlink()


def _newer_than_now(shop):
    store = Store.open(shop.store, shop.secret)
    store.append_sync([event("ahead", NOON + DAY)])
    store.close()


@pytest.mark.parametrize(
    ("spoil", "check", "verdict"),
    [
        (_open_secret, "secret", "fail"),
        (_empty_secret, "secret", "fail"),
        (_break_settings, "settings", "fail"),
        (_break_store, "store", "fail"),
        (_break_bundle, "bundle", "fail"),
        (_break_history, "history", "fail"),
        (_lose_history_file, "history", "fail"),
        (_newer_than_now, "clock", "warn"),
    ],
)
def test_each_fault_is_found_by_its_check_with_a_remedy(healthy, spoil, check, verdict):
    """And no other check falls over it."""
    spoil(healthy)
    found = {each.name: each for each in ops.doctor(healthy)}
    assert found[check].verdict == verdict
    assert found[check].remedy
    assert len(found) == 19


def test_a_full_log_folder_a_full_disk_and_a_stale_history_are_warned_of(healthy, monkeypatch):
    """Before events are refused."""
    monkeypatch.setattr(ops, "_FREE_BYTES", 1 << 62)
    monkeypatch.setattr(ops, "_STALE_EVENTS", -1)
    monkeypatch.setattr(ops, "_BACKLOG_BYTES", -1)
    found = verdicts(healthy)
    assert (found["disk"], found["history"], found["decision logs"]) == ("warn", "warn", "warn")


PAGE = '[pages.home]\nslots = [{name = "first", modules = ["for-you", "popular"], policy = "hero"}]\n'


def test_policies_that_slots_name_are_opened_and_held_against_the_slots(healthy):
    """Not there, whole, of other modules than the slot's, damaged, of columns that serving does not know."""

    def found():
        return next(check for check in ops.doctor(healthy) if check.name == "policies")

    assert (found().verdict, found().detail) == ("ok", "no slot or channel names one")
    healthy.config.write_text(PAGE)
    assert (found().verdict, found().detail) == ("fail", "no such policy")
    assert "no policies yet" in found().remedy
    folder = write_policy(healthy.policies, policy(trees={"popular": stump(1, 8.0, 0.0, 1.0)}))
    assert (found().verdict, found().detail) == ("ok", "1 decide in 1 place, checksums match")
    healthy.config.write_text(PAGE.replace('"for-you"', '"buy-again"'))
    assert found().verdict == "warn"
    assert "buy-again are never drawn" in found().detail
    assert "for-you of hero are not among what it can show" in found().detail
    healthy.config.write_text(PAGE.replace('"for-you", "popular"', '"buy-again"'))
    assert (found().verdict, found().detail) == ("fail", "the policy knows none of the slot's modules")
    healthy.config.write_text(PAGE)
    (folder / "forest.0.value.npy").write_bytes(b"")
    assert found().verdict == "fail"
    assert "checksum" in found().detail
    made = policy("odd")
    columns = (msgspec.structs.replace(made.sheet.columns[0], name="recency"),)
    write_policy(healthy.policies, SlotPolicy(msgspec.structs.replace(made.sheet, columns=columns), {}))
    healthy.config.write_text(PAGE.replace("hero", "odd"))
    assert found().verdict == "fail"
    assert "recency" in found().detail
    healthy.config.write_text(PAGE.replace("policy", "polizy"))
    assert found().verdict == "warn"


def test_erasures_that_wait_too_long_are_a_failure(healthy):
    """The dataset must follow within a day."""
    store = Store.open(healthy.store, healthy.secret)
    erase(healthy, store, "ann", now=NOON)
    assert verdicts(healthy)["erasures"] == "ok"
    erase(healthy, store, "bob", now=NOON - 2 * DAY)
    store.close()
    assert verdicts(healthy)["erasures"] == "fail"
    sync(healthy, now=NOON)
    assert verdicts(healthy)["erasures"] == "ok"


def test_an_operator_erases_polls_and_syncs_from_the_command_line(healthy, capsys):
    """The receipt's id goes from one command to the next; states move on."""
    where = ["--shop", "toy", "--root", str(healthy.root)]
    assert main([*where, "erase", "ann"]) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert receipt["state"] == "erased"
    assert main([*where, "sync"]) == 0
    assert json.loads(capsys.readouterr().out)["receipts_completed"] == 1
    assert main([*where, "receipt", receipt["receiptId"]]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "complete"
    assert main([*where, "doctor"]) == 0
    assert "ok    store:" in capsys.readouterr().out


def test_errors_are_one_line_and_exit_code_two_broken_shops_one(tmp_path, capsys):
    """As with `kokyaku`."""
    assert main(["--shop", "NO SHOP", "doctor"]) == 2
    assert capsys.readouterr().err.startswith("error: --shop: not a shop id")
    assert main(["--shop", "x", "--root", str(tmp_path), "receipt", "nonsense"]) == 2
    assert "no such receipt" in capsys.readouterr().err
    assert main(["--shop", "x", "--root", str(tmp_path / "none"), "doctor"]) == 1


def test_the_module_runs_as_a_program_and_erasing_needs_no_pandas(tmp_path):
    """`python -m serving` is what a container has; erasing and doctor stay light."""
    script = (
        "import sys; from serving.__main__ import main;"
        f"code = main(['--shop', 'x', '--root', {str(tmp_path)!r}, 'erase', 'ann']);"
        "heavy = {'pandas', 'duckdb', 'mlflow', 'sklearn', 'bentoml'} & set(sys.modules);"
        "sys.exit(code or (3 if heavy else 0))"
    )
    finished = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True)
    assert finished.returncode == 0, finished
    shown = subprocess.run(
        [sys.executable, "-m", "serving", "--help"], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert all(verb in shown.stdout for verb in ("erase", "receipt", "sync", "doctor"))


@pytest.mark.parametrize("verb", ["sync", "erase", "doctor"])
def test_the_console_script_has_the_same_verbs(healthy, capsys, verb):
    """`kokyaku sync`, `erase` and `doctor` do what `python -m serving` does, in words."""
    from importlib import import_module

    command = import_module(f"training.commands.{verb}").command
    command(*(["ann"] if verb == "erase" else []), shop="toy", root=healthy.root)
    said = capsys.readouterr().out
    assert {"sync": "Nothing new", "erase": "erased (", "doctor": "bundle"}[verb] in said
