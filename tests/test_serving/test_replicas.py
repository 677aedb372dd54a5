"""Two replicas on one PostgreSQL, each with a folder of its own: one answer to one customer, nothing too often."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import orjson
import pytest

from features.errors import DataError
from features.moments import DAY
from features.shop import Shop
from serving import pages, wire
from serving import store_erasure as erasure
from serving import store_upkeep as upkeep
from serving.__main__ import main
from serving.clock import set_clock
from serving.decision_log import DecisionLog
from serving.engine import Engine
from serving.erase import COMPLETE, erase, erase_visitor, read_receipt
from serving.events import StoredEvent
from serving.histories import erased_subjects, folders
from serving.policy_files import write_policy
from serving.store import Store
from serving.sync import sync
from tests.test_serving.conftest import AS_OF
from tests.test_serving.grown import AGREED, policy, records
from tests.test_serving.running import Process, ask

FEW, PEOPLE = 7, 24
ANN, PHONE = "customer-annabel-7731", "visitor-phone-4471"
TOML = f"""{AGREED}
[shop]
holdout = 0.0
[actions.tea]
kind = "offer"
texts = [{{title = "Tea at half the price"}}]
capacity = {FEW}
[actions.care]
kind = "guide"
texts = [{{title = "How to care"}}]
[[pages.home.slots]]
name = "hero"
modules = ["tea", "care"]
[[pages.home.slots]]
name = "second"
modules = ["for-you", "popular"]
policy = "second"
"""


@pytest.fixture
def replica(toy_shop, postgres, tmp_path):
    """Makes shops that are alike, each in a folder of its own, with one store and one secret."""
    toy_shop.config.write_text(TOML)
    write_policy(toy_shop.policies, policy("second", {"for-you": 0.0, "popular": 0.0}, floor=0.4))
    set_clock(toy_shop, AS_OF)
    told = {"KOKYAKU_STORE": postgres.url, "KOKYAKU_SECRET_FILE": str(toy_shop.root / "secret.key")}

    def make(name: str) -> Shop:
        shutil.copytree(toy_shop.root, tmp_path / name)
        (tmp_path / name / "secret.key").unlink()
        return Shop.from_environment(postgres.shop_id(tmp_path), tmp_path / name, told)

    return make


@pytest.fixture
def engines(replica):
    opened = [Engine(replica(name), worker=name) for name in ("left", "right")]
    yield opened
    for engine in opened:
        engine.close()


def event(name: str, customer: str | None, visitor: str | None = None, kind: str = "purchase", at: int = AS_OF - DAY):
    return StoredEvent(event_id=name, occurred_at=at, recorded_at=at, type=kind, item_id="a1", customer_id=customer,
                       visitor_id=visitor)  # fmt: skip


def everywhere(engines, works):
    """What each engine gives, all at the same time."""
    start, found = threading.Barrier(len(engines)), {}

    def run(number, engine):
        start.wait()
        found[number] = works(engine)

    threads = [threading.Thread(target=run, args=each) for each in enumerate(engines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(engines))]


def test_one_customer_gets_one_answer_wherever_he_asks_and_a_limit_is_kept_exactly(engines):
    """Both replicas are asked for everybody at once: one draw each, and seven of what there are seven of."""

    def all_pages(engine):
        return [
            [slot["actionId"] for slot in pages.page(engine, wire.PageRequest(user_id=f"u{n}"), AS_OF)["slots"][:2]]
            for n in range(PEOPLE)
        ]

    left, right = everywhere(engines, all_pages)
    assert [each[1] for each in left] == [each[1] for each in right]
    assert len({each[1] for each in left}) > 1
    had = {n for each in (left, right) for n in range(PEOPLE) if each[n][0] == "tea"}
    assert len(had) == FEW == engines[0].store.tally_of(None, ["tea"], AS_OF).used["tea"].people
    rows = [each for engine in engines for each in records(engine) if each["slot"] == "second"]
    rows = list({each["decision_id"]: each for each in rows}.values())
    drawn = {each["decision_id"] for each in rows if each["drawn"]}
    assert Counter(each["customer_id"] for each in rows if each["drawn"]) == {f"u{n}": 1 for n in range(PEOPLE)}
    assert {each["reused_from"] for each in rows if not each["drawn"]} == drawn


def test_an_event_a_price_and_a_stop_of_one_are_seen_by_the_other(engines):
    left, right = engines
    left.store.append_sync([event("e1", "ann")])
    assert len(right.history_of(right.live, "ann", None)) == 1
    left.store.put_items([("a1", {"price": 99.0})], AS_OF)
    right.refresh()
    assert right.live.ranker.shelf.price_of(right.live.bundle.items.find("a1")) == 99.0


def test_after_the_receipt_no_replica_serves_the_erased(engines):
    """At once in answers; from the logs and histories on the other's disk as soon as its watch has been round."""
    left, right = engines
    left.store.append_sync([event("e1", ANN, PHONE, "sign_in"), event("e2", ANN), event("e3", "bob")])
    sync(left.shop, now=AS_OF)
    shutil.copytree(left.shop.histories, right.shop.histories)
    for engine in engines:
        engine.refresh()
        pages.page(engine, wire.PageRequest(user_id=ANN), AS_OF)
    assert not right.store.is_erased(ANN, None)
    receipt = erase(left.shop, left.store, ANN, now=AS_OF)
    assert receipt["state"] == "erased"
    assert right.store.is_erased(ANN, None) and right.store.is_erased(None, PHONE)
    assert right.store.append_sync([event("e4", ANN)]) == ["erased"]
    assert not right.store.events_of(ANN, None)
    pages.page(right, wire.PageRequest(user_id=ANN), AS_OF)
    right.refresh()
    for shop in (left.shop, right.shop):
        assert not any(erased_subjects(folder, left.store.erased()) for folder in folders(shop.histories))
        files = [path for path in shop.root.rglob("*") if path.is_file() and shop.dataset not in path.parents]
        assert not [path for path in files if ANN.encode() in path.read_bytes() or PHONE.encode() in path.read_bytes()]
    assert not [each for each in records(right) if ANN in str(each) or PHONE in str(each)]
    assert read_receipt(right.store, receipt["receiptId"])["state"] == "erased"
    sync(left.shop, now=AS_OF + 1)
    assert read_receipt(right.store, receipt["receiptId"])["state"] == COMPLETE


