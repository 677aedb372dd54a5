"""`kokyaku bench context`: sessions judged months ahead, no column from after the session, and strangers by truth."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import ConfigError, DataError
from training.bench import asking, shoppers, strangers
from training.bench.context import real
from training.bench.rows import Row
from training.cli import main
from training.prior import PriorParams
from training.simulation.truth import FOLDER, Truth

MONTHS = ("Feb", "Mar", "May", "June")
COLUMNS = (*shoppers.AFTER[:-1], "SpecialDay", "Month", "OperatingSystems", "Browser", "Region", "TrafficType",
           "VisitorType", "Weekend", "Revenue")  # fmt: skip


def write(folder: Path, *, after: float = 0.0, n: int = 500) -> Path:
    """Sessions of four months: traffic of type 2 buys, all else does not tell; `after` fills what is known too late."""
    random, lines = np.random.default_rng(0), [";".join(COLUMNS)]
    for month in MONTHS:
        for _ in range(n):
            traffic = int(random.integers(1, 4))
            told = {
                "SpecialDay": 0, "Month": month, "OperatingSystems": random.integers(1, 3), "Browser": 1,
                "Region": random.integers(1, 4), "TrafficType": traffic, "VisitorType": "New_Visitor",
                "Weekend": "FALSE", "Revenue": "TRUE" if random.random() < (0.6 if traffic == 2 else 0.05) else "FALSE",
            }  # fmt: skip
            late = dict.fromkeys(shoppers.AFTER[:-1], after + float(told["Revenue"] == "TRUE") * after)
            lines.append(";".join(str({**late, **told}[name]) for name in COLUMNS))
    folder.mkdir(exist_ok=True)
    (folder / shoppers.FILE).write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("shoppers"))


@pytest.mark.parametrize("column", shoppers.AFTER)
def test_no_column_of_after_the_session_gets_in(folder, column) -> None:
    with pytest.raises(ConfigError, match="only after the session"):
        shoppers.load(folder, (*shoppers.LANDING, column))


def test_what_is_known_too_late_changes_nothing(folder, tmp_path) -> None:
    """The late columns give the purchase away here; nothing that was read differs."""
    assert not set(shoppers.LANDING) & set(shoppers.AFTER)
    one, other = shoppers.load(folder), shoppers.load(write(tmp_path / "late", after=7.0))
    assert one.names == other.names == shoppers.NAMES
    assert one.words == other.words
    assert (one.codes == other.codes).all()


@pytest.mark.parametrize("columns", [("Weather",), ("Month", "month")])
def test_a_column_that_is_none_is_refused(folder, columns) -> None:
    with pytest.raises(ConfigError, match="no such column"):
        shoppers.load(folder, columns)


def test_another_file_is_refused(folder, tmp_path) -> None:
    with pytest.raises(DataError, match="no such file"):
        shoppers.load(tmp_path)
    (tmp_path / shoppers.FILE).write_bytes(gzip.compress(b"a;b\n1;2\n"))
    with pytest.raises(DataError, match="not the shoppers"):
        shoppers.load(tmp_path)
    short = shoppers.load(folder)
    rows = short.month < 5
    early = shoppers.Sessions(short.month[rows], short.codes[rows], short.words, short.names, short.bought[rows])
    with pytest.raises(DataError, match="too few months"):
        shoppers.forecast(early)


def test_months_are_judged_by_those_before_them(folder) -> None:
    """Traffic is found; the prior then beats the overall rate and ranks as the truth would."""
    found = shoppers.forecast(shoppers.load(folder))
    assert set(found.month.tolist()) == {5, 6}
    value = {(row.subject, row.metric): row for row in shoppers.rows_of(found, resamples=200)}
    saved = value[shoppers.OVERALL, "log-loss-saved-by-kokyaku"]
    assert saved.low is not None and saved.low > 0
    among_buyers, among_others = 0.6 / 0.7, 0.4 / 2.3  # shares of traffic 2, which is all that can be known
    assert value[shoppers.PRIOR, "auc"].value == pytest.approx(0.5 + (among_buyers - among_others) / 2, abs=0.04)
    assert value[shoppers.PRIOR, "lift@10%"].value == pytest.approx(0.6 / (0.7 / 3), rel=0.15)
    assert value[shoppers.OVERALL, "auc"].value == pytest.approx(0.5)
    assert value[shoppers.PRIOR, "calibration-slope"].value == pytest.approx(1, abs=0.25)
    assert any("TrafficType" in note for note in found.notes)


def test_a_later_month_changes_no_earlier_forecast(folder) -> None:
    sessions = shoppers.load(folder)
    whole = shoppers.forecast(sessions)
    changed = shoppers.Sessions(
        sessions.month, sessions.codes, sessions.words, sessions.names, sessions.bought ^ (sessions.month == 6)
    )
    again = shoppers.forecast(changed)
    for method in shoppers.METHODS:
        assert whole.chance[method][whole.month == 5].tolist() == again.chance[method][again.month == 5].tolist()


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_order(rows) -> None:
    chance, bought = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    found = shoppers.auc(chance, shoppers.Forecast(np.ones(len(rows), int), bought, {}, ()))
    if bought.all() or not bought.any():
        assert np.isnan(found.value)
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in chance[bought] for b in chance[~bought]]
    assert found.value == pytest.approx(np.mean(pairs))


@pytest.fixture(scope="module")
def tiny(tiny_dataset) -> tuple[Dataset, Truth]:
    return Dataset(tiny_dataset), Truth.load(tiny_dataset.parent / FOLDER)


def test_strangers_are_valued_by_truth(tiny) -> None:
    """No policy beats the oracle, nor does the oracle of contexts; little data find no dimension, and all say so."""
    found = strangers.judge(*tiny, "hero", "click")
    mean = {name: float(value.mean()) for name, value in found.value.items()}
    assert mean[strangers.ORACLE] == max(mean.values())
    assert mean[strangers.BY_CONTEXT] >= mean[strangers.SINGLE] - 1e-9
    assert (found.value[strangers.ORACLE] >= found.value[strangers.PRIOR]).all()
    rows = strangers.rows_of("tiny", "hero click", found, resamples=50)
    assert {row.subject for row in rows} == {
        strangers.PRIOR, strangers.SINGLE, strangers.LOGGED, strangers.BY_CONTEXT, strangers.ORACLE,
    }  # fmt: skip
    assert strangers.sentence(found.fitted.beyond.gains)


def test_without_dimensions_the_prior_is_the_best_single_action(tiny) -> None:
    found = strangers.judge(*tiny, "band", "click", PriorParams(()))
    assert found.value[strangers.PRIOR].tolist() == found.value[strangers.SINGLE].tolist()


def test_moments_and_answers_of_the_simulated_shop(tiny) -> None:
    rows = asking.rows_of(*tiny, "tiny")
    shares = {(row.subject, row.metric): row.value for row in rows if row.task == "unusual moments"}
    assert shares["all", "share-below-0.02"] <= shares["all", "share-below-0.05"] < 0.08
    worth = {(row.task, row.subject): row.value for row in rows if row.metric == "worth-of-answer"}
    assert worth["question pet hero", "truth"] > 0.005, "tips are for pets"
    assert all(value >= 0 for value in worth.values())


def test_the_command_prints_writes_and_says_what_is_missing(folder, tmp_path, capsys) -> None:
    notes: list[Row] = []
    assert "not recorded" in real(folder, notes, 50)[0]
    assert notes
    with pytest.raises(SystemExit) as ended:
        main(["bench", "context", "--path", str(tmp_path)])
    assert ended.value.code == 2
    assert "no such file" in capsys.readouterr().err
