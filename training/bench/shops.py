"""The shops that accuracy is measured on: how they are imported, their windows, and how often the test was read."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec

from features import importing
from features.dataset import Dataset
from features.errors import ConfigError
from features.files import file_sha256, write_atomically
from features.importing import SourceOptions, open_source, run_import
from features.importing.sources.complete_journey import FILES, package_folder
from features.moments import parse_instant
from training.split import Window

Split = Literal["valid", "test", "second"]
SPLITS: tuple[Split, ...] = get_args(Split)
READS = "test-reads.json"


@dataclass(frozen=True, slots=True)
class Case:
    """A shop with its windows, side by side.

    Args:
        tuned: blends are weighed here when `valid` is judged.
        valid: judged while developing; blends are weighed here when `test` is judged.
        test: the quoted window.
        second: another window that nothing was developed on, after the one that blends are weighed on then: how far
            one month's figures are from another's.
        reference: task -> subject -> NDCG@20 on `test` by an independent script (Online Retail: with fees kept).
    """

    tuned: Window
    valid: Window
    test: Window
    second: tuple[Window, Window]
    reference: Mapping[str, Mapping[str, float]]

    def windows(self, split: Split) -> tuple[Window, Window]:
        """The window to choose on and the window to judge on."""
        if split == "second":
            return self.second
        return (self.tuned, self.valid) if split == "valid" else (self.valid, self.test)


def _window(start: str, end: str) -> Window:
    return Window(parse_instant(start), parse_instant(end))


CASES: Mapping[str, Case] = {
    "complete-journey": Case(
        _window("2017-10-01", "2017-11-01"), _window("2017-11-01", "2017-12-01"), _window("2017-12-01", "2018-01-01"),
        (_window("2017-07-01", "2017-08-01"), _window("2017-08-01", "2017-09-01")),
        {
            "all": {"popularity": 0.148, "personal-frequency": 0.360, "ials": 0.133, "ease": 0.219, "blend": 0.364},
            "new": {"popularity": 0.041, "ials": 0.041, "ease": 0.049},
        },
    ),
    "online-retail": Case(
        _window("2011-09-01", "2011-10-01"), _window("2011-10-01", "2011-11-01"), _window("2011-11-01", "2011-12-10"),
        (_window("2011-06-01", "2011-07-01"), _window("2011-07-01", "2011-08-01")),
        {
            "all": {"popularity": 0.092, "personal-frequency": 0.338, "ials": 0.277, "ease": 0.268, "blend": 0.335},
            "new": {"popularity": 0.043, "ials": 0.089, "ease": 0.105},
        },
    ),
}  # fmt: skip


def case_of(data: str) -> Case:
    """The shop of that name.

    Raises:
        ConfigError: there is none.
    """
    if data not in CASES:
        raise ConfigError("no such data", where="--data", got=data, hint=f"one of: {', '.join(CASES)}")
    return CASES[data]


def default_cache() -> Path:
    """The user's cache folder, where an imported shop and the count of test reads stay between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kokyaku" / "bench"


def dataset_of(data: str, path: Path | None, cache: Path, *, keep_fees: bool = False) -> Dataset:
    """The shop's tables; imported once for the same file and the same importing code.

    Raises:
        ConfigError: the shop needs a file and none was named.
        DataError: the file is not there or cannot be read, or the package is not installed.
    """
    source = open_source(data, path, None, SourceOptions(keep_fees=keep_fees))
    files = [path] if path else [package_folder() / name for name in FILES.values()]
    dataset = Dataset(cache / f"{data}-{_key([file for file in files if file.is_file()], keep_fees)}")
    if not dataset.exists():
        run_import(dataset, source, now=time.time_ns() // 1000)
    return dataset


def checked_split(asked: str) -> Split:
    """The split of that name.

    Raises:
        ConfigError: there is none.
    """
    for split in SPLITS:
        if asked == split:
            return split
    raise ConfigError("no such split", where="--split", got=asked, hint="valid, test or second")


def reads(split: Split, data: str, cache: Path) -> list[str]:
    """Counts a look at a test, and says how many there were."""
    if split == "valid":
        return []
    test, what = ("test", data) if split == "test" else ("second test", f"{data} second")
    return [f"The {test} of {data} was read {count_read(cache, what)} times with this cache."]


def count_read(cache: Path, data: str) -> int:
    """Count one more look at a shop's test window; returns how many there were, this one included."""
    path = cache / READS
    reads = msgspec.json.decode(path.read_bytes(), type=dict[str, int]) if path.exists() else {}
    reads[data] = reads.get(data, 0) + 1
    write_atomically(path, msgspec.json.format(msgspec.json.encode(reads), indent=1))
    return reads[data]


def _key(files: list[Path], keep_fees: bool) -> str:
    """Twelve hex digits of what the dataset depends on: the files' bytes, the options, the importing code."""
    code = sorted(Path(importing.__path__[0]).rglob("*.py"))
    parts = [file_sha256(file) for file in (*files, *code)]
    return hashlib.sha256("\n".join([*parts, str(keep_fees)]).encode()).hexdigest()[:12]
