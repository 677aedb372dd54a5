"""Messages and audiences in batch, and what was really sent: by the command line, beside the service's own answers."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.dataset import Dataset
from features.errors import DataError
from features.moments import DAY, HOUR, format_instant
from serving.clock import Clock
from serving.effects import Blocked
from serving.erase import erase
from serving.policy_files import write_policy
from serving.sync import sync
from tests.test_serving.conftest import client, toy_engine, toy_shop  # noqa: F401
from tests.test_serving.grown import policy, records, stump
from training.cli import main
from training.sends import COLUMNS, take_sends

NOON = 20_000 * DAY + 12 * HOUR
WORDS = """[consent]
assumed = ["personalization", "marketing"]
basis = "they agreed"
[shop]
holdout = 0.0
[actions.tea]
kind = "offer"
texts = [{title = "Tea[ for {name}]", text = "Half the price", url = "/tea"}]
cool-down-days = 10
[actions.care]
kind = "guide"
texts = [{title = "How to care"}]
[channels.email]
actions = ["tea", "care"]
[channels.ads]
actions = ["tea"]
"""
PEOPLE = ("ann", "bob", "cat", "dan")


@pytest.fixture
def run(toy_shop, toy_engine, tmp_path, monkeypatch):  # noqa: F811
    return Shop(toy_shop, toy_engine, tmp_path, monkeypatch)


class Shop:
    """The toy shop at the command line, its clock set by hand; four customers, one of whom opted out."""

    def __init__(self, shop, engine, folder: Path, monkeypatch) -> None:
        self.shop, self.engine, self.folder, self.now = shop, engine, folder, NOON
        monkeypatch.setattr(Clock, "now", lambda clock: self.now)
        self.says(WORDS)
        for who in PEOPLE:
            engine.store.put_customer(
                who, {"name": who.title(), "attributes": {"email": f" {who.title()}@X.org "}}, NOON
            )
        engine.store.put_customer("dan", {"consents": {"marketing": {"granted": False}}}, NOON)

    def says(self, toml: str) -> None:
        self.shop.config.write_text(toml)
        self.engine.refresh()
        assert not self.engine.refusals

    def cli(self, *words: str, code: int | None = None) -> None:
        whole = [*words, "--shop", "toy", "--root", str(self.shop.root)]
        with pytest.raises(SystemExit) as ended:
            main(whole)
        assert ended.value.code == (code or 0)

    def batch(self, *words: str, out: str = "mails.csv") -> list[dict[str, str]]:
        target = self.folder / out
        self.cli("batch", "actions", "--channel", "email", "--out", str(target), *words)
        return rows(target)

    def sends(self, *lines: tuple[str, str, str, str]) -> Path:
        path = self.folder / "sent.csv"
        path.write_text("decision_id,customer_id,sent_at,status\n" + "".join(",".join(line) + "\n" for line in lines))
        return path


def rows(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_now_and_a_decision_for_everybody(run, client) -> None:  # noqa: F811
    """The rows are what HTTP answers, and every customer has a decision that outcomes can be joined to."""
    found = run.batch()
    assert [(each["customer_id"], each["action"], each["title"]) for each in found] == [
        ("ann", "tea", "Tea for Ann"), ("bob", "tea", "Tea for Bob"), ("cat", "tea", "Tea for Cat"),
    ]  # fmt: skip
    assert {(each["text"], each["url"]) for each in found} == {("Half the price", "/tea")}
    for each in found:
        answer = client.post("/v1/actions", content=orjson.dumps({"channel": "email", "userId": each["customer_id"]}))
        assert answer.json()["decisionId"] == each["decision_id"]
        assert (each["send_after"], each["send_before"]) == (format_instant(NOON), "2024-10-04T21:00:00Z")
    logged = {each["customer_id"]: each for each in records(run.engine)}
    assert set(logged) == set(PEOPLE) and logged["dan"]["vetoed"][0][1] == "no consent to marketing"
    sync(run.shop, now=NOON + DAY)
    known = Dataset(run.shop.dataset).read("decisions", ["decision_id"])["decision_id"].to_pylist()
    assert set(known) >= {each["decision_id"] for each in found}


def test_a_second_run_gives_the_same_rows_and_spends_nothing(run) -> None:
    """In Parquet too; and a run that broke off after two customers is taken up."""
    ids = run.folder / "ids.txt"
    ids.write_text("ann\nbob\n")
    first = run.batch("--customers", str(ids))
    run.now += HOUR
    whole = run.batch()
    assert [dict(each) for each in whole[:2]] == first
    again = run.batch("--format", "parquet", out="mails.parquet")
    assert again == whole
    assert [len(run.engine.store.tally_of(f"c:{who}", [], NOON).rows) for who in PEOPLE] == [1, 1, 1, 0]
    decided = [each for each in records(run.engine) if each["action_id"]]
    assert len(decided) == 3


def test_what_was_sent_counts_and_what_was_not_does_not(run) -> None:
    """ann's mail went out, bob's bounced, nobody heard of cat's: two days later only ann has to wait for tea."""
    by = {each["customer_id"]: each["decision_id"] for each in run.batch()}
    at = format_instant(NOON + HOUR)
    path = run.sends((by["ann"], "ann", at, "sent"), (by["bob"], "bob", at, "bounced"))
    run.now = NOON + 2 * DAY
    run.cli("import", "sends", "--path", str(path))
    run.cli("import", "sends", "--path", str(path))
    events = run.engine.store.events_of("ann", None)
    assert [(each.type, each.decision_id, each.occurred_at, each.channel) for each in events] == [
        ("sent", by["ann"], NOON + HOUR, "email")
    ]
    assert [each.type for each in run.engine.store.events_of("bob", None)] == ["bounce"]
    assert {each["customer_id"]: each["action"] for each in run.batch()} == {"ann": "care", "bob": "tea", "cat": "tea"}


