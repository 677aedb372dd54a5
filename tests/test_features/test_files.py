"""Files: a reader sees the old content or the new, and one writer at a time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import DataError
from features.files import exclusive, file_sha256, write_atomically


def test_writing_makes_folders_and_replaces(tmp_path: Path) -> None:
    """The target holds the last bytes written, and nothing else lies beside it."""
    target = tmp_path / "deep" / "er" / "file"
    write_atomically(target, b"one")
    write_atomically(target, b"two")
    assert target.read_bytes() == b"two"
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails before the rename, the old bytes stay and no draft is left behind."""
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def broken(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("features.files.os.fsync", broken)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_sha256_of_a_file(tmp_path: Path) -> None:
    """The digest of the bytes on disk."""
    content = bytes(range(256)) * 5_000
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_second_process_is_told_who_is_busy(tmp_path: Path) -> None:
    """While one process holds the lock, another gets the sentence; afterwards it gets the lock."""
    lock = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path\n"
        "from features.files import exclusive; from features.errors import DataError\n"
        "try:\n    with exclusive(Path(sys.argv[1]), busy='somebody is writing'): print('held')\n"
        "except DataError as error: print(error.what)"
    )
    command = [sys.executable, "-c", code, str(lock)]
    with exclusive(lock, busy="me"):
        during = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    after = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert (during.strip(), after.strip()) == ("somebody is writing", "held")


def test_the_lock_is_released_by_an_error(tmp_path: Path) -> None:
    """An exception inside does not leave the lock behind."""
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock", busy="busy"):
        _ = 1 / 0
    with exclusive(tmp_path / "lock", busy="busy"):
        pass


def test_the_lock_is_not_entered_twice(tmp_path: Path) -> None:
    """Two threads of one process exclude each other as well."""
    with (
        exclusive(tmp_path / "lock", busy="busy"),
        pytest.raises(DataError, match="busy"),
        exclusive(tmp_path / "lock", busy="busy"),
    ):
        pass
