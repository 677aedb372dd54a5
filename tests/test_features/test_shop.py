"""A shop is one folder; its secret is its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import ConfigError
from features.shop import Shop

PATHS = ("config", "dataset", "bundles", "histories", "store", "decision_logs", "mlflow_db", "mlflow_artifacts")


@pytest.mark.parametrize("name", ["demo", "a", "7-eleven", "x" * 63])
def test_good_names(name: str, tmp_path: Path) -> None:
    """Lower-case letters, digits and dashes."""
    assert Shop(name, tmp_path).id == name


@pytest.mark.parametrize("name", ["", "-a", "Demo", "a/b", "..", "a_b", "店", "x" * 64, "a\n"])
def test_bad_names_are_refused(name: str, tmp_path: Path) -> None:
    """A name that could leave its folder or clash on some file system is a ConfigError."""
    with pytest.raises(ConfigError, match="not a shop id"):
        Shop(name, tmp_path)


def test_all_paths_lie_in_the_root(tmp_path: Path) -> None:
    """Every path is inside the shop's folder, no two are the same, and asking creates nothing."""
    root = tmp_path / "shop"
    shop = Shop("demo", root)
    paths = [getattr(shop, name) for name in PATHS]
    assert len(set(paths)) == len(PATHS)
    assert all(path.parent == root for path in paths)
    assert not root.exists()


def test_names_in_the_tracking_server_tell_shops_apart(tmp_path: Path) -> None:
    """Two shops in one tracking server share neither experiment nor registered model."""
    one, two = Shop("one", tmp_path), Shop("two", tmp_path)
    assert one.experiment != two.experiment
    assert one.registered_model != two.registered_model


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    """32 bytes, the same for every reader, another for every shop, readable by its owner only."""
    shop = Shop("demo", tmp_path / "a")
    assert len(shop.secret) == 32
    assert Shop("demo", tmp_path / "a").secret == shop.secret
    assert Shop("demo", tmp_path / "b").secret != shop.secret
    assert stat.S_IMODE((tmp_path / "a" / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["secret.key"]


def test_the_secret_is_on_the_disk_before_anybody_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the bytes, then the name, then the folder; a power loss in between leaves no file that is half a secret."""
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def synced(fd: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else f"{os.fstat(fd).st_size} bytes")
        fsync(fd)

    def linked(old: Path, new: Path) -> None:
        steps.append("name")
        link(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    _ = Shop("demo", tmp_path / "a").secret
    assert steps == ["32 bytes", "name", "folder"]


@pytest.mark.parametrize("left", [b"", b"half a secret"])
def test_what_is_no_secret_is_refused_and_stays(tmp_path: Path, left: bytes) -> None:
    """A new one would not know the erased; so an operator decides."""
    path = tmp_path / "secret.key"
    path.write_bytes(left)
    with pytest.raises(ConfigError, match=rf"secret\.key: the secret is too short; got '{len(left)} bytes'.*backup"):
        _ = Shop("demo", tmp_path).secret
    assert path.read_bytes() == left


def test_processes_that_start_together_agree_on_the_secret(tmp_path: Path) -> None:
    """Four processes ask at once for a secret that is not there: all get the same one."""
    code = (
        "import sys; from pathlib import Path; from features.shop import Shop\n"
        "print(Shop('s', Path(sys.argv[1])).secret.hex())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "shop")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate(timeout=60)[0] for process in running}
    assert len(answers) == 1
    assert len(answers.pop().strip()) == 64
