"""A learned policy draws slots of a page: exact probabilities in the log, one answer an epoch, refusals, the walk."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import BundleError, ConfigError
from features.history import History
from features.moments import DAY, HOUR
from features.shop import Shop
from serving import pages, wire
from serving.config import load_config
from serving.drawing import BLOCKED, FAILED, UNKNOWN, Draws, chances_among
from serving.effects import NET_VALUE, Blocked, Scored, Size, SlotPolicy
from serving.logged_rows import rows_in
from serving.policies import PolicySpec, drawn, net_values, probabilities
from serving.policy_files import open_policies, open_policy, write_policy
from serving.query import Context, Query
from serving.settings.pages import Slot
from serving.sync import sync
from tests.test_serving.grown import forest, policy, records, stump
from training.uplift.reading import read_log

NAMES = ("a", "b", "c", "d")
NOW = 20_000 * DAY + 9 * HOUR
TOML = """[consent]
assumed = ["personalization"]
basis = "they agreed"
[shop]
holdout = 0.0
[pages.home]
slots = [
  {name = "first", modules = ["for-you", "popular", "buy-again"], policy = "hero"},
  {name = "second", modules = ["for-you", "popular"], policy = "hero"},
  {name = "last", modules = ["popular"]},
]
"""


@pytest.fixture(scope="module")
def bench_shop(tmp_path_factory) -> Shop:
    """Of a known secret: a share of drawn people that is off is a fault then, and not once in some thousand runs."""
    root = tmp_path_factory.mktemp("draws") / "shop"
    root.mkdir()
    (root / "secret.key").write_bytes(bytes(range(32)))
    return Shop("draws", root)


def asks(user: str | None = "ann", now: int = NOW, **context: str) -> Query:
    return Query(now, History.empty(), user_id=user, context=Context(**context))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32 - 1), st.sets(st.sampled_from(NAMES), max_size=3), st.floats(0, 0.4),
    st.sampled_from(["greedy", "thompson", "inverse-gap"]), st.booleans(),
)  # fmt: skip
def test_what_is_logged_is_what_was_drawn(bench_shop, seed, barred, floor, explore, cautious) -> None:
    """Probabilities sum to 1 over the eligible; the propensity is the logged one; what is vetoed cannot be drawn."""
    rng = np.random.default_rng(seed)
    trees = {name: forest(rng, trees=3, leaves=5, columns=3) for name in NAMES if rng.random() < 0.7}
    averages = {name: float(rng.normal()) for name in NAMES}
    block = (Blocked("b", NET_VALUE, high=0.0),)
    made = policy("p", averages, trees=trees, blocks=block, floor=floor, explore=explore, draws=20, cautious=cautious)
    slot = Slot("s", (*NAMES, "new"), policy="p")
    for user in ("ann", "bob", None):
        vetoed = [(name, "barred") for name in sorted(barred)]
        choice = Draws(bench_shop, {"p": made}, "UTC", asks(user, device="mobile"), "r").choose(slot, 0, vetoed)
        out, chances = dict(vetoed), dict(choice.eligible)
        assert out["new"] == UNKNOWN
        assert not chances.keys() & out.keys()
        assert chances.keys() | out.keys() == {None, *slot.modules}
        assert sum(chances.values()) == pytest.approx(1)
        assert choice.propensity == chances[choice.action] > 0
        assert min(chances.values()) >= min(floor, 1 / len(chances)) - 1e-12
        assert list(chances) == [None, *sorted(name for name in chances if name)]
        assert choice.drawn and choice.fallback is None


def test_draws_follow_their_probabilities_and_epochs(bench_shop) -> None:
    """Over many subjects; the same subject gets the same within a day and by family, and is drawn anew on the next."""
    made = policy("p", {"a": 1.0, "b": 0.0}, floor=0.2)

    def action(slot: Slot, **more):
        draws = Draws(bench_shop, {"p": made}, "UTC", asks(**more), "r")
        return draws.choose(slot, 0, []).action

    page, mail = Slot("x", ("a", "b"), policy="p", family="f"), Slot("y", ("b", "a"), policy="p", family="f")
    people = [f"u{n}" for n in range(2000)]
    first = [action(page, user=who) for who in people]
    shares = [first.count(each) / len(people) for each in (None, "a", "b")]
    assert shares == pytest.approx([0.2, 0.6, 0.2], abs=0.04)
    assert [action(mail, user=who, now=NOW + 14 * HOUR) for who in people[:50]] == first[:50]
    later = [action(page, user=who, now=NOW + DAY) for who in people[:200]]
    same = np.mean([one == two for one, two in zip(first, later, strict=False)])
    assert same == pytest.approx(0.44, abs=0.12), "independent: .2^2 + .6^2 + .2^2"
    week = Slot("x", ("a", "b"), policy="p", family="f", epoch_days=7)
    days = [[action(week, user=who, now=NOW + day * DAY) for day in range(8)] for who in people[:60]]
    assert max(len({*each}) for each in days) <= 2, "at most one boundary of a week in eight days"


def test_effects_are_calibrated_and_words_are_codes() -> None:
    """average + kept x (trees - centre); a device that was never seen goes where the missing ones go."""
    made = policy("p", {"a": 5.0, "b": None, "c": 2.0}, trees={"a": stump(0, 0.5, -1.0, 3.0)})
    size = Size(5.0, 1.0, 0.5)
    sheet = msgspec.structs.replace(made.sheet, sizes={"click": (size, *made.sheet.sizes["click"][1:])})
    made = SlotPolicy(sheet, made.forests)
    told = {"hour": 3, "orders_28d": None, "more": "x"}
    desktop, mobile, unseen = (
        made.score({**told, "device": name}).values[0].tolist() for name in ("desktop", "mobile", "fridge")
    )
    assert desktop[:2] == [0.0, 5 + 0.5 * (-1 - 1)]
    assert mobile[1] == unseen[1] == 5 + 0.5 * (3 - 1)
    assert np.isnan(mobile[2]) and mobile[3] == 2.0
    rows = made.effects(np.array([0, 3, np.nan], np.float32))
    assert net_values(made.sheet.spec, rows)[0] == pytest.approx(desktop, nan_ok=True)


def test_blocked_by_a_column(bench_shop) -> None:
    """On phones `a` is known to do no good."""
    made = policy("p", {"a": 5.0, "b": 1.0}, blocks=(Blocked("a", "device", 1.0, 2.0),))
    for device, best in (("mobile", "b"), ("desktop", "a"), ("fridge", "a")):
        vetoed: list[tuple[str, str]] = []
        query = asks(device=device)
        choice = Draws(bench_shop, {"p": made}, "UTC", query, "r").choose(Slot("s", ("a", "b"), policy="p"), 0, vetoed)
        assert choice.action == best
        assert vetoed == ([("a", BLOCKED)] if device == "mobile" else [])


def test_a_policy_that_fails_leaves_a_page(bench_shop, monkeypatch) -> None:
    """Its fallback where that is free, else the first module; the row is marked and nothing was drawn."""
    made = policy("p", {"a": 5.0, "b": 1.0}, fallback="b")
    monkeypatch.setattr(made, "score", lambda told: 1 / 0)
    slot = Slot("s", ("a", "b"), policy="p")
    for vetoed, action in (([], "b"), ([("b", "x")], "a"), ([("a", "x"), ("b", "x")], None)):
        choice = Draws(bench_shop, {"p": made}, "UTC", asks(), "r").choose(slot, 0, vetoed)
        assert (choice.action, choice.drawn, choice.fallback) == (action, False, FAILED)


def test_a_policy_on_disk_is_the_policy(tmp_path) -> None:
    rng = np.random.default_rng(1)
    made = policy(trees={"popular": forest(rng, trees=4, leaves=9, columns=3)}, blocks=(Blocked("popular", "hour"),))
    folder = write_policy(tmp_path, made)
    opened = open_policy(folder)
    assert opened.sheet == made.sheet
    told = {"device": "mobile", "hour": 2, "orders_28d": 1.0}
    assert opened.score(told).values.tolist() == made.score(told).values.tolist()
    assert opened.score(told).blocked.tolist() == [False, False, True]
    with pytest.raises(BundleError, match="exists"):
        write_policy(tmp_path, made)
    (folder / "forest.0.value.npy").write_bytes((folder / "forest.0.value.npy").read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="checksum"):
        open_policy(folder)


def test_what_makes_no_sense_is_refused(tmp_path) -> None:
    made = policy()
    for changes, what in (
        ({"sizes": {"click": (Size(1.0),)}}, "not one an action"),
        ({"sizes": {"click": (Size(1.0, 0.0, 1.0), Size(1.0))}}, "slope without trees"),
        ({"blocks": (Blocked("nope", "hour"),)}, "unknown action"),
        ({"blocks": (Blocked("popular", "nope"),)}, "unknown column"),
        ({"fallback": "nope"}, "unknown fallback"),
        ({"spec": msgspec.structs.replace(made.sheet.spec, actions=("popular", "for-you"))}, "sorted order"),
    ):
        with pytest.raises(BundleError, match=what):
            SlotPolicy(msgspec.structs.replace(made.sheet, **changes), {})
    with pytest.raises(BundleError, match="more columns than it names"):
        policy("p", {"a": 1.0}, trees={"a": stump(3, 0.0, 1.0, 2.0)})
    column = msgspec.structs.replace(made.sheet.columns[0], name="recency")
    sheet = msgspec.structs.replace(made.sheet, columns=(column,))
    with pytest.raises(BundleError, match="does not know"):
        open_policy(write_policy(tmp_path / "unread", SlotPolicy(sheet, {})))
    folder = write_policy(tmp_path, made)
    folder.rename(tmp_path / "other")
    with pytest.raises(BundleError, match="another name"):
        open_policy(tmp_path / "other")


def test_a_shop_file_names_its_policies(toy_shop) -> None:
    toy_shop.config.write_text(TOML)
    with pytest.raises(ConfigError, match="no policies yet"):
        open_policies(toy_shop.policies, load_config(toy_shop.config))
    write_policy(toy_shop.policies, policy("heros"))
    with pytest.raises(ConfigError, match='did you mean "heros"'):
        open_policies(toy_shop.policies, load_config(toy_shop.config))
    write_policy(toy_shop.policies, policy("hero", {"wishlist": 1.0}))
    with pytest.raises(ConfigError, match="none of the slot's modules"):
        open_policies(toy_shop.policies, load_config(toy_shop.config))
    toy_shop.config.write_text(TOML.replace("policy =", "polizy ="))
    with pytest.raises(ConfigError, match='did you mean "policy"'):
        load_config(toy_shop.config)


def test_a_broken_policy_is_refused_and_the_old_one_stays(toy_shop, toy_engine) -> None:
    before = toy_engine.live
    folder = write_policy(toy_shop.policies, policy(trees={"popular": stump(1, 8.0, 0.0, 1.0)}))
    (folder / "forest.0.left.npy").unlink()
    toy_shop.config.write_text(TOML)
    toy_engine.refresh()
    assert toy_engine.live.config is before.config
    assert "a file is missing" in toy_engine.refusals["shop.toml"]


def test_a_slot_without_a_policy_leaves_the_shops_hash(toy_shop) -> None:
    """Bundles, logs and reports name a configuration by its hash; the new settings do not change an old file's."""
    slot = Slot("first", ("popular",))
    assert json.loads(msgspec.json.encode(slot)) == {"name": "first", "modules": ["popular"]}
    assert load_config(toy_shop.root / "none.toml").hash == "bc7462ba3434"


