"""kill -9 of the worker and of the whole service while clients write: nothing that left is lost or doubled."""

from __future__ import annotations

import os
import platform
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from serving.policy_files import write_policy
from tests.test_serving.conftest import SHOP_TOML
from tests.test_serving.grown import policy
from tests.test_serving.running import Process
from tests.test_serving.traffic import Told, Traffic, log_of, losses

HOME = """
[pages.home]
slots = [
  {name = "first", modules = ["for-you", "popular", "buy-again"], policy = "hero"},
  {name = "second", modules = ["for-you", "popular"], policy = "hero"},
  {name = "last", modules = ["popular"]},
]
"""
RESULT = Path(__file__).parents[2] / "soak" / "kills.json"


@dataclass
class Rounds:
    """Kills one after the other, all over one store."""

    start: Any
    folder: Path
    told: Told = field(default_factory=Told)
    killed: dict[str, int] = field(default_factory=lambda: {"worker": 0, "service": 0})
    ready_again: list[float] = field(default_factory=list)
    """Seconds until a killed worker's service answered again, with nobody's help."""
    service: Process | None = None

    def kill(self, seed: int, whole: bool) -> None:
        """Let clients write, kill at a random moment of it, and let the clients of a service that comes back go on."""
        self.service = self.service or self.start()
        traffic = Traffic(self.service.port, f"round-{seed}", self.told)
        try:
            assert traffic.flowing.wait(30), log_of(self.folder)
            time.sleep(float(np.random.default_rng(seed).uniform(0, 0.6)))
            if whole:
                self.service.kill()
                self.service = None
            else:
                os.kill(self.service.worker, signal.SIGKILL)
                self._await_again(time.monotonic())
        finally:
            traffic.stop()
        self.killed["service" if whole else "worker"] += 1

    def _await_again(self, since: float) -> None:
        assert self.service is not None
        self.service.wait()
        self.ready_again.append(time.monotonic() - since)


@pytest.fixture
def rounds(started, toy_shop, tmp_path, monkeypatch):
    """A shop whose pages explore, and kills of its service."""
    toy_shop.mlflow_db.write_bytes(b"the registry is damaged, and no worker minds")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")  # nor that nobody listens there
    toy_shop.config.write_text(SHOP_TOML + HOME)
    write_policy(toy_shop.policies, policy("hero", {"for-you": 0.1, "popular": 0.2, "buy-again": 0.1}, floor=0.2))
    return Rounds(started, tmp_path)


def test_what_left_before_a_kill_is_kept_once(rounds, toy_shop):
    """Five kills at random moments, of the service or of its worker; each time the store opens as it is."""
    for seed in range(5):
        rounds.kill(seed, whole=seed != 2)
        found = losses(toy_shop, rounds.told)
        assert (found.lost, found.doubled, rounds.told.odd) == ([], [], []), f"seed {seed}"
    assert found.explored > 0 < len(rounds.told.decisions)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_a_hundred_kills(rounds, toy_shop, part):
    """As above, twenty-five times over one store, and that four times; `soak/kills.json` has what was found."""
    began = time.monotonic()
    for seed in range(25):
        rounds.kill(1_000 * (part + 1) + seed, whole=seed % 5 != 4)
    found, told, again = losses(toy_shop, rounds.told), rounds.told, rounds.ready_again
    note(part, {
        "kills of the service": rounds.killed["service"], "kills of the worker": rounds.killed["worker"],
        "events acknowledged": len(told.acknowledged), "decisions that left": len(told.decisions),
        "explored decisions kept": found.explored, "lost": len(found.lost), "doubled": len(found.doubled),
        "answers that should not be": len(told.odd), "batches sent again": told.resent,
        "seconds": round(time.monotonic() - began),
    }, max(again))  # fmt: skip
    assert (found.lost, found.doubled, told.odd) == ([], [], [])


def note(part: int, counts: dict[str, int], slowest: float) -> None:
    """Put the counts of one part beside those of the others, with their sums."""
    told = orjson.loads(RESULT.read_bytes()) if RESULT.exists() else {"parts": {}}
    told["parts"][str(part)] = counts | {"seconds until a worker answered again, at most": round(slowest, 1)}
    told["all"] = {name: sum(each[name] for each in told["parts"].values()) for name in counts}
    told["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
