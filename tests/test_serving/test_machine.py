"""What `doctor` sees of keys, threads, limits, memory and the registry: each fault with its remedy, exit code, JSON."""

from __future__ import annotations

import json
import resource
import sqlite3
import time
from contextlib import closing

import pytest

from serving import machine, ops
from serving.__main__ import main
from serving.checking import Check, told
from serving.clock import set_clock
from serving.key_file import asked, new_key
from tests.test_serving.conftest import AS_OF

SERVICE = {"KOKYAKU_ROOT": "/shop", "KOKYAKU_KEYS": "read:k", **dict.fromkeys(machine.THREADS, "1")}


@pytest.fixture
def environ(monkeypatch):
    """An operator's shell; called with a dictionary, that environment."""
    for name in ("KOKYAKU_ROOT", "KOKYAKU_DEV", "KOKYAKU_KEYS", "KOKYAKU_KEY_FILE", *machine.THREADS):
        monkeypatch.delenv(name, raising=False)

    def given(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return given


def look(check, shop) -> Check:
    """What `doctor` says, errors included."""
    (found,) = ops._guarded(check, shop)
    return found


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_file_that_others_can_read_is_a_failure_with_its_remedy(toy_shop, environ, tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(f'[{{"key": "{"k" * machine.LEAST_KEY}", "scopes": ["read"]}}]')
    environ(KOKYAKU_KEY_FILE=str(path))
    path.chmod(0o640)
    found = look(machine.keys, toy_shop)
    assert (found.verdict, found.remedy) == ("fail", f"chmod 600 {path}")
    path.chmod(0o600)
    assert look(machine.keys, toy_shop) == Check("keys", "ok", "1 key; no file of them can be read by others")
    path.write_text("[{]")
    assert look(machine.keys, toy_shop).verdict == "fail"


@pytest.mark.parametrize(("key", "verdict"), [("k", "warn"), ("k" * 21, "warn"), ("k" * 22, "ok")])
def test_a_key_that_may_be_guessed_is_warned_of(toy_shop, environ, tmp_path, key, verdict):
    """Those that we made are in the file as hashes, and long enough."""
    path = tmp_path / "keys.json"
    made = new_key(path, asked("backend", "read", days=0, rate=0, burst=0, body=0, now=0))
    environ(KOKYAKU_KEY_FILE=str(path), KOKYAKU_KEYS=f"events:{key}")
    found = look(machine.keys, toy_shop)
    assert (found.verdict, "kokyaku keys make" in found.remedy) == (verdict, verdict == "warn")
    assert found.detail.startswith("2 keys; ") and ("; 1 key of" in found.detail) == (verdict == "warn")
    assert key not in found.detail.split() and made not in found.detail


def test_a_service_without_keys_is_a_failure_an_operators_shell_is_not(toy_shop, environ):
    assert look(machine.keys, toy_shop).verdict == "ok"
    environ(KOKYAKU_ROOT="/shop")
    found = look(machine.keys, toy_shop)
    assert found.verdict == "fail" and "KOKYAKU_KEY_FILE" in found.remedy
    environ(KOKYAKU_DEV="1")
    assert look(machine.keys, toy_shop).verdict == "ok"
    environ(KOKYAKU_KEYS="read:k")
    assert "unset KOKYAKU_DEV" in look(machine.keys, toy_shop).remedy


# --- threads and limits -----------------------------------------------------------------------------------------------


def test_threads_of_numeric_libraries(toy_shop, environ, monkeypatch):
    monkeypatch.setattr(machine, "_processors", lambda: 2.0)
    assert look(machine.threads, toy_shop) == Check("threads", "ok", "2 processors for this process")
    environ(**SERVICE)
    assert look(machine.threads, toy_shop).verdict == "ok"
    environ(OMP_NUM_THREADS="8")
    found = look(machine.threads, toy_shop)
    assert found.verdict == "warn" and "OMP_NUM_THREADS is 8" in found.detail and "to 1" in found.remedy
    environ(OMP_NUM_THREADS="")
    assert "OMP_NUM_THREADS is not set" in look(machine.threads, toy_shop).detail


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", 4.0), ("50000 100000", 0.5), ("800000 100000", 4.0), (None, 4.0), ("?", 4.0)]
)
def test_a_containers_share_of_processors_counts(toy_shop, environ, monkeypatch, tmp_path, text, expected):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: range(4))
    if text is not None:
        (tmp_path / "cpu.max").write_text(text)
    assert machine._processors() == expected
    found = look(machine.threads, toy_shop)
    assert (found.verdict, "whole processor" in found.remedy) == (("warn", True) if expected < 1 else ("ok", False))


@pytest.mark.parametrize(
    ("soft", "verdict"), [(64, "fail"), (1024, "warn"), (65_536, "ok"), (resource.RLIM_INFINITY, "ok")]
)
def test_open_files(toy_shop, monkeypatch, soft, verdict):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (soft, soft))
    found = look(machine.limits, toy_shop)
    assert (found.verdict, bool(found.remedy)) == (verdict, verdict != "ok")


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("allowed", "verdict"), [("4G", "ok"), ("100M", "fail")])
def test_memory_as_the_service_sees_it(toy_shop, monkeypatch, allowed, verdict):
    """More in `test_memory`."""
    monkeypatch.setenv("KOKYAKU_MEMORY", allowed)
    found = look(machine.memory, toy_shop)
    assert (found.verdict, bool(found.remedy)) == (verdict, verdict != "ok")
    assert "8 items x 2 factors" in found.detail


