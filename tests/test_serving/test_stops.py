"""What is stopped is off everywhere with the next look of every worker, and back when the stop is lifted."""

from __future__ import annotations

import threading

import orjson
import pytest

from features.errors import NotFoundError, RequestError
from features.moments import DAY, HOUR
from serving import pages, pipeline, wire
from serving.actions import next_action
from serving.artifact import publish_live
from serving.bundle import write_bundle
from serving.engine import Engine
from serving.events import StoredEvent
from serving.intake_stops import lift_in, stop_in, stops_of, take_stops
from serving.keeping import at_once
from serving.policy_files import write_policy
from serving.settings.pages import Page, Slot
from serving.steps import finished
from serving.stops import NO_STOPS, add_stop, all_stops, lift_stop, read_stops
from serving.wire import StopIn, StopsRequest
from tests.test_serving.conftest import AS_OF, build_toy_bundle
from tests.test_serving.grown import AGREED, policy
from training.cli import main

TOML = (
    AGREED
    + """
[shop]
holdout = 0.0
[actions.sale]
kind = "content"
texts = [{title = "Sale"}]
[pages.home]
slots = [
  {name = "top", modules = ["sale", "popular"]},
  {name = "drawn", modules = ["for-you", "buy-again", "popular"], policy = "hero"},
]
[experiments.trial.arms.control]
share = 0.5
[experiments.trial.arms.other]
share = 0.5
slots.top = {modules = ["popular"]}
[channels.email]
actions = ["sale", "letter"]
policy = "letters"
purpose = "personalization"
"""
)


@pytest.fixture
def two(toy_shop):
    """Two workers on one store."""
    write_policy(toy_shop.policies, policy("hero", {"popular": 1.0, "for-you": 0.5}))
    write_policy(toy_shop.policies, policy("letters", {"sale": 1.0, "letter": 0.5}))
    toy_shop.config.write_text(TOML)
    opened = Engine(toy_shop, worker="one"), Engine(toy_shop, worker="two")
    yield opened
    for each in opened:
        each.close()


def stop(engine: Engine, kind: str, name: str) -> int:
    request = StopsRequest(add=StopIn(kind=kind, name=name, because="wrong price"), by="ann")
    return int(take_stops(engine, request, AS_OF)["stop"]["number"])


def seen(engine: Engine, user: str = "bob") -> dict[str, list[str]]:
    """What each call shows."""
    page = pages.page(engine, wire.PageRequest(user_id=user), AS_OF)
    lists = pipeline.recommend(engine, wire.RecommendationsRequest(user_id=user), AS_OF)
    near = finished(pipeline.related(engine, wire.RelatedRequest(item_ids=("a1",)), AS_OF))
    ranked = finished(pipeline.rank_list(engine, wire.RankingsRequest(user_id=user, input_list=("a0", "b0")), AS_OF))
    sent = at_once(
        next_action(engine, wire.ActionRequest(channel="email", user_id=user), AS_OF, engine.store.keep_at_once)
    )
    return {
        "page": [item["itemId"] for slot in page["slots"] for item in slot["items"]],
        "list": [item["itemId"] for item in lists["itemList"]],
        "related": [item["itemId"] for item in near["itemList"]],
        "ranking": [item["itemId"] for item in ranked["personalizedRanking"]],
        "actions": [slot["actionId"] for slot in page["slots"]],
        "vetoed": sorted(each["actionId"] for each in sent["vetoed"]),
        "sent": [sent["actionId"]],
    }


def test_a_stopped_item_is_nowhere_in_any_worker_after_one_look(two) -> None:
    one, other = two
    before = seen(other)
    assert all("a0" in before[call] for call in ("page", "list", "related", "ranking"))
    number = stop(one, "item", "a0")
    assert not any("a0" in seen(one)[call] for call in ("page", "list", "related", "ranking")), "at once where it came"
    assert other.refresh()
    after = seen(other)
    assert not any("a0" in after[call] for call in ("page", "list", "related", "ranking"))
    assert len(after["list"]) == len(before["list"]) - 1, "nothing else is gone"
    asked = wire.RankingsRequest(user_id="bob", input_list=("a0", "b0", "x"))
    ranked = finished(pipeline.rank_list(other, asked, AS_OF))
    assert (ranked["stoppedIds"], ranked["missingIds"]) == (["a0"], ["x"])
    at = AS_OF - DAY
    bought = StoredEvent(event_id="e", occurred_at=at, recorded_at=at, type="purchase", customer_id="ann", item_id="a1")
    one.store.append_sync([bought])
    explained = pipeline.recommend(other, wire.RecommendationsRequest(user_id="ann", explain=True), AS_OF)
    assert {"reason": "stopped", "count": 1, "itemIds": ["a0"]} in explained["explain"]["removed"]
    take_stops(one, StopsRequest(lift=number, by="bea"), AS_OF + 1)
    other.refresh()
    assert seen(other)["list"] == before["list"]
    assert not other.refresh(), "nothing changed since"


