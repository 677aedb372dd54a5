"""Experiments, the Open Bandit Dataset and mailed campaigns as decisions with outcomes, in small files."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError, DataError, KokyakuError, NotFoundError
from features.importing import ImportReport, SourceOptions, open_source, run_import
from features.importing.experiment_mapping import load_experiment, parse_experiment, shipped_experiment
from features.importing.sources.campaigns import HOUSEHOLD
from features.moments import parse_instant

NOW = parse_instant("2024-06-01")
MAIL: dict[str, Any] = {
    "experiment": "mail", "surface": "email", "subject": "who", "at": "2024-03-01", "arm": "group",
    "control": ["none"], "actions": {"A": "mail-tea", "B": "mail-cups"},
    "shares": {"none": "1/2", "A": 0.25, "B": 0.25},
    "covariates": {
        "age": "age", "place": {"column": "place", "kind": "text"}, "club": {"column": "club", "kind": "boolean"},
    },
    "outcomes": {"bought": {"column": "paid", "margin": "earned", "at": "on"}},
}  # fmt: skip
HEADER = "who,group,age,place,club,paid,earned,on,p"
ROWS = [
    'ann,none,31,"Kyo""to",yes,0,,,0.5',
    "ben,A,,,no,10,4.5,2024-03-02T10:00Z,0.25",
    "cat,B,44,Nara,,,,,0.25",
]


def bring(till: Any, rows: list[str], erased: Any = None, **changes: Any) -> ImportReport:
    """Import rows of the mail experiment."""
    path = till.file("\n".join([HEADER, *rows]) + "\n")
    mapping = parse_experiment({key: value for key, value in {**MAIL, **changes}.items() if value is not None})
    source = open_source("experiment", path, None, SourceOptions(experiment=mapping))
    return run(till, source, erased)


def run(till: Any, source: Any, erased: Any = None) -> ImportReport:
    """Import, and see that the counts add up."""
    report = run_import(till.dataset, source, now=NOW, erased=erased)
    assert all(counts.read == counts.accounted for counts in report.tables.values()), report.tables
    return report


def rows(till: Any, sql: str) -> list[Any]:
    """A query over the dataset."""
    with till.dataset.connect() as duck:
        return duck.sql(sql).fetchall()  # type: ignore[no-any-return]


def test_a_row_is_a_decision_with_its_outcomes(till: Any) -> None:
    """What could have been done with which probability, what was done, what was known, what came of it."""
    report = bring(till, ROWS)
    assert (report.tables["decisions"].added, report.tables["outcomes"].added) == (3, 3)
    found = rows(
        till, "SELECT customer_id, action_id, action_propensity, arm, drawn FROM decisions ORDER BY decision_id"
    )
    assert found == [
        ("ann", None, 0.5, "none", True), ("ben", "mail-tea", 0.25, "A", True), ("cat", "mail-cups", 0.25, "B", True),
    ]  # fmt: skip
    texts = rows(till, "SELECT eligible, features, policy, surface, slot FROM decisions ORDER BY decision_id")
    assert orjson.loads(texts[0][0]) == [[None, 0.5], ["mail-tea", 0.25], ["mail-cups", 0.25]]
    assert [orjson.loads(text[1]) for text in texts] == [
        {"names": ["age", "place", "club"], "rows": [each], "categorical": [False, True, False]}
        for each in ([31, 'Kyo"to', True], [None, None, False], [44, "Nara", None])
    ]
    assert {text[2:] for text in texts} == {("experiment:mail", "email", "campaign")}
    came = rows(till, 'SELECT decision_id, reward, value, margin, epoch_us("at") FROM outcomes ORDER BY decision_id')
    moment = parse_instant("2024-03-02T10:00Z")
    assert came[:2] == [("mail/ann", "bought", 0.0, None, None), ("mail/ben", "bought", 10.0, 4.5, moment)]
    assert came[2][2] != came[2][2], "an empty outcome is not known, which is not 0"


def test_the_same_file_again_and_a_longer_one(till: Any) -> None:
    """Again adds nothing, also in another order; a longer one adds its new rows; what was imported is not rewritten."""
    bring(till, ROWS)
    files = till.files()
    assert bring(till, ROWS).import_id is None
    assert bring(till, ROWS[::-1]).import_id is None
    assert till.files() == files
    report = bring(till, [*ROWS, "dan,A,20,Nara,no,1,1,2024-03-03T00:00Z,0.25"])
    assert (report.tables["decisions"].added, report.tables["decisions"].already_there) == (1, 3)
    assert (report.tables["outcomes"].added, report.tables["outcomes"].already_there) == (1, 3)


def test_a_subject_that_stands_twice(till: Any) -> None:
    """The same row twice is one; a row that says otherwise is kept back, with its outcomes, also in a later file."""
    other_arm, other_result = ROWS[0].replace("none", "A"), ROWS[1].replace(",10,", ",11,")
    report = bring(till, [*ROWS, ROWS[0], other_arm, other_result])
    counts = report.tables["decisions"]
    assert (counts.added, counts.collapsed, counts.quarantined) == (3, 1, 2)
    assert report.tables["outcomes"].skipped == {"of-a-refused-decision": 2}
    assert {line["row_number"] for line in till.quarantine(report)} == {5, 6}
    later = bring(till, [other_arm])
    assert (later.tables["decisions"].added, later.reasons) == (0, {"collision": 1})
    assert rows(till, "SELECT count(*) FROM decisions") == [(3,)]
    changed = bring(till, [other_result])
    assert changed.reasons == {"collision": 1}, "the decision is known; its outcome says otherwise"
    assert rows(till, "SELECT value FROM outcomes WHERE decision_id = 'mail/ben'") == [(10.0,)]


BAD = [
    ("unknown-arm", "e1,C,20,Nara,no,0,,,0.25"),
    ("unknown-arm", "e2,,20,Nara,no,0,,,0.25"),
    ("early-outcome", "e3,A,20,Nara,no,1,1,2024-02-29T23:59Z,0.25"),
    ("bad-number", "e4,A,old,Nara,no,0,,,0.25"),
    ("bad-number", "e5,A,20,Nara,no,much,,,0.25"),
    ("bad-value", "e6,A,20,Nara,perhaps,0,,,0.25"),
    ("missing-id", ",A,20,Nara,no,0,,,0.25"),
    ("bad-time", "e8,A,20,Nara,no,0,,soon,0.25"),
]


def test_bad_rows_are_named_and_their_neighbours_are_taken(till: Any) -> None:
    """Each with its reason, its number and its text."""
    report = bring(till, [ROWS[0], *(row for _, row in BAD), ROWS[1]])
    found = till.quarantine(report)
    assert [(line["row_number"], line["reason"]) for line in found] == [(n + 2, why) for n, (why, _) in enumerate(BAD)]
    assert found[0]["raw"]["group"] == "C"
    assert report.tables["decisions"].added == 2


def test_propensities_outside_their_range(till: Any) -> None:
    """0, more than 1 and none at all are no probabilities."""
    bad = [f"e{p},A,20,Nara,no,0,,,{p}" for p in ("0", "1.2", "")]
    report = bring(till, [*ROWS, *bad], shares=None, propensity="p")
    assert report.reasons == {"bad-propensity": 3}
    assert report.tables["decisions"].added == 3


def test_probabilities_by_row(till: Any) -> None:
    """Of what was taken: the others are not known, unless there is only one. Of each arm: all are."""
    bring(till, ROWS, shares=None, propensity="p")
    assert [orjson.loads(text) for (text,) in rows(till, "SELECT eligible FROM decisions ORDER BY decision_id")][1] == [
        [None, None], ["mail-tea", 0.25], ["mail-cups", None],
    ]  # fmt: skip
    bring(till, ROWS[:2], experiment="two", shares=None, propensity="p", actions={"A": "mail-tea"})
    sql = "SELECT eligible FROM decisions WHERE policy = 'experiment:two' ORDER BY decision_id"
    assert [orjson.loads(text) for (text,) in rows(till, sql)][1] == [[None, 0.75], ["mail-tea", 0.25]]
    both = {"none": "p", "A": "p"}
    report = bring(
        till, ["a,none,1,x,no,0,,,0.5", "b,A,1,x,no,0,,,0.6"], experiment="three", shares=None, propensities=both,
        actions={"A": "mail-tea"},
    )  # fmt: skip
    assert report.reasons == {"bad-propensity": 1}, ".6 and .6 do not sum to 1"


def test_an_experiment_that_nobody_drew(till: Any) -> None:
    """No probability is invented."""
    bring(till, ROWS, shares=None, observational=True)
    found = rows(till, "SELECT policy, drawn, isnan(action_propensity), eligible FROM decisions")
    assert {row[:3] for row in found} == {("observational:mail", False, True)}
    assert orjson.loads(found[0][3]) == [[None, None], ["mail-tea", None], ["mail-cups", None]]


def test_rows_without_a_subject_are_known_by_their_place(till: Any) -> None:
    """Equal rows are different people; a longer file adds its tail; moments of rows stand in ids."""
    plain = ["x,none,1,x,no,0,,,0.5"] * 3
    bring(till, plain, subject=None)
    assert rows(till, "SELECT visitor_id FROM decisions ORDER BY 1") == [("mail/1",), ("mail/2",), ("mail/3",)]
    assert bring(till, [*plain, plain[0]], subject=None).tables["decisions"].added == 1
    dated = [f"ann,none,1,x,no,0,,2024-03-0{day},0.5" for day in (1, 2)]
    dates = {"at": None, "moment": "on", "time_zone": "UTC", "outcomes": {"bought": "paid"}, "experiment": "dated"}
    assert bring(till, dated, **dates).tables["decisions"].added == 2


def test_the_erased_stay_out(till: Any) -> None:
    """Neither their decisions nor their outcomes."""
    report = bring(till, ROWS, erased=lambda customer, visitor: customer == "ben")
    assert report.tables["decisions"].skipped == {"erased": 1}
    assert rows(till, "SELECT count(*), count(*) FILTER (decision_id = 'mail/ben') FROM outcomes") == [(2, 0)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"contrl": []}, "did you mean control?"),
        ({"control": [], "actions": {"A": "mail-tea"}}, "one arm only"),
        ({"control": ["none", "A"]}, "both control and an action; got 'A'"),
        ({"actions": {"A": "x", "B": "x"}}, "two arms are the same action; got 'x'"),
        ({"shares": {}}, "with which probability was each arm drawn?"),
        ({"propensity": "p"}, "with which probability was each arm drawn?"),
        ({"observational": True}, "observational, yet with probabilities"),
        ({"shares": {"none": 0.5, "A": 0.25}}, "an arm without a probability; got 'B'"),
        ({"shares": {"none": 0.5, "A": 0.25, "B": 0.3}}, "the shares do not sum to 1; got 1.05"),
        ({"shares": {"none": 1.5, "A": 0.25, "B": 0.3}}, "a probability outside (0, 1]; got 1.5"),
        ({"shares": {"none": "half", "A": 0.25, "B": 0.3}}, "not a probability; got 'half'"),
        ({"shares": {"none": 0.5, "A": 0.25, "C": 0.25}}, "unknown arm; got 'C'"),
        ({"at": None}, "when was it decided?"),
        ({"at": "March"}, "not a time"),
        ({"outcomes": {}}, "no outcomes"),
        ({"covariates": {"spent": "paid"}}, "a covariate that is an outcome; got 'paid'"),
        ({"covariates": {"arm": "group"}}, "a covariate that is the arm itself; got 'group'"),
        ({"covariates": {"age": {"column": "age", "kind": "nmber"}}}, "does not make sense"),
    ],
)
def test_what_does_not_make_sense_is_said_in_one_line(changes: Any, words: str) -> None:
    """Before any file is opened."""
    raw = {key: value for key, value in {**MAIL, **changes}.items() if value is not None}
    with pytest.raises(KokyakuError) as caught:
        parse_experiment(raw)
    assert words in caught.value.line()


def test_the_same_column_before_the_decision_may_be_a_covariate_too() -> None:
    """A placebo outcome is what was known before."""
    assert parse_experiment({**MAIL, "covariates": {"age": "age"}, "outcomes": {"x": "paid", "before:age": "age"}})


def test_a_mapping_that_does_not_fit_its_file_writes_nothing(till: Any, tmp_path: Path) -> None:
    """The nearest column is named, and so is a file that is not there."""
    with pytest.raises(ConfigError, match="did you mean paid"):
        bring(till, ROWS, outcomes={"bought": "payd"})
    mapping = tmp_path / "experiment.toml"
    with pytest.raises(ConfigError, match="cannot read"):
        load_experiment(mapping)
    mapping.write_text("experiment = ")
    with pytest.raises(ConfigError, match="not a TOML"):
        load_experiment(mapping)
    with pytest.raises(ConfigError, match="a mapping is needed"):
        open_source("experiment", mapping)
    with pytest.raises(NotFoundError, match="hillstrom"):
        shipped_experiment("hilstrom")
    assert not till.dataset.exists()


def test_parquet_is_read_like_csv(till: Any) -> None:
    """Typed columns give the same decisions."""
    path = till.root / "mail.parquet"
    columns = {"who": ["ann", "ben"], "group": ["none", "A"], "age": [31, None], "paid": [0.0, 2.5], "p": [0.5, 0.25]}
    pq.write_table(pa.table(columns), path)
    mapping = parse_experiment({**MAIL, "covariates": {"age": "age"}, "outcomes": {"bought": "paid"}})
    run(till, open_source("experiment", path, None, SourceOptions(experiment=mapping)))
    assert rows(till, "SELECT decision_id, value FROM outcomes ORDER BY ALL") == [("mail/ann", 0.0), ("mail/ben", 2.5)]


# Open Bandit

BANDIT = "timestamp,item_id,position,click,propensity_score,user_feature_0,user-item_affinity_0"


def bandit(root: Path, policy: str, campaign: str, lines: list[str]) -> Path:
    """One file of the data set's folder."""
    folder = root / policy / campaign
    folder.mkdir(parents=True)
    (folder / f"{campaign}.csv").write_text("\n".join([f",{BANDIT}", *lines]) + "\n")
    return root