def test_bad_rows_are_kept_with_their_reasons(run) -> None:
    by = {each["customer_id"]: each["decision_id"] for each in run.batch()}
    erase(run.shop, run.engine.store, "cat", now=NOON)
    at = format_instant(NOON)
    path = run.sends(
        ("", "ann", at, "sent"), (by["ann"], "bob", at, "sent"), ("nothing", "ann", at, "sent"),
        (by["ann"], "ann", "yesterday", "sent"), (by["ann"], "ann", at, "opened"), (by["ann"], "ann", "", "sent"),
        (by["ann"], "ann", format_instant(NOON + DAY), "sent"), (by["cat"], "cat", at, "sent"),
        (by["ann"], "ann", format_instant(NOON - 1), "sent"), (by["ann"], "ann", format_instant(NOON - HOUR), "sent"),
    )  # fmt: skip
    report = take_sends(run.shop, path, now=NOON)
    assert report.added == {"sent": 1} and report.read == 10
    assert report.reasons == {
        "missing-id": 1, "other-customer": 1, "unknown-decision": 1, "bad-time": 1, "bad-value": 1, "missing-time": 1,
        "future-time": 1, "erased": 1, "collision": 1,
    }  # fmt: skip
    kept = pq.read_table(report.quarantine).to_pylist()
    assert [(each["row"], each["reason"]) for each in kept if each["row"] < 4] == [
        (1, "missing-id"), (2, "other-customer"), (3, "unknown-decision")
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "what"), [
    ("none.csv", None, "no such file"), ("one.csv", "decision_id,sent_at\n", "no column customer_id"),
    ("two.parquet", "text", "not a table"),
    ("three.csv", ",".join((*COLUMNS, COLUMNS[0])) + "\n", f"2 columns {COLUMNS[0]}"),
])  # fmt: skip
def test_files_that_cannot_be_sends(run, name, text, what) -> None:
    if text is not None:
        (run.folder / name).write_text(text)
    with pytest.raises(DataError, match=what):
        take_sends(run.shop, run.folder / name, now=NOON)


@pytest.mark.parametrize(
    "sent_at", [pa.array([[1]]), pa.array([2**62], pa.timestamp("us")), pa.array([b"\xff"], pa.binary())]
)
def test_columns_that_are_no_times_are_said(run, sent_at) -> None:
    path = run.folder / "odd.parquet"
    pq.write_table(pa.table({**{name: ["x"] for name in COLUMNS}, "sent_at": sent_at}), path)
    with pytest.raises(DataError, match="texts and times"):
        take_sends(run.shop, path, now=NOON)


