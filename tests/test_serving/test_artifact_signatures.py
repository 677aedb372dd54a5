"""Where a signing key is configured, only what was published with it is taken up; nothing leads out of its folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import orjson
import pytest

from features.errors import BundleError, ConfigError
from serving.artifact import LIVE, Artifact, is_name, live_name, publish_live, read_manifest, write_artifact
from serving.artifact_signatures import SIGNATURE, VARIABLE
from serving.bundle import open_bundle, write_bundle
from serving.engine import Engine
from serving.sign_published import sign_shop

ARRAYS = {"x": np.arange(5, dtype=np.int32)}


def key_file(path, *keys: str, mode: int = 0o600):
    path.touch(0o600)
    path.write_text("\n".join(keys) + "\n")
    path.chmod(mode)
    return path


@pytest.fixture
def key(tmp_path, monkeypatch):
    """A signing key of this process."""
    path = key_file(tmp_path / "signing.key", "k" * 64)
    monkeypatch.setenv(VARIABLE, os.fspath(path))
    return path


def written(folder):
    write_artifact(folder, ARRAYS, {"kind": "thing", "format": 1})
    return folder


def opened(folder):
    return Artifact.open(folder, kind="thing", format=1)


def test_what_is_published_with_a_key_is_signed_and_opens(key, tmp_path):
    folder = written(tmp_path / "things" / "one")
    assert (folder / SIGNATURE).read_text().startswith("hmac-sha256:")
    assert opened(folder).arrays["x"].tolist() == [0, 1, 2, 3, 4]


def test_without_a_key_nothing_is_signed_and_everything_opens(tmp_path):
    folder = written(tmp_path / "things" / "one")
    assert not (folder / SIGNATURE).exists()
    opened(folder)


def test_what_is_not_signed_is_refused_with_what_to_do(tmp_path, monkeypatch):
    folder = written(tmp_path / "things" / "one")
    monkeypatch.setenv(VARIABLE, os.fspath(key_file(tmp_path / "signing.key", "k" * 64)))
    with pytest.raises(BundleError, match=r"not signed.*kokyaku sign"):
        opened(folder)
    with pytest.raises(BundleError, match="not signed"):
        read_manifest(folder)


@pytest.mark.parametrize("change", ["array", "manifest", "signature", "empty", "binary", "other", "folder"])
def test_somebody_who_can_write_there_changes_nothing_unseen(key, tmp_path, change):
    """He writes the checksum of his array too, takes the signature of another artefact, or of another key."""
    folder = written(tmp_path / "things" / "one")
    manifest, signature = folder / "manifest.json", folder / SIGNATURE
    if change in {"array", "manifest"}:
        told = orjson.loads(manifest.read_bytes())
        if change == "array":
            with (folder / "x.npy").open("wb") as file:
                np.save(file, np.zeros(5, np.int32))
            told["files"]["x"]["sha256"] = hashlib.sha256((folder / "x.npy").read_bytes()).hexdigest()
        else:
            told["note"] = "mine"
        manifest.write_bytes(orjson.dumps(told))
    elif change == "signature":
        text = signature.read_text()
        signature.write_text(text.replace(text[20], "0" if text[20] != "0" else "1", 1))
    elif change == "other":
        write_artifact(tmp_path / "things" / "two", ARRAYS, {"kind": "thing", "format": 1, "note": "two"})
        signature.write_bytes((tmp_path / "things" / "two" / SIGNATURE).read_bytes())
    elif change == "folder":
        signature.unlink()
        signature.mkdir()
    else:
        signature.write_bytes(b"" if change == "empty" else b"\xff\xfe")
    with pytest.raises(BundleError, match="signature is not of our key"):
        opened(folder)


def test_keys_change_without_a_gap(tmp_path, monkeypatch):
    """The first key signs, all are accepted: a new one is added in front, and the old one taken out at the end."""
    path = key_file(tmp_path / "signing.key", "a" * 64)
    monkeypatch.setenv(VARIABLE, os.fspath(path))
    old = written(tmp_path / "things" / "old")
    key_file(path, "b" * 64, "a" * 64)
    new = written(tmp_path / "things" / "new")
    opened(old)
    opened(new)
    key_file(path, "b" * 64)
    opened(new)
    with pytest.raises(BundleError, match="not of our key"):
        opened(old)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [("", 0o600, "too short"), ("short", 0o600, "too short"), ("k" * 64, 0o644, "chmod 600"), (None, 0, "no such")],
)
def test_a_key_that_is_none_is_told_and_never_passed_over(tmp_path, monkeypatch, content, mode, told):
    """A slip in the configuration must not open what the key shall close."""
    folder, path = written(tmp_path / "things" / "one"), tmp_path / "signing.key"
    if content is not None:
        key_file(path, content, mode=mode)
    monkeypatch.setenv(VARIABLE, os.fspath(path))
    for attempt in (lambda: opened(folder), lambda: written(tmp_path / "things" / "two")):
        with pytest.raises(ConfigError, match=told) as refused:
            attempt()
        assert "kkkk" not in refused.value.line()
    assert not (tmp_path / "things" / "two").exists()


def test_an_unsigned_bundle_does_not_take_over(toy_shop, key, make_toy_bundle, monkeypatch):
    """The one that serves goes on; the signed one after it is taken up."""
    sign_shop(toy_shop)
    engine = Engine(toy_shop, worker="test")
    monkeypatch.delenv(VARIABLE)
    write_bundle(toy_shop.bundles / "toy-2", make_toy_bundle("toy-2"))
    monkeypatch.setenv(VARIABLE, os.fspath(key))
    publish_live(toy_shop.bundles, "toy-2")
    try:
        engine.refresh()
    except BundleError as error:
        assert "not signed" in error.line()
    assert engine.live.bundle.id == "toy-1"
    write_bundle(toy_shop.bundles / "toy-3", make_toy_bundle("toy-3"))
    publish_live(toy_shop.bundles, "toy-3")
    engine.refresh()
    assert engine.live.bundle.id == "toy-3"
    engine.close()


def test_signing_what_is_there_looks_at_it_first(toy_shop, key, monkeypatch):
    file = toy_shop.bundles / "toy-1" / "items.blob.npy"
    whole = file.read_bytes()
    file.write_bytes(whole + b"x")
    with pytest.raises(BundleError, match="checksum"):
        sign_shop(toy_shop)
    with pytest.raises(BundleError, match="not signed"):
        open_bundle(toy_shop.bundles / "toy-1")
    file.write_bytes(whole)
    assert sign_shop(toy_shop) == ["bundles/toy-1"]
    open_bundle(toy_shop.bundles / "toy-1")
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigError, match="no signing key is configured"):
        sign_shop(toy_shop)


@pytest.mark.parametrize("module", ["training", "serving"])
def test_the_command_signs(tmp_path, toy_shop, module):
    path = key_file(tmp_path / "signing.key", "k" * 64)
    root = ["--shop", "toy", "--root", str(toy_shop.root)]
    words = ["sign", *root] if module == "training" else [*root, "sign"]
    environ = {**os.environ, VARIABLE: str(path)}
    done = subprocess.run(
        [sys.executable, "-m", module, *words], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "bundles/toy-1" in done.stdout
    assert (toy_shop.bundles / "toy-1" / SIGNATURE).exists()
    environ.pop(VARIABLE)
    without = subprocess.run(
        [sys.executable, "-m", module, *words], env=environ, capture_output=True, text=True, check=False
    )
    assert without.returncode == 2
    assert VARIABLE in without.stderr


# ---- nothing leads out of its folder


OUTSIDE = ["../one/x", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "a\0b", ".hidden"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_manifest_that_names_a_file_elsewhere_is_refused(tmp_path, name):
    """Even a file that is there, with the right checksum."""
    secret = written(tmp_path / "things" / "one")
    folder = written(tmp_path / "things" / "two")
    told = orjson.loads((folder / "manifest.json").read_bytes())
    entry = {"sha256": hashlib.sha256((secret / "x.npy").read_bytes()).hexdigest(), "bytes": 1}
    (folder / "manifest.json").write_bytes(orjson.dumps({**told, "files": {name: entry}}))
    with pytest.raises(BundleError, match="damaged"):
        opened(folder)
    assert not is_name(name)


@pytest.mark.parametrize("name", [*OUTSIDE, 7, None, ["toy-1"], {"a": 1}])
def test_a_pointer_that_leads_elsewhere_is_refused(tmp_path, name):
    written(tmp_path / "elsewhere" / "one")
    parent = tmp_path / "things"
    parent.mkdir()
    (parent / LIVE).write_bytes(orjson.dumps({"live": name}))
    with pytest.raises(BundleError, match="does not name what is live"):
        live_name(parent)
