"""The Open Bandit rows: the files as logs, Thompson sampling's shares, and the published figure where the data are."""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest

from features.errors import DataError
from training.bench.open_bandit import PUBLISHED, read_log, read_prior, rows, thompson_shares

REAL = Path(os.environ.get("KOKYAKU_DATA", ""))
HEAD = ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user_feature_2,user_feature_3"


def write(home: Path, policy: str, lines: list[str]) -> None:
    """One campaign's file."""
    folder = home / policy / "all"
    folder.mkdir(parents=True)
    with gzip.open(folder / "all.csv.gz", "wt") as file:
        file.write("\n".join([HEAD, *lines]) + "\n")


def test_a_file_is_a_log(tmp_path):
    """In order of time; what was not shown shares the rest; there is no null action to draw."""
    write(tmp_path, "bts", [
        "0,2019-11-24 00:00:18.500000+00:00,2,3,1,0.4,x,a,a,a", "1,2019-11-24 00:00:17+00:00,0,1,0,0.25,y,a,b,a",
    ])  # fmt: skip
    log = read_log(tmp_path, "bts", "all")
    assert log.actions == (None, "0", "1", "2")
    assert log.action.tolist() == [1, 3]
    np.testing.assert_allclose(log.propensity, [[0, 0.25, 0.375, 0.375], [0, 0.3, 0.3, 0.4]])
    assert log.position.tolist() == [0, 2]
    assert (log.decided_at[1] - log.decided_at[0]) == 1_500_000
    assert log.reward("click").tolist() == [0, 1]
    assert log.features[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0,2019-11-24 00:00:18+00:00,2,3,1,0,x,a,a,a", "above 0 and at most 1"),
        ("0,yesterday,2,3,1,0.5,x,a,a,a", "not an instant"),
        ("0,2019-11-24 00:00:18+00:00,2", "not a log of the Open Bandit Dataset"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, line, words):
    """Naming the file."""
    write(tmp_path, "random", [line])
    with pytest.raises(DataError, match=words):
        read_log(tmp_path, "random", "all")


def test_what_is_not_there_is_named(tmp_path):
    """A log, the priors, or a line that is none."""
    with pytest.raises(DataError, match="no such file"):
        read_log(tmp_path, "random", "all")
    with pytest.raises(DataError, match="no such file"):
        rows(tmp_path)
    (tmp_path / "prior_bts.yaml").write_text("all:\n  alpha:\n    - 1.0\n    - x\n")
    with pytest.raises(DataError, match=r"prior_bts.yaml:4"):
        read_prior(tmp_path)
    (tmp_path / "prior_bts.yaml").write_text("all:\n  alpha:\n    - 1.0\n")
    with pytest.raises(DataError, match="no such parameter"):
        read_prior(tmp_path)


def test_thompsons_shares_are_the_chance_to_rank_so(tmp_path):
    """Beta(2, 1) beats Beta(1, 1) with probability 2 / 3, and Beta(1, 1e9) always loses; equal items are equal."""
    (tmp_path / "prior_bts.yaml").write_text(
        "all:\n  alpha:\n    - 2.0\n    - 1\n    - 1\n\n  beta:\n    - 1\n    - 1\n    - 1e9\n"
    )
    first = thompson_shares(*read_prior(tmp_path)["all"], draws=20_000)
    assert first["1"]["0"] == pytest.approx(2 / 3, abs=0.015)
    assert first["2"]["1"] == first["1"]["0"]
    assert first["3"]["2"] == 1
    equal = thompson_shares(np.ones(3), np.ones(3), draws=20_000)
    assert all(share == pytest.approx(1 / 3, abs=0.015) for slot in equal.values() for share in slot.values())
    assert all(sum(slot.values()) == pytest.approx(1) for slot in equal.values())
    assert thompson_shares(np.ones(3), np.ones(3), draws=20_000) == equal


@pytest.mark.skipif(not (REAL / "open_bandit").is_dir(), reason="KOKYAKU_DATA/open_bandit is not there")
def test_the_published_figure_and_the_refusal():
    """Thompson sampling over random on campaign all; from Thompson sampling's log of women nothing is known."""
    found = {(row.data, row.task, row.subject, row.metric): row for row in rows(REAL)}
    ratio = found["open-bandit-all", "random-to-thompson", "thompson", "relative-value-ipw"]
    assert ratio.value == pytest.approx(PUBLISHED, abs=1e-6)
    assert ratio.low < 1 < ratio.high
    women = {name[3]: row.value for name, row in found.items() if name[0] == "open-bandit-women"}
    assert women["refused"] == 1
    assert women["effective-sample-size"] == pytest.approx(2.08, abs=0.01)
    assert math.isnan(women["relative-value-ipw"])
