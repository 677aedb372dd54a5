"""The serving pipeline replayed: the log again from the same shop, other policies by hand, refusals, the command."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from dataclasses import replace
from functools import lru_cache

import msgspec
import numpy as np
import pytest
from rich.console import Console

from features.dataset import Dataset
from features.errors import DataError, NotFoundError
from features.history import FIELDS
from features.moments import HOUR, MINUTE
from features.shop import Shop
from features.text import event_key
from serving.bundle import write_bundle
from serving.config import ShopConfig, load_config
from serving.effects import Blocked, SlotPolicy
from serving.engine import Engine
from serving.events import StoredEvent
from serving.policies import probabilities
from serving.policy_files import open_policy, write_policy
from serving.sync import sync
from tests.test_offpolicy.walking import LATER, PEOPLE, ROUNDS, START, TOML, walked
from tests.test_serving.conftest import ITEMS, build_toy_bundle
from tests.test_serving.grown import policy
from tests.test_uplift.drawn import dataset
from training.cli import main
from training.offpolicy.agreement import checked
from training.offpolicy.pages import read_requests
from training.offpolicy.pasts import Pasts, read_pasts
from training.offpolicy.pipeline import Other, Target, by_decision, pipeline_target
from training.offpolicy.rebuilding import Answer
from training.offpolicy.refusal import Refusal
from training.offpolicy.replay import Settings, replay
from training.offpolicy.targets import policy_of
from training.uplift.log import DecisionLog
from training.uplift.reading import read_log

PLAIN = Settings(model=None)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    """Walked once, and read only."""
    return walked(tmp_path_factory.mktemp("walk"))


@pytest.fixture(scope="module")
def log(shop) -> DecisionLog:
    """All its pages."""
    return read_log(Dataset(shop.dataset), surface="page.home", rewards=("click",))


@pytest.fixture(scope="module")
def few(log) -> DecisionLog:
    """The last pages: enough for a reason."""
    return log.take(log.decided_at >= np.quantile(log.decided_at, 0.88))


@pytest.fixture
def other(tmp_path):
    """`other(("old", "new"), ...)`: the shop's file with some words replaced."""

    def made(*pairs: tuple[str, str]) -> ShopConfig:
        text = TOML
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "other.toml"
        file.write_text(text)
        return load_config(file)

    return made


def target_of(shop: Shop, log: DecisionLog, config: ShopConfig | None = None, **more: object) -> Target:
    return pipeline_target(log, shop, load_config(shop.config), Other(config, **more))  # type: ignore[arg-type]


def codes(target: Target) -> list[str]:
    """Why the pipeline is refused, by everything that may refuse it."""
    found = replay(target.log, target.policy, "click", settings=PLAIN, reasons=target.reasons)
    answer = found.estimates["ips"].value
    return list(answer.codes) if isinstance(answer, Refusal) else []