def test_an_erasure_by_one_races_requests_to_the_other(engines):
    """Whatever the other one does meanwhile: nothing of the person is there in the end."""
    left, right = engines
    stop = threading.Event()

    def ask_and_write():
        for number in range(10_000):
            if stop.is_set():
                return
            pages.page(right, wire.PageRequest(user_id="ann", visitor_id="phone"), AS_OF)
            right.store.append_sync([event(f"r{number}", "ann"), event(f"v{number}", None, "phone")])

    writer = threading.Thread(target=ask_and_write)
    writer.start()
    time.sleep(0.3)
    erase(left.shop, left.store, "ann", now=AS_OF)
    erase_visitor(left.shop, left.store, "phone", now=AS_OF)
    after = pages.page(right, wire.PageRequest(user_id="ann"), AS_OF)
    stop.set()
    writer.join()
    right.refresh()
    whose = {each.get("customer_id") for each in records(right)}
    assert all(who is None or erasure.is_token(who) for who in whose) and len(whose) > 1
    assert right.store.events_of("ann", None) == right.store.events_of(None, "phone") == []
    assert not right.store.held_of("ann", None) and after["slots"]


def test_one_sync_at_a_time_and_into_one_dataset(replica, monkeypatch, capsys):
    left, right = replica("left"), replica("right")
    store = Store.of(left)
    store.append_sync([event("e1", "ann")])
    with store.database.alone("sync", "busy"), pytest.raises(DataError, match="another sync of this shop is running"):
        sync(right, now=AS_OF)
    assert sync(left, now=AS_OF).counts["events"] == 1
    monkeypatch.setenv("KOKYAKU_STORE", str(left.store_url))
    monkeypatch.setenv("KOKYAKU_SECRET_FILE", str(left.secret_file))
    assert main(["--shop", right.id, "--root", str(right.root), "sync"]) == 2
    assert "the store goes into another dataset" in capsys.readouterr().err
    store.append_sync([event("e2", "ann")])
    assert sync(left, now=AS_OF + 1).counts["events"] == 1
    shutil.copytree(left.dataset, right.dataset)  # moved to the other machine
    assert sync(right, now=AS_OF + 2).counts == {}
    store.close()


def test_logs_of_both_are_drained_and_neither_forgets_how_far_the_other_is(replica):
    left, right = replica("left"), replica("right")
    store = Store.of(left)
    logs = [DecisionLog(shop.decision_logs, "1") for shop in (left, right)]
    for number, log in enumerate(logs):
        log.append([{"decision_id": f"d{number}", "decided_at": AS_OF}])
    from serving.decision_drain import drain

    assert [drain(shop.decision_logs, store).added for shop in (left, right)] == [1, 1]
    logs[0].close()
    assert drain(left.decision_logs, store).files_removed == 1
    (path,) = right.decision_logs.glob("*.log")
    assert upkeep.log_offset(store, path.name) == path.stat().st_size
    assert drain(right.decision_logs, store).read == 0
    logs[1].close()
    store.close()


