"""What a training run cost and ran on, and how far it is: time and memory of each step, versions, progress."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Tell = Callable[[str, int, int], None]
"""Hears `(what, done, total)` while something long runs."""
PACKAGES = ("kokyaku", "numpy", "scipy", "pyarrow", "duckdb", "implicit", "lightgbm", "mlflow")
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Step:
    """One measured step."""

    name: str
    seconds: float
    peak_mb: float
    """Highest resident memory of the whole process while the step ran, in MiB."""


@dataclass
class Meter:
    """The steps of one run, in the order in which they ended."""

    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what runs inside; a step that fails is measured too."""
        _reset_peak()
        start = time.perf_counter()
        try:
            yield
        finally:
            self.steps.append(Step(name, time.perf_counter() - start, peak_memory_mb()))

    @property
    def peak_mb(self) -> float:
        """The highest peak of all steps."""
        return max((step.peak_mb for step in self.steps), default=peak_memory_mb())

    @property
    def seconds(self) -> float:
        """All steps together."""
        return sum(step.seconds for step in self.steps)


def peak_memory_mb() -> float:
    """Highest resident memory of this process since the last step began, in MiB.

    Where the system keeps no resettable mark (anything but Linux) it is the highest since the process began.
    """
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _reset_peak() -> None:
    """Writing 5 to clear_refs sets the high-water mark back to what is resident now (proc(5))."""
    with suppress(OSError):
        _CLEAR.write_text("5")


def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a figure."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def counted(tell: Tell, what: str, total: int) -> Callable[[int], None]:
    """Progress for something that says how many were done since the last call."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        tell(what, done, total)

    return advance
