"""Arrays that requests read all over lie in large pages, where the system has them; everywhere they read the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving import large_pages
from serving.artifact import Artifact, write_artifact
from serving.large_pages import LARGE, read_again, wanted

MANIFEST = {"kind": "thing", "format": 1}


def opened(folder: Path, **given):
    return Artifact.open(folder, kind="thing", format=1, **given).arrays


def in_large_pages(path: Path) -> int:
    """Bytes of a file that this process has mapped in large pages."""
    found, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            ours = words[-1] == str(path)
        elif ours and words[0] == "FilePmdMapped:":
            found += 1024 * int(words[1])
    return found


def test_what_was_written_is_read_again_in_large_pages(tmp_path):
    """All of it but the last part of one."""
    array = np.arange(4 * LARGE // 8 + 5)
    write_artifact(tmp_path / "one", {"x": array}, MANIFEST)
    found = opened(tmp_path / "one")["x"]
    np.testing.assert_array_equal(found, array)
    if not in_large_pages(tmp_path / "one/x.npy"):
        pytest.skip("this system keeps no file in large pages here")
    assert in_large_pages(tmp_path / "one/x.npy") == 4 * LARGE


def test_of_what_is_read_in_one_place_no_more_is_read_than_that(tmp_path, monkeypatch):
    """Two MB from the disk for a customer's few hundred bytes would be too much."""
    asked = []
    monkeypatch.setattr(large_pages, "read_again", lambda path: asked.append(path.name))
    monkeypatch.setattr(large_pages, "wanted", lambda array: asked.append(len(array)))
    write_artifact(tmp_path / "one", {"all": np.arange(3), "here": np.arange(4)}, MANIFEST, sparse=("here",))
    opened(tmp_path / "one", sparse=("here",))
    assert asked == ["all.npy", 3]


@pytest.mark.parametrize("advice", [None, -1])
def test_a_system_that_has_none_reads_the_same(tmp_path, monkeypatch, advice):
    """It does not know the word, or refuses it."""
    monkeypatch.setattr(large_pages, "_HUGE", advice)
    array = np.arange(LARGE // 4)
    write_artifact(tmp_path / "one", {"x": array, "small": array[:9]}, MANIFEST)
    found = opened(tmp_path / "one")
    np.testing.assert_array_equal(found["x"], array)
    np.testing.assert_array_equal(found["small"], array[:9])


def test_nothing_else_is_touched(tmp_path):
    """Arrays that are not mapped, and files that are shorter than a page of them."""
    wanted(np.arange(LARGE))
    path = tmp_path / "small"
    path.write_bytes(b"kept")
    read_again(path)
    assert path.read_bytes() == b"kept"