def test_a_stop_outlives_a_new_bundle_and_a_restart(two, toy_shop) -> None:
    one, other = two
    stop(one, "item", "a0")
    other.refresh()
    write_bundle(toy_shop.bundles / "toy-2", build_toy_bundle("toy-2"))
    publish_live(toy_shop.bundles, "toy-2")
    other.refresh()
    assert other.live.bundle.id == "toy-2"
    assert "a0" not in seen(other)["list"]
    again = Engine(toy_shop, worker="three")
    assert "a0" not in seen(again)["list"]
    again.close()


def test_a_stopped_action_is_vetoed_with_its_reason_also_where_it_was_drawn(two) -> None:
    one, other = two
    drawn = seen(other)["actions"][1]
    assert drawn in ("popular", "for-you"), "it holds for the day"
    stop(one, "module", drawn)
    stop(one, "action", "sale")
    other.refresh()
    after = seen(other)
    assert drawn not in after["actions"]
    assert "sale" not in after["actions"]
    assert "sale" in after["vetoed"]
    page = pages.page(other, wire.PageRequest(user_id="bob", explain=True), AS_OF)
    assert {"actionId": "sale", "reason": "stopped: wrong price"} in page["explain"]["unfit"]


def test_a_stopped_campaign_is_experiment_policy_and_channel(two) -> None:
    one, other = two
    people = [f"p{n}" for n in range(8)]
    tops = {seen(other, user)["actions"][0] for user in people}
    assert tops == {"sale", "popular"}, "both arms"
    stop(one, "campaign", "trial")
    stop(one, "campaign", "hero")
    stop(one, "campaign", "email")
    other.refresh()
    for user in people:
        after = seen(other, user)
        assert after["actions"][0] == "sale", "nobody gets an arm"
        assert after["sent"] == [None]
        assert after["vetoed"] == ["letter", "sale"]
    page = pages.page(other, wire.PageRequest(user_id="p0"), AS_OF)
    assert page["slots"][1]["actionId"] == "popular", "the first that can be filled"
    slot = Slot("s", ("for-you",), policy="hero")
    arranged = other.live.stops.arranged(Page((slot, Slot("t", ("for-you",), policy="else"))))
    assert arranged.slots == (Slot("s", ("for-you", "popular")), Slot("t", ("for-you",), policy="else"))


def test_a_stopped_sequence_sends_none_of_its_steps(toy_shop) -> None:
    """Not even as what it would be without a sequence; the other actions of the channel go on."""
    toy_shop.config.write_text(TOML.replace('policy = "letters"\n', "").replace(', policy = "hero"', "") + """
[sequences.welcome]
trigger = "delivered"
steps = [{action = "sale", channel = "email", delay-days = 1}]
""")  # fmt: skip
    engine = Engine(toy_shop, worker="one")
    before = {each["actionId"]: each["reason"] for each in sent(engine, "bob")["vetoed"]}
    assert before == {"sale": "no step of its sequence is to come"}
    stop(engine, "campaign", "welcome")
    after = sent(engine, "bob")
    assert {each["actionId"]: each["reason"] for each in after["vetoed"]} == {"sale": "its sequence is stopped"}
    assert after["actionId"] == "letter"
    engine.close()


def sent(engine: Engine, user: str) -> dict:
    """What the channel answers at noon, when nobody sleeps."""
    mail = wire.ActionRequest(channel="email", user_id=user)
    return at_once(next_action(engine, mail, AS_OF + 12 * HOUR, engine.store.keep_at_once))


