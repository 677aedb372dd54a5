"""The whole walk: simulated events -> train -> promote -> HTTP -> event -> changed answer -> sync -> train on what was
served -> erase -> gone."""

from __future__ import annotations

import orjson
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from features.build import histories_as_of
from features.dataset import Dataset
from features.history import customer_subject
from features.moments import DAY
from features.shop import Shop
from serving.access import Access
from serving.artifact import live_name
from serving.clock import set_clock
from serving.engine import Engine
from serving.http import routes
from serving.sync import sync
from tests.test_serving.grown import AGREED
from training.demo import last_event
from training.session import TrainOptions
from training.simulation import simulate
from training.train import train


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    """A simulated shop with nobody in the holdout, trained and promoted once."""
    shop = Shop("walk", tmp_path_factory.mktemp("walk") / "shop")
    simulate(shop.dataset, size="tiny", seed=5)
    shop.config.write_text(AGREED + "[shop]\nholdout = 0.0\n")
    set_clock(shop, last_event(Dataset(shop.dataset)) + DAY)
    outcome = train(shop, TrainOptions())
    assert outcome.promoted
    return shop


def test_the_walk(shop):
    dataset = Dataset(shop.dataset)
    clock = set_clock(shop, 0)
    sync(shop, now=clock.now())
    bundle = live_name(shop.bundles)
    engine = Engine(shop, worker="walk")
    app = Starlette(routes=routes(lambda: engine, Access(dev=True)))
    with TestClient(app, base_url="http://127.0.0.1") as client:

        def post(path: str, body: object):
            answer = client.post(path, content=orjson.dumps(body))
            assert answer.status_code < 300, answer.text
            return answer.json()

        # somebody with a past, and an item that this customer never touched
        counts = engine.live.histories.offsets[1:] - engine.live.histories.offsets[:-1]
        known = [row for row, name in enumerate(engine.live.histories.subjects) if name.startswith("c:")]
        customer = engine.live.histories.subjects[max(known, key=lambda row: counts[row])][2:]
        touched = set(engine.history_of(engine.live, customer, None).item.tolist())
        listed = [row for row, ok in enumerate(engine.live.bundle.catalogue) if ok and row not in touched]
        item = engine.live.bundle.items[listed[0]]

        ask = {"userId": customer, "numResults": 20}
        before = post("/v1/recommendations", ask)
        assert before["bundleId"] == bundle
        assert len(before["itemList"]) == 20
        events = [
            {
                "eventId": f"walk-{n}",
                "type": "purchase",
                "itemId": item,
                "userId": customer,
                "quantity": 1,
                "unitPrice": 2,
            }
            for n in range(3)
        ]
        assert post("/v1/events", {"events": events})["accepted"] == 3
        after = post("/v1/recommendations", ask)
        assert [entry["itemId"] for entry in after["itemList"]] != [entry["itemId"] for entry in before["itemList"]]
        page = post("/v1/pages", {"page": "home", "userId": customer})
        assert item in [shown["itemId"] for slot in page["slots"] for shown in slot["items"]]

        # what was served and what happened become data
        engine.decisions.close()
        report = sync(shop, now=engine.clock.now())
        assert report.import_id is not None
        decisions = dataset.read("decisions", ["decision_id", "bundle_id"]).to_pydict()
        assert {before["decisionId"], after["decisionId"]} <= set(decisions["decision_id"])
        histories = histories_as_of(dataset)
        past = histories.of(customer_subject(customer))
        assert (past.item == histories.items.row(item)).sum() == 3
        assert sync(shop, now=engine.clock.now()).import_id is None, "a second sync finds nothing new"

        # train again on what was served; the gate judges, and whatever it says something serves
        again = train(shop, TrainOptions())
        assert again.verdict.table
        engine.refresh()
        assert len(post("/v1/recommendations", ask)["itemList"]) == 20

        # erase
        receipt = post("/v1/customers/erase", {"userId": customer})
        assert post("/v1/customers/read", {"userId": customer})["known"] is False
        stranger = post("/v1/recommendations", {"userId": "nobody-ever", "numResults": 20})["itemList"]
        forgotten = post("/v1/recommendations", ask)["itemList"]
        assert [entry["itemId"] for entry in forgotten] == [entry["itemId"] for entry in stranger]
        engine.decisions.close()
        sync(shop, now=engine.clock.now())
        assert post("/v1/receipts/read", {"receiptId": receipt["receiptId"]})["state"] == "complete"
    engine.close()
    for table in ("events", "customers", "orders", "identities", "decisions"):
        assert customer not in dataset.read(table, ["customer_id"])["customer_id"].to_pylist(), table
    assert histories_as_of(dataset).subjects.find(customer_subject(customer)) is None