def test_open_bandit(till: Any, tmp_path: Path) -> None:
    """Even draws are known whole; Thompson sampling's only where it shows. Bad rows are named."""
    root = bandit(tmp_path / "obd", "random", "men", [f"0,2019-11-24 00:00:03+00:00,14,3,1,{1 / 34},u,0.5"])
    lines = ["0,2019-11-24 00:00:04+00:00,2,1,0,0.2,v,0", "1,2019-11-24 00:00:05+00:00,46,1,0,0.2,v,0"]
    bandit(root, "bts", "women", lines)
    report = run(till, open_source("open-bandit", root))
    assert report.reasons == {"unknown-arm": 1}
    found = rows(
        till, "SELECT policy, slot, position, action_id, eligible, features FROM decisions ORDER BY decided_at"
    )
    assert [row[:4] for row in found] == [
        ("experiment:open-bandit-men-random", "right", 2, "men/14"),
        ("experiment:open-bandit-women-bts", "left", 0, "women/2"),
    ]
    even, thompson = (dict(orjson.loads(row[4])) for row in found)
    assert (len(even), sum(even.values())) == (34, pytest.approx(1))
    assert (len(thompson), {name for name, chance in thompson.items() if chance is not None}) == (46, {"women/2"})
    features = orjson.loads(found[0][5])
    assert (features["rows"], features["categorical"]) == ([["u", 0.5]], [True, False])
    assert rows(till, "SELECT value FROM outcomes ORDER BY decision_id") == [(1.0,), (0.0,)]
    assert run(till, open_source("open-bandit", root)).import_id is None
    with pytest.raises(DataError, match="no Open Bandit files"):
        open_source("open-bandit", tmp_path)