def test_the_same_shop_gives_its_log_again(shop, log, other) -> None:
    """All probabilities and items; so weights are 1, and the value is what was earned, a decision and a page."""
    told: list[tuple[str, int, int]] = []
    found = pipeline_target(
        log, shop, load_config(shop.config), Other(other()), tell=lambda *said: told.append(said)
    )  # fmt: skip
    usable = log.usable
    assert 0.8 * PEOPLE * ROUNDS * 3 < usable.sum() < PEOPLE * ROUNDS * 3, "the holdout does not count"
    decided = (usable & log.drawn).sum()  # what repeats an earlier draw is not decided again
    assert (found.check.checked, found.check.reproduced) == (decided, decided)
    assert (found.reasons, len(found.notes)) == ((), 1)
    assert told[-1] == ("pages rebuilt", usable.sum() // 3, usable.sum() // 3)
    np.testing.assert_allclose(found.policy(found.log)[usable], log.propensity[usable], atol=1e-12)
    answer = replay(found.log, found.policy, "click", settings=PLAIN, reasons=found.reasons)
    assert answer.diagnosis.whole.departs == 0
    assert answer.estimates["ips"].value.value == pytest.approx(log.reward("click")[usable].mean())
    assert answer.estimates["snips"].gain.value == pytest.approx(0)
    assert answer.pages["rips"].value.value == pytest.approx(3 * log.reward("click")[usable].mean())


def test_where_nobody_is_assumed_to_agree_those_who_did_have_their_pages_again(tmp_path) -> None:
    """Half of the people did; the pages of the others name nobody, and are not counted."""
    shop = walked(tmp_path, 4, agreed=PEOPLE // 2)
    config = load_config(shop.config)
    log = read_log(Dataset(shop.dataset), surface="page.home", rewards=("click",))
    found = target_of(shop, log, config)
    assert not config.consent.assumed and PEOPLE < log.usable.sum() / 3 <= 4 * (PEOPLE // 2)
    assert found.check.checked == (log.usable & log.drawn).sum() > 0
    assert (found.check.share, found.reasons) == (1, ())


@pytest.fixture(scope="module")
def rows(shop, log) -> list[dict]:
    """Drawn decisions as the dataset has them, with their click, in order of time and draw: a second reading."""
    table = Dataset(shop.dataset).read("decisions").to_pylist()
    clicked = {each["decision_id"] for each in Dataset(shop.dataset).read("events").to_pylist()}
    kept = [{**each, "click": float(each["decision_id"] in clicked)} for each in table if not each["holdout"]]
    return sorted(kept, key=lambda each: (each["decided_at"], each["draw_order"]))


@lru_cache
def opened(shop: Shop, name: str) -> SlotPolicy:
    return open_policy(shop.policies / name)


def by_hand(shop: Shop, row: dict, name: str) -> dict[str | None, float]:
    """What a policy does with a logged decision: one row, from the JSON of the log."""
    chances = dict(json.loads(row["eligible"]))
    if row["policy"] != "hero":
        return chances
    made, told = opened(shop, name), json.loads(row["features"])
    scored = made.score(dict(zip(told["names"], told["rows"][0], strict=True)))
    eligible = np.array([action in chances for action in made.ids])
    found = probabilities(made.sheet.spec, scored.values, eligible[None], scored.spread)[0]
    return {action: float(chance) for action, chance in zip(made.ids, found, strict=True) if action in chances}


def test_another_policy_is_worth_what_is_computed_by_hand(shop, log, rows, other) -> None:
    """Weights of each decision from the logged JSON; sums for IPS and SNIPS, products down the page for RIPS."""
    found = target_of(shop, log, other(('"hero"', '"bold"')))
    answer = replay(found.log, found.policy, "click", settings=PLAIN, reasons=found.reasons)
    weights, clicks, pages = [], [], defaultdict(list)
    for row in rows:
        weight = by_hand(shop, row, "bold")[row["action_id"]] / row["action_propensity"]
        weights.append(weight)
        clicks.append(row["click"])
        pages[row["request_id"]].append((weight, row["click"]))
    ips = np.multiply(weights, clicks)
    assert np.ptp(weights) > 0.5, "another policy indeed"
    assert answer.estimates["ips"].value.value == pytest.approx(ips.mean())
    assert answer.estimates["snips"].value.value == pytest.approx(ips.sum() / np.sum(weights))
    rips = [
        sum(np.prod([w for w, _ in page[: place + 1]]) * page[place][1] for place in range(len(page)))
        for page in pages.values()
    ]
    assert answer.pages["rips"].value.value == pytest.approx(np.mean(rips))
    assert [each.of for each in answer.diagnosis.slots] == ["first", "last", "second"]
    assert len(answer.diagnosis.days) == len({row["decided_at"].date() for row in rows})
    assert answer.diagnosis.slots[1].departs == 0, "the slot without a policy stays as it is"


@pytest.mark.parametrize("name", ["bold", "careful"])
def test_a_learned_policy_is_a_target_of_its_own(shop, log, rows, name) -> None:
    """By name: its exact probabilities on what was recorded, Thompson frequencies and blocks too; as by hand."""
    if name == "careful" and not (shop.policies / name).exists():
        block = (Blocked("popular", "device", 1.0, 2.0),)
        made = policy(name, {"buy-again": 0.2, "for-you": 0.1, "popular": 0.3}, blocks=block, floor=0.02,
                      explore="thompson", draws=40)  # fmt: skip
        write_policy(shop.policies, made)
    slot = read_log(Dataset(shop.dataset), surface="page.home", slot="second", rewards=("click",))
    drawn = [row for row in rows if row["slot"] == "second"]
    found = policy_of(name, shop.policies)(slot)[slot.usable]
    assert len(found) == len(drawn)
    for line, row in zip(found, drawn, strict=True):
        hand = by_hand_blocked(shop, row, name)
        np.testing.assert_allclose(line, [hand.get(action, 0.0) for action in slot.actions], atol=1e-9)
    np.testing.assert_array_equal(policy_of(str(shop.policies / name))(slot)[slot.usable], found)


def by_hand_blocked(shop: Shop, row: dict, name: str) -> dict[str | None, float]:
    """`by_hand`, with what the policy blocks for this subject left out of what was eligible."""
    made, told = opened(shop, name), json.loads(row["features"])
    scored = made.score(dict(zip(told["names"], told["rows"][0], strict=True)))
    off = {made.ids[place] for place in np.flatnonzero(scored.blocked)}
    left = [each for each in json.loads(row["eligible"]) if each[0] not in off]
    return by_hand(shop, {**row, "eligible": json.dumps(left)}, name)


def test_of_many_pages_some_are_drawn(shop, log, other) -> None:
    """Whole pages, the same ones each time, and a sentence."""
    found = target_of(shop, log, other(('"hero"', '"bold"')), pages=40)
    again = target_of(shop, log, pages=40)
    assert (len(found.log), len(np.unique(found.log.request))) == (120, 40)
    assert found.log.keys.tolist() == again.log.keys.tolist()
    assert found.notes[0] == f"40 of {log.usable.sum() // 3} pages, drawn at random."


def test_a_repeat_is_decided_as_what_it_repeats(tmp_path) -> None:
    """Both pages are read; the repeat has the first one's probabilities and its own items, and is not checked."""
    usual = {"surface": "page.home", "slot": "hero", "policy": "p", "bundle_id": "b", "shop_hash": "s"}
    later = {"decided_at": START + HOUR, "drawn": False}
    lines = [
        {"decision_id": "one", "request_id": "r1", "customer_id": "ann", "items": ["x"], "decided_at": START},
        {"decision_id": "two", "request_id": "r2", "customer_id": "ann", "items": ["y"], "reused_from": "one", **later},
        {"decision_id": "three", "request_id": "r3", "customer_id": "bob", "decided_at": START},
        {"decision_id": "four", "request_id": "r4", "customer_id": "bob", "reused_from": "gone", **later},
    ]
    keys = np.array([event_key("two"), event_key("four")], np.uint64)
    rows = [{**line, **usual, "action_id": "a"} for line in lines]
    requests = sorted(read_requests(dataset(tmp_path, decisions=rows), keys), key=lambda each: each.slots[0].key)
    slots = {each.slots[0].key: (each.slots[0].items, each.slots[0].drawn) for each in requests}
    one, two, four = map(event_key, ("one", "two", "four"))
    assert slots == {one: (("x",), True), two: (("y",), False), four: ((), False)}
    answers = [(Answer(((None, 0.1 * place), ("a", 1 - 0.1 * place)), (f"i{place}",)),) for place in range(3)]
    own = {each.slots[0].key: answer[0] for each, answer in zip(requests, answers, strict=True)}
    assert by_decision(requests, answers) == {one: own[one], two: Answer(own[one].chances, own[two].items)}
    assert checked(requests, answers).checked == 1


def test_the_pipeline_and_its_policy_agree(shop, log, other) -> None:
    """Where only the policy changes, the rebuilt pipeline and the policy on recorded features are one."""
    found = target_of(shop, log, other(('"hero"', '"bold"')))
    drawn = found.log.usable & np.isin(found.log.slot, [found.log.slots.index(name) for name in ("first", "second")])
    alone = policy_of("bold", shop.policies)(found.log)
    np.testing.assert_allclose(found.policy(found.log)[drawn], alone[drawn], atol=1e-9)


def test_other_items_inside_a_module_are_refused(shop, few, other) -> None:
    """By another size, and by another bundle; the reason names the first and says what would be needed."""
    found = target_of(shop, few, other(("size = 3", "size = 2")))
    assert [each.code for each in found.reasons] == ["items-not-randomised"]
    assert "popular in slot" in found.reasons[0].text
    assert "customers who are given one or the other pipeline at random" in found.reasons[0].text
    if not (shop.bundles / "toy-2").exists():
        toy = build_toy_bundle("toy-2")
        again = {**toy.arrays, "source.popularity.items": toy.arrays["source.popularity.items"][:, ::-1].copy()}
        write_bundle(shop.bundles / "toy-2", replace(toy, arrays=again))
    assert "items-not-randomised" in codes(target_of(shop, few, bundle="toy-2"))
    assert target_of(shop, few, bundle="toy-1").reasons == ()


def test_a_slot_that_nobody_drew_is_refused(shop, few, other) -> None:
    """The last slot had one possible action; where it is to be drawn, the reason says so."""
    draw = ('modules = ["buy-again", "popular"]}', 'modules = ["buy-again", "popular"], policy = "bold"}')
    found = target_of(shop, few, other(draw))
    answer = replay(found.log, found.policy, "click", settings=PLAIN, reasons=found.reasons).estimates["ips"].value
    assert isinstance(answer, Refusal)
    assert {"slot-not-randomised", "support"} <= set(answer.codes)
    assert "Slot last was never randomised" in answer.text


def test_what_was_never_tried_is_refused(shop, few, other) -> None:
    """A module of another name has no support, whatever is in it."""
    first = '"buy-again"], policy = "hero", family = "top"},\n  {name = "second"'
    more = '[modules.sale]\nkind = "popular"\ntitle = {en = "Sale"}\nminimum = 1\n[pages.home]'
    write_policy(shop.policies, policy("seller", {"sale": 1.0, "popular": 0.0}, floor=0.1))
    sells = first.replace("buy-again", "sale").replace("hero", "seller")
    config = other(("[pages.home]", more), (first, sells))
    found = target_of(shop, few, config)
    assert found.log.actions == (*few.actions, "sale")
    assert "support" in codes(found)


def test_other_slots_are_refused(shop, few, other) -> None:
    """One more, in another order, or the usual page where the shop wrote none of its own."""
    last = '{name = "last", modules = ["buy-again", "popular"]},\n'
    for changed in (
        ("  " + last, ""),
        ('name = "first"', 'name = "zeroth"'),
        (last, last + '  {name = "x", modules = ["popular"]},\n'),
        ("[pages.home]", "[pages.house]"),
    ):
        found = target_of(shop, few, other(changed))
        assert len(found.log.usable) == 0 or not found.log.usable.any()
        assert codes(found)[0] == "other-slots"


def test_a_past_that_is_not_there_any_more_is_noticed(shop, few, other, monkeypatch) -> None:
    """Without the events that the pages knew, what is rebuilt is not what was logged: refused, with differences."""

    def forgotten(dataset: Dataset) -> Pasts:
        pasts = read_pasts(dataset)
        return replace(pasts, histories=pasts.histories.as_of(0))

    monkeypatch.setattr("training.offpolicy.pipeline.read_pasts", forgotten)
    found = target_of(shop, few, other(('"hero"', '"bold"')))
    assert 0 < found.check.share < 0.95
    assert codes(found)[0] == "not-reproduced"
    assert "eligible: logged [nothing, buy-again" in found.reasons[0].text
    assert "(slot " in found.reasons[0].text
    assert len(found.check.differences) == 3


def test_pages_of_an_unknown_shop_file(shop, few, other, tmp_path) -> None:
    """Today's file did not decide them: an error that says what to give; with it they are rebuilt."""
    old = load_config(shop.config)
    today = other(('"hero"', '"bold"'))
    with pytest.raises(DataError, match=rf"shop.toml {old.hash}.*--logged-config"):
        pipeline_target(few, shop, today, Other(today))
    found = pipeline_target(few, shop, today, Other(today, known=[old]))
    assert found.check.share == 1
    alias = Shop("another", shop.root)
    assert "holdout: logged no, replayed yes" in target_of(alias, few, old).check.differences[0]
    with pytest.raises(NotFoundError, match='did you mean "toy-'):
        target_of(shop, few, bundle="toy-9")


def test_the_past_is_the_one_that_the_service_knew(tmp_path) -> None:
    """Histories of random moments, with sign-ins, sign-outs and late events: the live store's of then, afterwards."""
    shop = Shop("past", tmp_path / "shop")
    shop.root.mkdir()
    write_bundle(shop.bundles / "toy-1", build_toy_bundle())
    (shop.bundles / "live.json").write_text('{"live": "toy-1"}')
    engine, random, seen = Engine(shop, worker=None), np.random.default_rng(3), []
    for number in range(160):
        now = START + number * HOUR
        who, where = f"c{random.integers(3)}", f"v{random.integers(3)}"
        kind = str(random.choice(["view", "purchase", "sign_in", "sign_out"], p=[0.5, 0.2, 0.2, 0.1]))
        named = kind == "sign_in" or random.random() < 0.2
        late = int(random.integers(3)) * MINUTE if kind in ("view", "purchase") else 0
        engine.store.append_sync([
            StoredEvent(event_id=f"e{number}", occurred_at=now - late, recorded_at=now, type=kind, visitor_id=where,
                        customer_id=who if named else None, item_id=str(random.choice(ITEMS)), unit_price=2.0)
        ])  # fmt: skip
        asked = (f"c{random.integers(3)}", None) if random.random() < 0.5 else (None, f"v{random.integers(3)}")
        seen.append((now + MINUTE, asked, engine.history_of(engine.live, *asked)))
    items = engine.live.bundle.items
    engine.close()
    sync(shop, now=LATER)
    pasts = read_pasts(Dataset(shop.dataset))
    rows = pasts.histories.items.translate_to(items)
    for now, asked, then in seen:
        found = pasts.of(*asked, now).with_items(rows)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(found, name), getattr(then, name), err_msg=f"{name} of {asked}")
    assert max(len(then) for _, _, then in seen) > 20


@pytest.fixture
def printed(monkeypatch) -> io.StringIO:
    """What the command prints."""
    written = io.StringIO()
    monkeypatch.setattr("training.commands.replay.console", Console(file=written, width=140))
    return written


def run(*given: object) -> int:
    with pytest.raises(SystemExit) as done:
        main(["replay", *map(str, given)])
    return int(done.value.code or 0)


def test_the_command_values_pipelines_and_policies(shop, log, printed, tmp_path) -> None:
    """One table each, the check among the notes, slots and days among the weights; the rows hold the same."""
    bold, file = tmp_path / "bold.toml", tmp_path / "rows.json"
    bold.write_text(TOML.replace('"hero"', '"bold"'))
    code = run("--shop", "walk", "--root", shop.root, "--surface", "page.home", "--reward", "click", "--days",
               "--with-config", bold, "--policy", "bold", "--model", "none", "--json", file)  # fmt: skip
    text = printed.getvalue()
    assert code == 0, text
    assert "pipeline(bold.toml)" in text
    assert "value of a page" in text
    assert "decisions again (100.0%)" in text
    assert "2024-10-05" in text and "second" in text
    values = {(row["subject"], row["metric"]): row["value"] for row in msgspec.json.decode(file.read_bytes())}
    assert values["pipeline(bold.toml)", "value-ips"] == pytest.approx(values["bold", "value-ips"])
    assert isinstance(values["pipeline(bold.toml)", "page-value-rips"], float)


def test_what_the_command_cannot_do_is_one_line(shop, printed, tmp_path, capsys) -> None:
    """Exit code 2."""
    usual = ("--shop", "walk", "--root", shop.root, "--reward", "click")
    file = tmp_path / "bad.toml"
    file.write_text("[shop")
    for given, words in (
        ((), "nothing to value"),
        (("--with-bundle", "toy-1"), "the pipeline decides pages"),
        (("--with-bundle", "toy-1", "--surface", "email"), "the pipeline decides pages"),
        (("--with-bundle", "toy-7", "--surface", "page.home"), "no such bundle"),
        (("--with-config", tmp_path / "none.toml", "--surface", "page.home"), "no such file"),
        (("--with-config", file, "--surface", "page.home"), "not valid TOML"),
        (("--policy", "bald", "--surface", "page.home"), "learned: bold"),
    ):
        assert run(*usual, *given) == 2, words
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error
