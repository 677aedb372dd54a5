"""The commands that write files, for a shop whose store is a PostgreSQL: what the store says counts in them too."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from features.moments import DAY, HOUR, format_instant
from features.shop import Shop
from serving.clock import set_clock
from serving.engine import Engine
from serving.store import Store
from training.cli import main
from training.commands.common import open_shop
from training.sends import take_sends

pytest.importorskip("psycopg", reason="the driver is not installed (pip install kokyaku[postgres])")
from tests.test_serving.conftest import ITEMS, postgres, toy_shop  # noqa: F401
from tests.test_serving.grown import records

NOON = 20_000 * DAY + 12 * HOUR
CROWD = 257
"""One more than are decided at once: nobody of them may be left out because the others take time."""
WORDS = """[consent]
assumed = ["personalization", "marketing"]
basis = "they agreed"
[shop]
holdout = 0.0
[actions.tea]
kind = "offer"
texts = [{title = "Tea"}]
cool-down-days = 10
[actions.care]
kind = "guide"
texts = [{title = "How to care"}]
[channels.email]
actions = ["tea", "care"]
"""


@pytest.fixture
def shop(postgres, toy_shop, monkeypatch) -> Shop:  # noqa: F811
    """The toy shop, as every command finds it where `KOKYAKU_STORE` names the server."""
    toy_shop.config.write_text(WORDS)
    set_clock(toy_shop, NOON)
    monkeypatch.setenv("KOKYAKU_STORE", postgres.url)
    return replace(toy_shop, id=postgres.shop_id(toy_shop.root), store_url=postgres.url)


@pytest.fixture
def store(shop):
    opened = Store.of(shop)
    yield opened
    opened.close()


def cli(shop: Shop, *words: str) -> None:
    """A command that ends well and leaves no second store behind."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--shop", shop.id, "--root", str(shop.root)])
    assert not ended.value.code
    assert not shop.store.exists()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mailed(shop: Shop, out: Path, *words: str) -> list[dict[str, str]]:
    cli(shop, "batch", "actions", "--channel", "email", "--out", str(out), *words)
    return rows(out)


def test_messages_are_decided_once_and_what_was_sent_counts(shop, store, tmp_path) -> None:
    """A second run spends nothing; of what the mail tool reports each row is taken once, and keeps tea away."""
    people = [f"u{number:03}" for number in range(CROWD)]
    for who in people:
        store.put_customer(who, {"name": who}, NOON)
    store.put_customer("u007", {"consents": {"marketing": {"granted": False}}}, NOON)
    first = mailed(shop, tmp_path / "mails.csv")
    assert [row["customer_id"] for row in first] == [who for who in people if who != "u007"]
    assert {row["action"] for row in first} == {"tea"}
    (tmp_path / "ids.txt").write_text("u001\nu002\nu003\n")
    few = ("--customers", str(tmp_path / "ids.txt"))
    assert mailed(shop, tmp_path / "again.csv", *few) == first[1:4]
    assert len(store.tally_of("c:u001", [], NOON).rows) == 1
    by = {row["customer_id"]: row["decision_id"] for row in first}
    at = format_instant(NOON + HOUR)
    sent = tmp_path / "sent.csv"
    lines = (f"{by['u001']},u001,{at},sent", f"{by['u002']},u002,{at},bounced", f"nothing,u003,{at},sent")
    sent.write_text("\n".join(("decision_id,customer_id,sent_at,status", *lines)))
    shop.clock.unlink()
    set_clock(shop, NOON + 2 * DAY)
    cli(shop, "import", "sends", "--path", str(sent))
    report = take_sends(open_shop(shop.id, shop.root), sent, now=NOON + 2 * DAY)
    assert (report.read, report.added, report.already_there) == (3, {}, 2)
    assert report.reasons == {"unknown-decision": 1}
    assert [(each.type, each.decision_id) for each in store.events_of("u001", None)] == [("sent", by["u001"])]
    later = {row["customer_id"]: row["action"] for row in mailed(shop, tmp_path / "later.csv", *few)}
    assert later == {"u001": "care", "u002": "tea", "u003": "tea"}
    with_log = Engine(shop, worker=None)
    assert {row["customer_id"] for row in records(with_log)} == set(people)
    with_log.close()


def test_recommendations_know_what_the_service_was_told(shop, store, make_dataset, tmp_path) -> None:
    """A withdrawn item, a refusal and an erasure since the last sync."""
    bought = [{"customer_id": who, "item_id": "a1", "at": format_instant(NOON - DAY)} for who in ("ann", "bob", "cat")]
    make_dataset(shop.dataset, events=bought, items=[{"item_id": item} for item in ITEMS])
    ids, out = tmp_path / "ids.txt", tmp_path / "lists.csv"
    ids.write_text("ann\nbob\ncat\n")

    def lists() -> dict[str, list[str]]:
        cli(shop, "batch", "--customers", str(ids), "--num", "4", "--out", str(out))
        found: dict[str, list[str]] = {}
        for row in rows(out):
            found.setdefault(row["customer_id"], []).append(row["item_id"])
        return found

    before = lists()
    assert before["ann"] == before["bob"] == before["cat"] and before["ann"][0] == "a1"
    store.put_items([("a2", {"withdraw": True})], NOON)
    store.put_customer("bob", {"consents": {"personalization": {"granted": False}}}, NOON)
    cli(shop, "erase", "cat")
    after = lists()
    assert "a2" in before["ann"] and "a2" not in after["ann"] and after["ann"][0] == "a1"
    assert after["bob"] == after["cat"] != after["ann"]