@pytest.fixture
def with_policy(toy_shop, toy_engine):
    trees = {"popular": stump(0, 0.5, 0.5, -0.5)}  # popular on desks, for-you on phones
    averages = {"buy-again": 0.9, "for-you": 0.1, "popular": 0.0}
    write_policy(toy_shop.policies, policy(averages=averages, trees=trees, floor=0.1))
    toy_shop.config.write_text(TOML)
    assert toy_engine.refresh(), toy_engine.refusals
    assert not toy_engine.refusals
    return toy_engine


def test_the_walk_from_artefact_to_log(with_policy, client, tmp_path) -> None:
    """Pages over HTTP; what the rows say is what the DecisionLog reads, and what the policy would draw again."""
    for n in range(40):
        body = {"userId": f"u{n}", "page": "home", "context": {"device": ("mobile", "desktop", "fridge")[n % 3]}}
        answer = client.post("/v1/pages", content=orjson.dumps(body)).json()
        assert [slot["slot"] for slot in answer["slots"]] == ["first", "second", "last"]
        empty = [slot for slot in answer["slots"][:2] if slot["actionId"] is None]
        assert all(not slot["items"] and slot["reason"] for slot in empty)
    rows = [each for each in records(with_policy) if each["slot"] != "last"]
    assert {each["policy"] for each in rows} == {"hero"}
    assert all(["buy-again", "too few items (0 of 3)"] in each["vetoed"] for each in rows if each["slot"] == "first")
    live = with_policy.live
    for each in rows:
        told = dict(zip(each["features"]["names"], each["features"]["rows"][0], strict=True))
        values = live.policies["hero"].score(told).values[0]
        chances = dict(map(tuple, each["eligible"]))
        best = max(chances, key=lambda name: values[live.policies["hero"].ids.index(name)])
        assert chances[best] == pytest.approx(1 - 0.1 * (len(chances) - 1))
        shown = each["features"].get("items")
        assert shown is None if not each["items"] else len(rows_in(shown["rows"])) == len(each["items"])
    sync(with_policy.shop, now=with_policy.clock.now() + DAY)
    log = read_log(Dataset(with_policy.shop.dataset), slot="first")
    assert len(log) == 40 and log.usable.all() and log.drawn.all()
    by_id = {each["decision_id"]: each for each in rows}
    assert sorted(log.taken.tolist()) == sorted(
        each["action_propensity"] for each in by_id.values() if each["slot"] == "first"
    )
    assert log.propensity.sum(axis=1) == pytest.approx(1)
    device = log.names.index("device")
    assert log.words[device] == ("desktop", "fridge", "mobile")
    assert np.bincount(log.features[:, device].astype(int)).tolist() == [13, 13, 14]


