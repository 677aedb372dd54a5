"""The arithmetic of an experiment, against experiments that are run a thousand times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from features.errors import ConfigError, DataError
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from training.cli import main
from training.experiments.looks import confidence_at, difference
from training.experiments.power import WEEK, Line, Stretch, enough, line_of, stretches
from training.simulation.run import simulate


def shop(days: int = 70, customers: int = 30) -> tuple[Histories, np.ndarray]:
    """Customer u buys every day for u euros; visitors buy nothing that counts."""
    lines = [(u, day) for u in range(customers) for day in range(days)]
    time = np.array([day * DAY for _, day in lines], np.int64)
    events = History(
        time=time, recorded=time, item=np.zeros(len(lines), np.int32),
        type=np.full(len(lines), EventType.PURCHASE, np.int8), quantity=np.ones(len(lines), np.float32),
        value=np.array([u for u, _ in lines], np.float32), key=np.arange(len(lines), dtype=np.uint64),
    )  # fmt: skip
    subjects = Vocabulary.of([f"c:{u:02}" for u in range(customers)])
    offsets = np.arange(customers + 1, dtype=np.int64) * days
    return Histories(subjects, Vocabulary.of(["i"]), offsets, events), events.value.astype(np.float64)


def test_stretches_are_what_customers_brought():
    """Every week alike, so the past foretells everything."""
    histories, money = shop()
    found = stretches(histories, money, 70 * DAY)
    assert [each.weeks for each in found] == [1, 2, 4]
    for each in found:
        assert each.customers == 30
        assert each.mean == pytest.approx(7 * each.weeks * np.mean(np.arange(30)))
        assert each.deviation == pytest.approx(7 * each.weeks * np.std(np.arange(30), ddof=1))
        assert each.foretold == pytest.approx(1.0)


def test_a_past_too_short_is_a_sentence():
    histories, money = shop(days=13)
    with pytest.raises(DataError, match="too short"):
        stretches(histories, money, 13 * DAY)
    assert WEEK == 7 * DAY


def test_the_detectable_effect_is_found_with_the_asked_power():
    """A thousand experiments with just that effect: four of five find it."""
    stretch = Stretch(weeks=2, customers=800, mean=10.0, deviation=4.0, foretold=0.5)
    line = line_of(stretch, holdout=0.3, effect=0.05, power=0.8)
    random, found = np.random.default_rng(0), 0
    for _ in range(1000):
        before = random.normal(0, 4.0, 800)
        treated = np.arange(800) >= 240
        outcome = 10 + np.sqrt(0.5) * before + random.normal(0, 4.0 * np.sqrt(0.5), 800) + line.detectable * treated
        found += difference(outcome, treated, before, confidence=confidence_at(2)).found.low > 0
    assert found / 1000 == pytest.approx(0.8, abs=0.04)
    assert line.relative == pytest.approx(line.detectable / 10)


def test_so_many_customers_detect_just_the_asked_effect():
    """The number that is said to be needed has the asked effect as its smallest."""
    line = line_of(Stretch(4, 500, 20.0, 30.0, 0.2), holdout=0.05, effect=0.03)
    again = line_of(Stretch(4, int(line.needed), 20.0, 30.0, 0.2), holdout=0.05, effect=0.03)
    assert again.relative == pytest.approx(0.03, rel=1e-3)
    assert line.cost == pytest.approx(0.05 * 500 * 0.03 * 20)


def test_shares_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="--holdout"):
        line_of(Stretch(1, 10, 1.0, 1.0, 0.0), holdout=0.0, effect=0.1)
    for effect in (0.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="--effect"):
            line_of(Stretch(1, 10, 1.0, 1.0, 0.0), holdout=0.1, effect=effect)


def test_the_shortest_that_is_enough():
    """None where even the longest is not."""
    lines = [
        Line(Stretch(w, 10, 1.0, 1.0, 0.0), 0.1, relative, 1.0, 0.0) for w, relative in ((1, 0.2), (2, 0.04), (4, 0.03))
    ]
    assert enough(lines, 0.05) is lines[1]
    assert enough(lines, -0.05) is lines[1]
    assert enough(lines, 0.01) is None


def test_the_command_answers_from_a_shops_own_past(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """A table, the answer as a sentence, the rows as JSON; a share that is none is one line and exit code 2."""
    simulate(tmp_path / "toy" / "dataset", size="tiny", seed=1)
    asked = ["power", "--shop", "toy", "--root", str(tmp_path / "toy")]
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--holdout", "0.1", "--json", str(tmp_path / "power.json")])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "A gain of 5.0%" in out
    assert "holding out 10.0% costs" in out
    rows = {(row["subject"], row["metric"]): row["value"] for row in json.loads((tmp_path / "power.json").read_text())}
    assert rows["1 weeks", "needed"] > 0
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--holdout", "2"])
    assert ended.value.code == 2
    assert "--holdout" in capsys.readouterr().err