# Campaigns of The Complete Journey


@pytest.fixture
def mailed(tmp_path: Path) -> Path:
    """Three households, of which two had bought before campaign 2; campaign 1 began before the data."""
    day = datetime.datetime
    tables: dict[str, dict[str, list[Any]]] = {
        "campaigns": {"campaign_id": [1, 2], "household_id": [7, 7]},
        "campaign_descriptions": {
            "campaign_id": [1, 2], "campaign_type": ["Type A", "Type B"],
            "start_date": [day(2016, 12, 1), day(2017, 3, 1)], "end_date": [day(2017, 1, 1), day(2017, 4, 1)],
        },
        "coupon_redemptions": {
            "household_id": [7, 7], "coupon_upc": [1, 2], "campaign_id": [2, 2],
            "redemption_date": [day(2017, 3, 9), day(2017, 3, 5)],
        },
        "transactions": {
            "household_id": [7, 8, 9],
            "transaction_timestamp": [day(2017, 1, 1), day(2017, 2, 1), day(2017, 3, 2)],
        },
        "demographics": {
            "household_id": [8], **{name: ["x"] for name in HOUSEHOLD}, "age": ["65+"],
        },
    }  # fmt: skip
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    return tmp_path


def test_campaigns_are_decisions_that_nobody_drew(till: Any, mailed: Path) -> None:
    """Who could have been mailed, who was, and nothing of how likely; a redemption is an outcome, at its first day."""
    report = run(till, open_source("complete-journey", mailed, None, SourceOptions(campaigns=True)))
    assert report.tables["decisions"].skipped == {"before-the-data": 1}
    found = rows(
        till, "SELECT customer_id, action_id, slot, policy, isnan(action_propensity) FROM decisions ORDER BY 1"
    )
    assert found == [
        ("7", "campaign-2", "campaign-2", "observational:Type B", True),
        ("8", None, "campaign-2", "observational:Type B", True),
    ]
    eligible, features = rows(till, "SELECT eligible, features FROM decisions ORDER BY customer_id")[1]
    assert orjson.loads(eligible) == [[None, None], ["campaign-2", None]]
    assert orjson.loads(features)["rows"][0][0] == "65+"
    redeemed = rows(till, 'SELECT decision_id, value, "at"::DATE FROM outcomes ORDER BY 1')
    assert redeemed == [("campaign-2/7", 1.0, datetime.date(2017, 3, 5)), ("campaign-2/8", 0.0, None)]
    (mailed / "campaigns.parquet").unlink()
    with pytest.raises(DataError, match="no such file"):
        open_source("complete-journey", mailed, None, SourceOptions(campaigns=True))


# the real files


HILLSTROM = Path(os.environ.get("KOKYAKU_DATA", "")) / "hillstrom" / "hillstrom.csv.gz"


@pytest.mark.skipif(not HILLSTROM.is_file(), reason="KOKYAKU_DATA/hillstrom/hillstrom.csv.gz is not there")
def test_the_real_hillstrom(till: Any) -> None:
    """64,000 people in three arms, with the published means."""
    options = SourceOptions(experiment=shipped_experiment("hillstrom"))
    run(till, open_source("experiment", HILLSTROM, None, options))
    means = rows(till, """SELECT arm, count(*), round(avg(value), 5) FROM decisions JOIN outcomes USING (decision_id)
                          WHERE reward = 'visit' GROUP BY arm ORDER BY arm""")  # fmt: skip
    assert means == [
        ("Mens E-Mail", 21_307, 0.18276), ("No E-Mail", 21_306, 0.10617), ("Womens E-Mail", 21_387, 0.1514),
    ]  # fmt: skip