def test_the_holdout_is_never_drawn(with_policy, toy_shop) -> None:
    toy_shop.config.write_text(TOML.replace("holdout = 0.0", "holdout = 0.5"))
    with_policy.refresh()
    for n in range(40):
        pages.page(with_policy, wire.PageRequest(user_id=f"u{n}"), with_policy.clock.now())
    rows = [each for each in records(with_policy) if each["slot"] != "last"]
    held = [each for each in rows if each["holdout"]]
    assert 10 < len(held) < 70
    assert {(each["policy"], each["drawn"], each["action_propensity"]) for each in held} == {("holdout", False, 1.0)}
    assert all("for-you" not in (each["action_id"] or "") for each in held)
    assert {each["policy"] for each in rows if not each["holdout"]} == {"hero"}


def test_what_cannot_be_logged_is_not_drawn(with_policy, monkeypatch) -> None:
    """A known subject's draws are in the store by the transaction that keeps them; a stranger's have the log alone."""
    monkeypatch.setattr(with_policy.decisions, "keep", lambda batch: False)
    for n in range(20):
        for user in (None, f"u{n}"):
            answer = pages.page(with_policy, wire.PageRequest(user_id=user), with_policy.clock.now())
            assert answer["logged"] is False
            kept = {each["decision_id"]: each for each in records(with_policy)}
            if user is None:
                assert answer["slots"][0]["actionId"] == "popular", "the first module that can be filled"
            assert [slot["decisionId"] in kept for slot in answer["slots"]] == [user is not None] * 2 + [False]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([-1.0, -0.0, 0.5, 0.5, 2.0, float("nan")]), min_size=1, max_size=9), st.data(),
    st.sampled_from([0.0, 0.01, 0.07, 0.4, 1.0]), st.sampled_from(["greedy", "thompson", "inverse-gap"]),
    st.booleans(),
)  # fmt: skip
def test_chances_of_one_row_are_those_of_many(values, data, floor, explore, cautious) -> None:
    """To the last bit, with ties, with what nothing is known of, and with floors that leave nothing to the best."""
    spec = PolicySpec(
        "p", NAMES, {"click": 1.0}, floor=floor, explore=explore, cautious=cautious, draws=20
    )  # fmt: skip
    row = np.array([[0.0, *values]])
    spread = np.full(row.shape, 0.3)
    places = [0, *sorted(data.draw(st.sets(st.integers(1, len(values)))))]
    eligible = np.zeros(row.shape, bool)
    eligible[0, places] = True
    scored = Scored(row, spread, ~eligible[0], np.argsort(-row[0], kind="stable").tolist())
    assert chances_among(spec, scored, places) == probabilities(spec, row, eligible, spread)[0, places].tolist()


