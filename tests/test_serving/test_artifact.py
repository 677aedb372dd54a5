"""Artefacts are written whole, checked, and mapped; what is damaged is refused with a clear sentence."""

from __future__ import annotations

import numpy as np
import pytest

from features.errors import BundleError
from serving import artifact
from serving.artifact import Artifact, live_name, publish_live, write_artifact
from serving.bundle import open_bundle, open_live_bundle, write_bundle

ARRAYS = {"x": np.arange(5, dtype=np.int32), "y.z": np.ones((2, 3), np.float32)}


@pytest.fixture
def written(tmp_path):
    folder = tmp_path / "things" / "one"
    write_artifact(folder, ARRAYS, {"kind": "thing", "format": 1, "note": "hello"})
    return folder


def test_round_trip_is_exact_and_mapped(written):
    opened = Artifact.open(written, kind="thing", format=1)
    assert opened.manifest["note"] == "hello"
    for name, array in ARRAYS.items():
        assert opened.arrays[name].dtype == array.dtype
        assert opened.arrays[name].tolist() == array.tolist()
        assert not opened.arrays[name].flags.writeable


@pytest.mark.parametrize("change", ["flip", "cut", "remove", "manifest"])
def test_damage_is_refused(written, change):
    """A flipped bit, a cut file, a missing file and a broken manifest are each named."""
    path = written / "x.npy"
    data = bytearray(path.read_bytes())
    if change == "flip":
        data[-1] ^= 1
        path.write_bytes(bytes(data))
    elif change == "cut":
        path.write_bytes(bytes(data[:-3]))
    elif change == "remove":
        path.unlink()
    else:
        (written / "manifest.json").write_text("{")
    with pytest.raises(BundleError):
        Artifact.open(written, kind="thing", format=1)


def test_other_kinds_and_newer_formats_are_refused(written):
    with pytest.raises(BundleError, match="not a bundle"):
        Artifact.open(written, kind="bundle", format=1)
    with pytest.raises(BundleError, match="newer"):
        Artifact.open(written, kind="thing", format=0)


def test_nothing_that_could_run_is_read(tmp_path):
    """An array of Python objects cannot be written, and a pickled one is not loaded."""
    with pytest.raises(ValueError, match="allow_pickle"):
        write_artifact(tmp_path / "bad", {"o": np.array([{}], dtype=object)}, {"kind": "thing", "format": 1})
    assert list(tmp_path.iterdir()) == []
    folder = tmp_path / "forged"
    write_artifact(folder, ARRAYS, {"kind": "thing", "format": 1})
    np.save(folder / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match="cannot be read"):
        Artifact.open(folder, kind="thing", format=1, verify=False)


def test_a_crash_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def fail(path, data):
        raise OSError("no space left")

    monkeypatch.setattr(artifact, "write_atomically", fail)
    with pytest.raises(OSError, match="no space"):
        write_artifact(tmp_path / "one", ARRAYS, {"kind": "thing", "format": 1})
    assert list(tmp_path.iterdir()) == []


def test_the_pointer_names_what_serves(tmp_path):
    assert live_name(tmp_path) is None
    publish_live(tmp_path, "one")
    publish_live(tmp_path, "two")
    assert live_name(tmp_path) == "two"


def test_bundles_made_for_other_features_are_refused(tmp_path, make_toy_bundle):
    """A wrong fingerprint is refused with a sentence that says what to do."""
    bundle = make_toy_bundle()
    bundle.manifest["features"] = "0" * 12
    write_bundle(tmp_path / "toy-1", bundle)
    publish_live(tmp_path, "toy-1")
    with pytest.raises(BundleError, match="train again"):
        open_live_bundle(tmp_path)


def test_a_bundle_read_back_is_the_bundle_written(tmp_path, make_toy_bundle):
    bundle = make_toy_bundle()
    write_bundle(tmp_path / "b", bundle)
    read = open_bundle(tmp_path / "b")
    assert read.recipe == bundle.recipe
    assert list(read.items) == list(bundle.items)
    assert read.text("title", 3) == "Title a3"
    assert {name: array.tolist() for name, array in read.arrays.items()} == {
        name: array.tolist() for name, array in bundle.arrays.items()
    }