def test_what_is_not_there_cannot_be_stopped(two) -> None:
    one, _ = two
    for kind, name, hint in (
        ("item", "a9", "look up"), ("action", "sael", 'did you mean "sale"'), ("campaign", "trail", 'mean "trial"'),
        ("module", "sale", "valid names"),
    ):  # fmt: skip
        with pytest.raises(RequestError, match=hint):
            stop(one, kind, name)
    with pytest.raises(RequestError, match="one at a time"):
        add = StopIn(kind="item", name="a0", because="x")
        take_stops(one, StopsRequest(add=add, lift=1), AS_OF)
    with pytest.raises(RequestError, match="what, why and by whom"):
        add_stop(one.store, "item", "a0", because=" ", who="ann", now=AS_OF)
    assert read_stops(one.store) == NO_STOPS


def test_stops_remember_who_when_and_why(two) -> None:
    store = two[0].store
    first = add_stop(store, "item", "a0", because="recall", who="ann", now=5)
    assert add_stop(store, "item", "a0", because="again", who="bob", now=6) == first, "it is stopped already"
    lifted = lift_stop(store, first.number, who="bea", now=7)
    assert (lifted.who, lifted.at, lifted.because) == ("ann", 5, "recall")
    assert (lifted.lifted_by, lifted.lifted_at) == ("bea", 7)
    with pytest.raises(NotFoundError, match="already"):
        lift_stop(store, first.number, who="bea", now=8)
    with pytest.raises(NotFoundError, match="list the stops"):
        lift_stop(store, 99, who="bea", now=8)
    for beyond in (1 << 63, -1):
        with pytest.raises(NotFoundError):
            lift_stop(store, beyond, who="bea", now=8)
    second = add_stop(store, "item", "a0", because="again", who="bob", now=9)
    assert [stop.number for stop in all_stops(store)] == [second.number, first.number]


def test_over_http(client) -> None:
    add = {"kind": "item", "name": "a0", "because": "<b>recall</b>"}
    answer = client.post("/v1/stops", content=orjson.dumps({"add": add, "by": "ann"})).json()
    assert answer["stop"]["by"] == "ann"
    assert answer["stop"]["at"].endswith("Z")
    listed = client.post("/v1/recommendations", content=b'{"userId": "x"}').json()["itemList"]
    assert "a0" not in [item["itemId"] for item in listed]
    assert client.post("/v1/stops", content=b"{}").json()["stops"] == [answer["stop"]]
    number = answer["stop"]["number"]
    assert client.post("/v1/stops", content=orjson.dumps({"lift": number})).json()["stops"] == []
    assert client.post("/v1/stops", content=orjson.dumps({"lift": number})).status_code == 404


def test_beside_a_running_service(two, toy_shop) -> None:
    """What the command line stops is taken up by the next look of a worker."""
    one, _ = two
    made = stop_in(toy_shop, "item", "a0", because="recall", who="ann")
    assert "a0" in seen(one)["list"]
    one.refresh()
    assert "a0" not in seen(one)["list"]
    assert [each.number for each in stops_of(toy_shop)] == [made.number]
    lift_in(toy_shop, made.number, who="ann")
    assert stops_of(toy_shop) == []
    assert len(stops_of(toy_shop, lifted=True)) == 1
    one.store.put_items([("new", {"title": "New"})], AS_OF)
    assert stop_in(toy_shop, "item", "new", because="x", who="y").name == "new"


def test_the_command_line(toy_shop, capsys) -> None:
    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["stop", *words, "--shop", "toy", "--root", str(toy_shop.root)])
        told = capsys.readouterr()
        assert (ended.value.code or 0) == (2 if told.err else 0)
        return " ".join((told.out + told.err).split())

    assert "Stop 1: item a0." in run("item", "a0", "--because", "recall [bold]", "--by", "ann")
    assert "1 item a0: recall [bold] (ann, " in run("list")
    assert 'did you mean "for-you"?' in run("action", "for-yuo", "--because", "x")
    assert "Lifted: item a0." in run("lift", "1")
    assert "Nothing is stopped." in run("list")
    assert "lifted" in run("list", "--all")


def test_a_stop_does_not_wait_for_a_bundle_that_is_being_opened(two) -> None:
    """That takes a second or two beside requests, and the answer to a stop says that it is in force."""
    one, _ = two
    with one._reloading:  # as long as a refresh runs
        asked = threading.Thread(target=stop, args=(one, "item", "a0"), daemon=True)
        asked.start()
        asked.join(20)
        assert not asked.is_alive()
        assert "a0" not in seen(one)["list"]