def test_a_process_that_is_started_for_a_shop_opens_its_store_and_no_other(replica, monkeypatch):
    """A bench on a copy of a shop is started where the shop's own store is named."""
    from training.commands.serve import service_environment

    shop = replica("left")
    monkeypatch.setenv("KOKYAKU_STORE", str(shop.store_url))
    copy = Shop(shop.id, shop.root.with_name("copy"))
    for each in (shop, copy):
        told = service_environment(each, dev=True)
        assert Shop.from_environment(told["KOKYAKU_SHOP"], Path(told["KOKYAKU_ROOT"]), told) == each


def test_operators_commands_work_by_the_address(replica, monkeypatch, capsys):
    """What `kokyaku` and `python -m serving` do with a store they do with this one."""
    shop = replica("left")
    monkeypatch.setenv("KOKYAKU_STORE", str(shop.store_url))
    monkeypatch.setenv("KOKYAKU_SECRET_FILE", str(shop.secret_file))
    where = ["--shop", shop.id, "--root", str(shop.root)]
    store = Store.of(shop)
    store.append_sync([event("e1", "ann"), event("e2", "bob")])
    assert main([*where, "doctor"]) == 0
    told = capsys.readouterr().out
    assert "PostgreSQL" in told and "takes writes, 2 events so far" in told
    assert main([*where, "export", "ann"]) == 0
    assert "e1" in capsys.readouterr().out
    assert main([*where, "erase", "ann"]) == 0
    receipt = orjson.loads(capsys.readouterr().out)
    assert main([*where, "sync"]) == 0
    assert orjson.loads(capsys.readouterr().out)["counts"]["events"] == 1
    assert main([*where, "receipt", receipt["receiptId"]]) == 0
    assert orjson.loads(capsys.readouterr().out)["state"] == COMPLETE
    assert main([*where, "doctor"]) == 0
    assert not (shop.root / "store.db").exists() and not (shop.root / "secret.key").exists()
    store.close()


# --- two services -----------------------------------------------------------------------------------------------------


def page(service: Process, user: str) -> list[str]:
    for _ in range(20):  # on a busy machine a read may take longer than an event loop waits
        answer = ask(service.port, "/v1/pages", {"userId": user})[1]
        if "slots" in answer and not answer.get("degraded"):
            return [slot["actionId"] for slot in answer["slots"][:2]]
        time.sleep(0.2)
    raise AssertionError(answer)


def write(service: Process, name: str) -> tuple[int, str | None]:
    """The status of an event, and the header that says when to come again."""
    body = {"events": [{"eventId": name, "type": "purchase", "itemId": "b3", "userId": "ann"}]}
    request = urllib.request.Request(f"http://127.0.0.1:{service.port}/v1/events", orjson.dumps(body))
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


def test_two_services_are_one_and_outlive_their_database(replica, postgres, tmp_path):
    """Over HTTP: an event at one changes the other's answer; without the database they live, with it they go on."""
    shops = [replica("left"), replica("right")]
    environment = {"KOKYAKU_STORE": postgres.url, "KOKYAKU_SECRET_FILE": str(shops[0].secret_file)}
    with contextlib.ExitStack() as stack:
        left, right = (Process(shop, tmp_path / f"{shop.root.name}.log", **environment) for shop in shops)
        stack.callback(right.stop)
        stack.callback(left.stop)
        assert write(left, "e1") == (200, None)
        answer = ask(right.port, "/v1/recommendations", {"userId": "ann", "numResults": 1})[1]
        assert answer["itemList"][0]["itemId"] == "b3"
        seen = [(page(left, f"u{n}"), page(right, f"u{n}")) for n in range(8)]
        assert all(one[1] == other[1] for one, other in seen)
        postgres.kill()
        try:
            assert [write(each, "e2")[0] for each in (left, right)] == [503, 503]
            assert all(int(write(each, "e2")[1] or 0) >= 1 for each in (left, right))
            for path in ("/v1/recommendations", "/v1/pages"):
                status, answer = ask(left.port, path, {"userId": "ann"})
                assert status == 200 and answer["degraded"] and "the store cannot be read" in answer["reason"]
        finally:
            postgres.start()
        assert sorted(until_taken(each, "e2") for each in (left, right)) == [200, 200]
        assert page(left, "u1") == page(right, "u1")
        told = ask(left.port, "/v1/customers/erase", {"userId": "ann"})
        assert told[0] == 202
        assert ask(right.port, "/v1/customers/export", {"userId": "ann"})[0] == 404
    for name in ("left", "right"):
        assert "correct-horse" not in (tmp_path / f"{name}.log").read_text()


def until_taken(service: Process, name: str, seconds: float = 20.0) -> int:
    patience = time.monotonic() + seconds
    while time.monotonic() < patience:
        status, _ = write(service, name)
        if status == 200:
            return status
        time.sleep(0.1)
    raise AssertionError(Path(service.log).read_text()[-2000:])