def test_memory_without_a_bundle_is_no_fault(toy_shop):
    """Another check says that nothing serves."""
    (toy_shop.bundles / "live.json").unlink()
    assert look(machine.memory, toy_shop).verdict == "ok"


# --- registry ---------------------------------------------------------------------------------------------------------


def registered(shop, bundle: str | None) -> None:
    """The tables of MLflow that name a champion."""
    with closing(sqlite3.connect(shop.mlflow_db)) as opened, opened:
        opened.execute("CREATE TABLE IF NOT EXISTS registered_model_aliases (alias, version INTEGER, name)")
        opened.execute("CREATE TABLE IF NOT EXISTS model_version_tags (key, value, name, version INTEGER)")
        opened.execute("DELETE FROM registered_model_aliases")
        for number, name in enumerate(("other", bundle or "other"), 1):
            opened.execute("INSERT INTO model_version_tags VALUES ('bundle_id', ?, 'kokyaku-toy', ?)", (name, number))
        if bundle is not None:
            opened.execute("INSERT INTO registered_model_aliases VALUES ('champion', 2, 'kokyaku-toy')")


def test_the_registrys_champion_should_serve(toy_shop):
    assert look(machine.registry, toy_shop).verdict == "ok"
    assert not toy_shop.mlflow_db.exists()  # looking makes nothing
    registered(toy_shop, "toy-1")
    assert look(machine.registry, toy_shop) == Check("registry", "ok", "its champion toy-1 serves")


def test_a_tracking_server_that_the_environment_names_is_not_asked_and_that_is_said(toy_shop, monkeypatch):
    registered(toy_shop, "toy-1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:correct-horse@127.0.0.1:1")
    found = look(machine.registry, toy_shop)
    assert found.verdict == "ok" and "MLFLOW_TRACKING_URI is not followed" in found.detail
    assert "correct-horse" not in found.detail


def test_a_registry_that_somebody_holds_is_told_soon(toy_shop):
    registered(toy_shop, "toy-1")
    with closing(sqlite3.connect(toy_shop.mlflow_db, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        found = look(machine.registry, toy_shop)
    assert found.verdict == "fail" and "locked" in found.detail and time.monotonic() - began < 10


@pytest.mark.parametrize("bundle", [None, "toy-2"])
def test_another_champion_or_none_is_warned_of(toy_shop, bundle):
    registered(toy_shop, bundle)
    found = look(machine.registry, toy_shop)
    assert found.verdict == "warn" and found.remedy.startswith("kokyaku promote")
    assert bundle is None or bundle in found.detail


def test_a_registry_that_cannot_be_read_is_a_failure(toy_shop):
    toy_shop.mlflow_db.write_bytes(b"nonsense" * 1000)
    found = look(machine.registry, toy_shop)
    assert found.verdict == "fail" and "mlflow db upgrade" in found.remedy


def test_the_tables_are_those_of_mlflow(toy_shop):
    """Against a registry that MLflow itself made."""
    tracking = pytest.importorskip("training.tracking")
    opened = tracking.Tracking(toy_shop)
    with opened.run("r") as run:
        number = opened.register(run, "toy-1", {"verdict.json": b"{}"}, {"verdict": "accepted"})
    opened.set_alias(machine.CHAMPION, number)
    assert tracking.CHAMPION == machine.CHAMPION
    assert look(machine.registry, toy_shop).detail == "its champion toy-1 serves"


# --- faces ------------------------------------------------------------------------------------------------------------


def test_doctor_as_json_with_its_exit_code(toy_shop, environ, capsys):
    """Both faces say the same; a failure is exit code 1."""
    import typer

    from training.commands.doctor import command

    set_clock(toy_shop, AS_OF)
    where = ["--shop", "toy", "--root", str(toy_shop.root), "doctor", "--json"]
    assert main(where) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert [each["name"] for each in found["checks"]] == [check.name for check in ops.doctor(toy_shop)]
    assert all(each.keys() == {"name", "verdict", "detail", "remedy"} for each in found["checks"])
    environ(KOKYAKU_ROOT=str(toy_shop.root))
    assert main(where) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    with pytest.raises(typer.Exit) as left:
        command(shop="toy", root=toy_shop.root, json=True)
    assert left.value.exit_code == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_words_in_brackets_are_words(toy_shop, capsys, monkeypatch):
    """A remedy that names a table of shop.toml is no markup."""
    from training.commands import doctor

    said = [Check("selection", "warn", "x", "look at [selection] of shop.toml")]
    monkeypatch.setattr(ops, "doctor", lambda _: said)
    doctor.command(shop="toy", root=toy_shop.root)
    assert "[selection]" in capsys.readouterr().out


def test_warnings_alone_are_no_failure():
    assert told([Check("disk", "warn", "x", "y")])["ok"] is True
    assert told([Check("disk", "warn", "x", "y"), Check("store", "fail", "x", "y")])["ok"] is False
