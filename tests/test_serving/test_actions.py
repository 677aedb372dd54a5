"""The next best action on a channel: consent first, drawn like a slot, one answer with the page of its family."""

from __future__ import annotations

import orjson
import pytest

from features.dataset import Dataset
from features.errors import ConfigError, Unavailable
from features.moments import DAY, parse_instant
from serving.config import load_config
from serving.drawing import FAILED, UNKEPT
from serving.policy_files import open_policies, write_policy
from serving.sync import sync
from tests.test_serving.grown import policy
from tests.test_serving.test_policy_pages import records
from training.uplift.reading import read_log

TOML = """[consent]
assumed = ["personalization"]
basis = "they agreed"
[quiet]
from = 00:00:00
until = 00:00:00
[shop]
holdout = 0.0
[channels.email]
actions = ["mens", "womens"]
policy = "mails"
family = "mail"
epoch-days = 7
[channels.app]
actions = ["mens", "womens"]
policy = "mails"
family = "mail"
epoch-days = 7
"""


@pytest.fixture
def engine(toy_shop, toy_engine):
    write_policy(toy_shop.policies, policy("mails", {"mens": 0.0, "womens": 0.0}, floor=0.3))
    toy_shop.config.write_text(TOML)
    assert toy_engine.refresh() and not toy_engine.refusals
    return toy_engine


def ask(client, status: int = 200, **body):
    answer = client.post("/v1/actions", content=orjson.dumps({"channel": "email", **body}))
    assert answer.status_code == status, answer.text
    return answer.json()


def test_what_is_answered_is_what_is_logged_and_what_training_reads(engine, client) -> None:
    """Null is an answer, until the epoch ends; the other channel of the family says the same and draws nothing."""
    answers = [ask(client, userId=f"u{n}", consent=True) for n in range(60)]
    rows = {each["decision_id"]: each for each in records(engine)}
    ends = {each["until"] for each in answers if each["actionId"] is None}
    (until,) = ends
    now = engine.clock.now()
    assert now < parse_instant(until) <= now + 7 * DAY
    assert {each["actionId"] for each in answers} == {None, "mens", "womens"}
    for each in answers:
        row = rows[each["decisionId"]]
        assert each["decision"] == ("wait" if each["actionId"] is None else "now")
        assert (row["action_id"], row["surface"], row["drawn"]) == (each["actionId"], "email", True)
        assert dict(map(tuple, row["eligible"]))[row["action_id"]] == row["action_propensity"]
    for n, each in enumerate(answers):
        again = ask(client, channel="app", userId=f"u{n}", consent=True)
        assert again["actionId"] == each["actionId"]
    assert all(not each["drawn"] and each["reused_from"] in rows
               for each in records(engine) if each["surface"] == "app")  # fmt: skip
    sync(engine.shop, now=now + DAY)
    log = read_log(Dataset(engine.shop.dataset), surface="email")
    assert log.usable.all() and log.drawn.all() and len(log) == 60
    assert log.actions == (None, "mens", "womens")


def test_without_consent_nothing_is_read_and_nothing_sent(engine, client, monkeypatch) -> None:
    """Told no, told nothing, told by the shop before; a visitor of whom nobody said anything."""
    engine.store.put_customer("yes", {"consents": {"marketing": {"granted": True}}}, 1)
    engine.store.put_customer("no", {"consents": {"marketing": {"granted": False}}}, 1)
    engine.store.put_customer("odd", {"consents": "all"}, 1)
    assert ask(client, userId="yes")["decision"] != "never"
    with monkeypatch.context() as patched:
        patched.setattr(type(engine), "history_of", lambda *given: pytest.fail("a personal column was read"))
        for who in ({"userId": "no"}, {"userId": "odd"}, {"userId": "new"}, {"userId": "yes", "consent": False},
                    {"userId": "no", "consent": True}, {"visitorId": "v"}):  # fmt: skip
            answer = ask(client, **who)
            assert (answer["decision"], answer["actionId"]) == ("never", None)
            unknown = ["nobody is known who could be written to"] if "visitorId" in who else []
            assert answer["reasons"] == [*unknown, "no consent to marketing"]
    silent = [each for each in records(engine) if each["vetoed"]]
    assert len(silent) == 6 and not any(each["drawn"] or each["features"] for each in silent)


def test_the_holdout_is_never_asked(engine, client, toy_shop) -> None:
    toy_shop.config.write_text(TOML.replace("holdout = 0.0", "holdout = 0.5"))
    engine.refresh()
    answers = [ask(client, userId=f"u{n}", consent=True) for n in range(40)]
    held = [each for each in answers if each["decision"] == "never"]
    assert 8 < len(held) < 32 and all(each["reasons"] == ["holdout"] for each in held)
    rows = {each["decision_id"]: each for each in records(engine)}
    assert all(rows[each["decisionId"]]["holdout"] for each in held)
    for n, before in enumerate(answers):
        refused = ask(client, userId=f"u{n}", consent=False)
        row = next(each for each in records(engine) if each["decision_id"] == refused["decisionId"])
        assert refused["reasons"] == ["no consent to marketing"]
        assert row["holdout"] == (before in held), "who stands in the holdout does so without consent too"


def test_what_fails_sends_nothing(engine, client, monkeypatch) -> None:
    """A policy that fails, a store that refuses."""

    async def refuses(wanted):
        raise Unavailable("the store cannot do this now")

    broken = [(engine.live.policies["mails"], "score", lambda told: 1 / 0, FAILED),
              (engine.store, "keep", refuses, UNKEPT)]  # fmt: skip
    for what, name, instead, why in broken:
        with monkeypatch.context() as patched:
            patched.setattr(what, name, instead)
            answers = [ask(client, userId=f"u{n}", consent=True) for n in range(8)]
        assert {(each["decision"], each["actionId"], each["reasons"][0]) for each in answers} == {("wait", None, why)}
    assert all(each["fallback"] and not each["drawn"] for each in records(engine))


@pytest.mark.parametrize(("body", "field"), [
    ({"channel": "emial", "userId": "a"}, "channel"),
    ({"consent": True}, "userId"),
    ({"userId": "a", "consent": "yes"}, "consent"),
    ({"userId": "a", "purpose": "x"}, "purpose"),
])  # fmt: skip
def test_bad_requests_name_the_field(engine, client, body, field) -> None:
    assert ask(client, 400, **body)["error"]["field"] == field


def test_a_channels_policy_must_be_there(toy_shop) -> None:
    toy_shop.config.write_text(TOML)
    with pytest.raises(ConfigError, match=r"channels\.email"):
        open_policies(toy_shop.policies, load_config(toy_shop.config))
    write_policy(toy_shop.policies, policy("mails", {"kids": 0.0}))
    with pytest.raises(ConfigError, match="it knows: kids"):
        open_policies(toy_shop.policies, load_config(toy_shop.config))


def test_a_policy_that_is_never_silent_is_none_for_a_channel(toy_shop) -> None:
    """On a channel nothing is always possible; a policy of a slot that is never empty would always send."""
    toy_shop.config.write_text(TOML)
    write_policy(toy_shop.policies, policy("mails", {"mens": -1.0, "womens": -1.0}, nothing=False))
    with pytest.raises(ConfigError, match=r"channels\.(app|email).*never"):
        open_policies(toy_shop.policies, load_config(toy_shop.config))
