"""`kokyaku bench uplift` on a made-up file in the form of Hillstrom's experiment."""

from __future__ import annotations

import gzip

import msgspec
import numpy as np
import pytest

from features.errors import DataError
from training.bench.hillstrom import COMPARISONS, FILE, Effort, load, study
from training.bench.rows import Row, write_rows
from training.bench.uplift import table_of
from training.cli import main
from training.uplift.learners import LEARNERS

HEADER = "recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend"


@pytest.fixture
def folder(tmp_path):
    """900 customers: the womens' mail brings a visit to those who bought womens' goods, and to nobody else."""
    random = np.random.default_rng(0)
    lines = [HEADER]
    for _ in range(900):
        womens, arm = int(random.random() < 0.5), ("No E-Mail", "Mens E-Mail", "Womens E-Mail")[random.integers(3)]
        visit = int(random.random() < 0.1 + 0.6 * (womens and arm == "Womens E-Mail"))
        lines.append(
            f"{random.integers(1, 13)},1) $0 - $100,{random.random() * 300:.2f},{1 - womens},{womens},"
            f"{('Rural', 'Urban')[random.integers(2)]},0,{('Web', 'Phone')[random.integers(2)]},{arm},{visit},0,0.0"
        )
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_bytes(gzip.compress("\n".join(lines).encode()))
    return tmp_path


def test_the_file_becomes_a_log(folder):
    """Every arm had a third; the first action is null; text is codes."""
    log = load(folder / FILE)
    assert (len(log), log.actions) == (900, (None, "mens", "womens"))
    np.testing.assert_allclose(log.propensity, 1 / 3)
    assert log.features[:, log.names.index("channel")].max() == 1
    assert {name: log.categorical[log.names.index(name)] for name in ("zip_code", "recency")} == {
        "zip_code": True, "recency": False
    }  # fmt: skip


def test_learners_stand_beside_challengers(folder):
    """A planted effect is found, far above luck; one constant effect has a Qini of exactly 0; rows write and print."""
    told = []
    rows = study(
        load(folder / FILE), comparisons=["womens-none"], outcomes=["visit"], effort=Effort(3, 20, threads=1),
        tell=lambda what, done, total: told.append((what, done, total)),
    )  # fmt: skip
    value = {(row.subject, row.metric): row for row in rows}
    assert {row.subject for row in rows} >= {*LEARNERS, "linear-T", "response", "constant", "lightgbm-defaults-T"}
    best = value["DR", "qini-per-treated"]
    assert best.low > 0 and value["DR", "placebo-percentile"].value == 100
    assert value["constant", "qini-per-treated"].value == pytest.approx(0, abs=1e-12)
    assert np.isnan(value["constant", "calibration-slope"].value) or value["constant", "autoc"].value < 1e-9
    assert value["DR", "qini-difference:linear-T"].value == pytest.approx(
        best.value - value["linear-T", "qini-per-treated"].value
    )
    assert told[-1][0] == "womens-none visit" and told[-1][1] == told[-1][2]
    assert table_of(rows, "womens-none visit").row_count == 9
    write_rows(folder / "rows.json", rows)
    assert len(msgspec.json.decode((folder / "rows.json").read_bytes(), type=list[dict])) == len(rows)
    assert all(isinstance(row, Row) for row in rows)


def test_what_is_not_there_is_named(folder, capsys):
    """No file, another file, no such comparison: a sentence and exit code 2."""
    (folder / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="Hillstrom"):
        load(folder / "other.csv")
    for arguments, said in (
        (["--path", str(folder / "nowhere")], "no such file"),
        (["--path", str(folder), "--comparison", "mens"], next(iter(COMPARISONS))),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["bench", "uplift", *arguments])
        assert ended.value.code == 2
        assert said in capsys.readouterr().err.replace("\n", " ")