def test_the_draw_is_the_policys_own() -> None:
    """The hash point goes through the same running sum as `serving.policies.drawn`."""
    from serving.drawing import at_point

    rng = np.random.default_rng(0)
    for _ in range(200):
        chances = rng.dirichlet(np.ones(6) * 0.3) * (rng.random(6) < 0.8)
        if not chances.sum():
            continue
        chances /= chances.sum()
        for u in (0.0, rng.random(), float(np.cumsum(chances)[2]), np.nextafter(1, 0)):
            assert at_point(chances.tolist(), u) == drawn(chances[None], np.array([u]))[0]


def test_a_slot_that_was_never_empty_stays_filled(bench_shop) -> None:
    """`nothing = false`: null is drawn only where nothing else can be, whatever it seems to be worth."""
    bad = dict.fromkeys(NAMES, -1.0)
    slot = Slot("s", NAMES, policy="p")
    for explore in ("greedy", "thompson", "inverse-gap"):
        made = policy("p", bad, explore=explore, floor=0.1, nothing=False)
        draws = Draws(bench_shop, {"p": made}, "UTC", asks(device="mobile"), "r")
        choice = draws.choose(slot, 0, [])
        assert None not in dict(choice.eligible)
        assert sum(dict(choice.eligible).values()) == pytest.approx(1)
        empty = draws.choose(slot, 0, [(name, "barred") for name in NAMES])
        assert empty.eligible == [(None, 1.0)]


