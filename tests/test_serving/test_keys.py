"""The key file: hashes only, private, changed while the service runs; a key is shown once."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import msgspec
import pytest

from features.errors import ConfigError, NotFoundError
from features.files import exclusive
from serving import clock as clocks
from serving.access import Access, AccessError, ScopeError
from serving.key_file import PREFIX, asked, new_key, revoke_key, told
from serving.keys import KeyEntry, KeyRing, checked, read_keys

NOW = 1_700_000_000.0


def made(path, name="backend", scopes="read+events", **limits) -> str:
    told = {"days": 0, "rate": 0.0, "burst": 0, "body": 0, **limits}
    return new_key(path, asked(name, scopes, now=NOW, **told))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shop" / "keys.json"


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_made_key_opens_and_stands_nowhere(path):
    """The file is the owner's alone from its first moment on, and holds a hash."""
    key = made(path)
    assert key.startswith(PREFIX)
    assert len(key) > 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert key not in path.read_text()
    assert [each.name for each in path.parent.iterdir() if key in each.read_text()] == []
    access = Access(dev=False, ring=KeyRing(path))
    assert access.check("read", {"x-api-key": key}).name == "backend"
    with pytest.raises(ScopeError):
        access.check("admin", {"x-api-key": key})
    with pytest.raises(AccessError, match="not known"):
        access.check("read", {"x-api-key": key[:-1]})
    with pytest.raises(AccessError, match="not known"):
        access.check("read", {"x-api-key": read_keys(path)[0].hash})  # what a thief of the file would try