def test_times_finer_than_ours_are_taken(run) -> None:
    """As pandas writes them."""
    path = run.folder / "fine.parquet"
    at = pa.array([1_234_567_890_123_456_789], pa.timestamp("ns"))
    pq.write_table(pa.table({**{name: ["x"] for name in COLUMNS}, "status": ["sent"], "sent_at": at}), path)
    assert dict(take_sends(run.shop, path, now=NOON).reasons) == {"unknown-decision": 1}


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_audience_is_of_those_who_agreed_with_the_others_beside_it(run) -> None:
    """By e-mail: small letters, no blanks; who opted out is named by his id, since his address may not be read."""
    mail = {each["customer_id"]: each["decision_id"] for each in run.batch()}
    run.cli("import", "sends", "--path", str(run.sends((mail["bob"], "bob", format_instant(NOON), "sent"))))
    out = run.folder / "tea.csv"
    words = ("--hash-ids", "sha256", "--identifier", "email", "--out", str(out))
    run.now = NOON + 2 * DAY
    before = len(records(run.engine))
    run.cli("batch", "actions", "--channel", "ads", "--audience", "tea", *words)
    assert [each["identifier"] for each in rows(out)] == sorted([hashed("ann@x.org"), hashed("cat@x.org")])
    without = {each["identifier"]: each["reason"] for each in rows(run.folder / "tea-excluded.csv")}
    assert without == {hashed("bob@x.org"): "capped", hashed("dan"): "opted out"}
    assert len(records(run.engine)) == before, "nobody was contacted, so nothing is logged or spent"


def test_an_audience_leaves_out_whom_it_does_harm_and_the_holdout(run) -> None:
    harm = stump(0, 0.5, 1.0, -1.0)  # of no use to who is on no desktop: a batch knows no device
    write_policy(run.shop.policies, policy("mails", {"tea": 0.0}, trees={"tea": harm},
                                           blocks=(Blocked("tea", "net-value", high=0.0),)))  # fmt: skip
    run.says(WORDS.replace('actions = ["tea"]', 'actions = ["tea"]\npolicy = "mails"').replace("= 0.0", "= 0.5"))
    out = run.folder / "tea.parquet"
    run.cli("batch", "actions", "--channel", "ads", "--audience", "tea", "--out", str(out))
    reasons = {each["identifier"]: each["reason"] for each in rows(run.folder / "tea-excluded.parquet")}
    assert rows(out) == [] and set(reasons) == set(PEOPLE)
    assert reasons["dan"] == "opted out" and set(reasons.values()) <= {"opted out", "holdout", "no effect"}
    assert "no effect" in reasons.values()


def test_an_audience_of_an_item_is_of_those_who_may_want_it(run) -> None:
    from serving.events import StoredEvent

    event = StoredEvent(event_id="p", occurred_at=NOON - DAY, recorded_at=NOON - DAY, type="purchase",
                        customer_id="ann", item_id="b3")  # fmt: skip
    run.engine.store.append_sync([event])
    out = run.folder / "b3.csv"
    run.cli("batch", "actions", "--channel", "ads", "--audience", "b3", "--num", "1", "--out", str(out))
    assert [each["identifier"] for each in rows(out)] == ["ann"]


@pytest.mark.parametrize(("words", "error"), [
    (("--channel", "emial"), "emial"), (("--channel", "email", "--audience", "tee"), "tea"),
    (("--channel", "email", "--out", "mails.txt"), "neither .parquet nor .csv"),
    (("--channel", "email", "--out", "m.csv", "--format", "parquet"), "another format"),
])  # fmt: skip
def test_what_cannot_be_is_said(run, words, error, capsys, monkeypatch) -> None:
    monkeypatch.chdir(run.folder)
    run.cli("batch", "actions", *words, code=2)
    assert error in capsys.readouterr().err


def test_the_plain_batch_still_says_what_it_lacks(run, capsys) -> None:
    run.cli("batch", code=2)
    assert "--customers" in capsys.readouterr().err