def test_thompson_draws_with_the_whole_spread() -> None:
    """What differences between people leave out widens the error of the average, as the sides of a right angle."""
    narrow, wide = Size(0.1, error=0.03), Size(0.1, error=0.03, left=0.04)
    assert narrow.spread == pytest.approx(0.03)
    assert wide.spread == pytest.approx(0.05)
    assert np.isnan(Size(0.1, left=0.04).spread)
    made = policy("p", {"a": 0.1})
    sheet = msgspec.structs.replace(made.sheet, sizes={"click": (wide,)})
    assert SlotPolicy(sheet, {}).score(dict.fromkeys(("device", "hour", "orders_28d"))).spread[0] == pytest.approx(
        [0, 0.05]
    )


@pytest.mark.parametrize("explore", ["greedy", "thompson", "inverse-gap"])
@pytest.mark.parametrize("cautious", [False, True])
def test_where_nothing_is_known_of_what_can_be_shown_something_is_shown(bench_shop, explore, cautious) -> None:
    """A slot that is never empty, and two modules without an estimate: the first gets what no floor takes."""
    made = policy(
        "p", {"a": 0.5, "b": None, "c": None}, explore=explore, cautious=cautious, floor=0.1, nothing=False, draws=20
    )
    found = [
        Draws(bench_shop, {"p": made}, "UTC", asks(f"u{n}"), "r").choose(
            Slot("s", ("a", "b", "c"), policy="p"), 0, [("a", "barred")]
        )
        for n in range(60)
    ]
    assert all(dict(each.eligible) == pytest.approx({"b": 0.9, "c": 0.1}) for each in found)
    assert all(each.drawn and each.propensity == dict(each.eligible)[each.action] for each in found)
    values, eligible = np.array([[0.0, np.nan, np.nan]]), np.array([[False, True, True]])
    assert probabilities(made.sheet.spec, values, eligible, np.zeros((1, 3)))[0] == pytest.approx([0, 0.9, 0.1])