def test_two_keys_are_never_alike(path):
    assert len({made(path, name=str(number)) for number in range(20)}) == 20


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_file_that_others_can_touch_is_refused(path, mode):
    made(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(path)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"scopes": ["fly"], "key": "k"}, "unknown scope"),
        ({"scopes": [], "key": "k"}, "without scopes"),
        ({"scopes": ["read"]}, "either hash or key"),
        ({"scopes": ["read"], "key": "k", "hash": "sha256:" + "0" * 64}, "either hash or key"),
        ({"scopes": ["read"], "hash": "sha256:00"}, "not a SHA-256"),
        ({"scopes": ["read"], "hash": "zz"}, "not a SHA-256"),
        ({"scopes": ["browser", "read"], "key": "k"}, "browser key that may do more"),
        ({"scopes": ["browser", "admin"], "key": "k"}, "browser key that may do more"),
        ({"scopes": ["read"], "key": "k", "expires": "tomorrow"}, "not a time"),
        ({"scopes": ["read"], "key": "k", "rate": -1}, "not a key file"),
        ({"scopes": ["read"], "key": "k", "body": 1 << 40}, "not a key file"),
        ({"scopes": ["read"], "key": "k", "admin": True}, "not a key file"),
        ({"scopes": ["read"], "key": "k", "name": "a\nb"}, "nobody can read"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(path, entry, told):
    path.parent.mkdir()
    path.touch(0o600)
    path.write_bytes(msgspec.json.encode([entry]))
    with pytest.raises(ConfigError, match=told) as refused:
        read_keys(path)
    assert str(path) in refused.value.line()
    assert refused.value.line().isprintable()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1]", b"[[[[", b"null"])
def test_what_is_no_key_file_is_refused(path, content):
    path.parent.mkdir()
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a key file"):
        read_keys(path)


def test_a_folder_and_nothing_are_no_key_files(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="no such key file"):
            read_keys(path)


def test_rotation_two_keys_for_a_while_then_one(path):
    """A second key opens before the first one is revoked; no moment is without a key."""
    clock = Clock()
    old = made(path, name="old")
    access = Access(dev=False, ring=KeyRing(path, clock))
    new = made(path, name="new")
    clock.now = 0.99
    access.check("read", {"x-api-key": old})
    with pytest.raises(AccessError):
        access.check("read", {"x-api-key": new})
    clock.now = 1.0
    for key in (old, new):
        access.check("read", {"x-api-key": key})
    assert revoke_key(path, "old").name == "old"
    clock.now = 2.0
    access.check("read", {"x-api-key": new})
    with pytest.raises(AccessError, match="not known"):
        access.check("read", {"x-api-key": old})


def test_a_changed_file_that_cannot_be_used_changes_nothing_and_is_told_once(path, caplog):
    clock = Clock()
    key = made(path)
    ring = KeyRing(path, clock)
    path.chmod(0o644)
    with caplog.at_level(logging.ERROR, "kokyaku"):
        for clock.now in (1.0, 2.5, 4.0):
            assert len(ring.current()) == 1
    assert [record.message for record in caplog.records if "chmod 600" in record.message and key not in record.message]
    assert len(caplog.records) == 1
    path.unlink()
    clock.now = 6.0
    assert len(ring.current()) == 1
    made(path, name="another")
    clock.now = 8.0
    assert [each.name for each in ring.current()] == ["another"]


def test_a_key_ends_with_its_day(path):
    key = made(path, days=30)
    clock = Clock(NOW + 30 * 86_400 - 1)
    access = Access(dev=False, ring=KeyRing(path), clock=clock)
    access.check("read", {"x-api-key": key})
    clock.now += 1
    with pytest.raises(AccessError, match="expired"):
        access.check("read", {"x-api-key": key})
    assert told(read_keys(path), clock.now)[0]["expires"].endswith("(over)")


def test_a_key_that_ended_stays_so_when_the_machines_clock_is_set_back(path, monkeypatch):
    key, ended = made(path, days=30), (NOW + 30 * 86_400) * 1_000_000_000
    monkeypatch.setattr(clocks, "_MACHINE", clocks.Clock())
    access = Access(dev=False, ring=KeyRing(path))
    for wall in (ended + 1_000, ended - 1_800 * 1_000_000_000):
        monkeypatch.setattr(clocks.time, "time_ns", lambda wall=wall: wall)
        with pytest.raises(AccessError, match="expired"):
            access.check("read", {"x-api-key": key})


def test_plain_keys_of_older_files_become_hashes_with_the_first_change(path):
    path.parent.mkdir()
    path.touch(0o600)
    path.write_text('[{"key": "sesame", "scopes": ["admin"]}]')
    made(path)
    assert "sesame" not in path.read_text()
    Access(dev=False, ring=KeyRing(path)).check("admin", {"x-api-key": "sesame"})
    assert revoke_key(path, "#1").scopes == ("admin",)
    assert [each.name for each in read_keys(path)] == ["backend"]


def test_names_are_taken_once_and_unknown_ones_are_told(path):
    made(path)
    with pytest.raises(ConfigError, match="of this name"):
        made(path)
    with pytest.raises(NotFoundError, match="keys list"):
        revoke_key(path, "nobody")
    with pytest.raises(ConfigError, match="needs a name"):
        made(path, name=" ")
    with pytest.raises(ConfigError, match="rate"):
        made(path, name="fast", rate=1e9)
    assert len(read_keys(path)) == 1


def test_two_who_change_the_file_at_once_do_not_lose_a_key(path):
    made(path)
    with exclusive(path.with_name(f".{path.name}.lock"), busy="mine"), pytest.raises(Exception, match="somebody else"):
        made(path, name="second")
    made(path, name="second")
    assert len(read_keys(path)) == 2


def test_a_list_tells_no_key_and_no_hash(path):
    key = made(path, rate=5.0, burst=10, body=1000)
    rows = repr(told(read_keys(path), NOW))
    assert key not in rows
    assert read_keys(path)[0].hash.removeprefix("sha256:") not in rows
    assert "5 a second, 10 at once, 1000 bytes a body" in rows


def test_every_key_of_the_environment_is_checked_too():
    with pytest.raises(ConfigError, match="browser key that may do more"):
        Access.from_environment({"KOKYAKU_KEYS": "browser+read:k"})
    with pytest.raises(ConfigError, match="KOKYAKU_KEYS, key 2"):
        checked((KeyEntry("k", ("read",)), KeyEntry("l", ("fly",))), "KOKYAKU_KEYS")


def test_environment_and_file_hold_together(path):
    key = made(path)
    access = Access.from_environment({"KOKYAKU_KEYS": "admin:root", "KOKYAKU_KEY_FILE": os.fspath(path)})
    access.check("admin", {"x-api-key": "root"})
    access.check("read", {"authorization": f"Bearer {key}"})


@pytest.mark.parametrize("module", ["training", "serving"])
def test_the_command_line_makes_lists_and_revokes(tmp_path, module):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        root = ["--root", str(tmp_path / "shop")]
        given = [*words, *root] if module == "training" else [*root, *words]
        env = {name: value for name, value in os.environ.items() if not name.startswith("KOKYAKU_")}
        return subprocess.run(
            [sys.executable, "-m", module, *given], capture_output=True, text=True, check=False, env=env
        )

    made = run("keys", "make", "web", "--scopes", "browser", "--rate", "2")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    path = tmp_path / "shop" / "keys.json"
    Access(dev=False, ring=KeyRing(path)).check("browser", {"x-api-key": key})
    listed = run("keys", "list")
    assert "browser" in listed.stdout
    assert key not in listed.stdout
    assert run("keys", "revoke", "web").returncode == 0
    assert read_keys(path) == ()
    again = run("keys", "revoke", "web")
    assert again.returncode == 2
    assert "Traceback" not in again.stderr
