"""Arms: the same for a subject at every visit, in their shares, independent, logged, never the holdout."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from features.dataset import Dataset
from features.errors import ConfigError
from features.history import History
from features.moments import DAY
from features.shop import Shop
from serving import pages, wire
from serving.config import load_config
from serving.decide import in_holdout, unit_of
from serving.experiments import Arm, Experiment, SlotChange, arm_of, arranged
from serving.policy_files import open_policies, write_policy
from serving.query import Query
from serving.settings.defaults import DEFAULT_PAGES
from serving.sync import sync
from tests.test_serving.grown import policy, records
from training.experiments.cohort import TRAITED, Asked, enter
from training.uplift.reading import opened

TOML = """[consent]
assumed = ["personalization"]
basis = "they agreed"
[shop]
holdout = 0.2
[pages.home]
slots = [
  {name = "first", modules = ["for-you", "popular"]},
  {name = "last", modules = ["popular"]},
]
[experiments.hero]
[experiments.hero.arms.control]
share = 0.4
[experiments.hero.arms.learned]
share = 0.4
slots.first = {policy = "hero"}
[experiments.tail.arms.as-it-is]
share = 0.5
[experiments.tail.arms.other]
share = 0.5
slots.last = {modules = ["for-you"]}
"""
CHANGE = {"first": SlotChange("hero")}


@pytest.fixture(scope="module")
def salted(tmp_path_factory) -> Shop:
    """One secret for the whole file, so that shares below are the same at every run."""
    root = tmp_path_factory.mktemp("arms") / "shop"
    root.mkdir()
    (root / "secret.key").write_bytes(bytes(range(32)))
    return Shop("arms", root)


def thirds() -> Experiment:
    return Experiment({"b": Arm(0.3), "a": Arm(0.2, CHANGE), "c": Arm(0.1, CHANGE)})


def test_arms_come_in_their_shares_and_others_stand_outside(salted) -> None:
    found = Counter(arm_of(salted, "x", thirds(), ("customer", f"u{n}")) for n in range(20_000))
    expected = {"a": 4000, "b": 6000, "c": 2000, None: 8000}
    p = stats.chisquare([found[arm] for arm in expected], list(expected.values())).pvalue
    assert p > 0.001


@given(st.text(min_size=1), st.permutations(["a", "b", "c"]), st.sampled_from(["customer", "visitor"]))
def test_an_arm_is_a_function_of_who_asks(salted, who, order, kind) -> None:
    """Not of the order of arms in the file, nor of what the arms change; a visitor is not the customer of that name."""
    arms = thirds().arms
    same = Experiment({name: arms[name] for name in order})
    other = Experiment({name: Arm(arm.share) for name, arm in arms.items()}, page="else")
    assert arm_of(salted, "x", thirds(), (kind, who)) == arm_of(salted, "x", same, (kind, who))
    assert arm_of(salted, "x", thirds(), (kind, who)) == arm_of(salted, "x", other, (kind, who))


def test_experiments_and_the_holdout_say_nothing_of_each_other(salted) -> None:
    """Whoever stands in an arm of one is as likely to stand in any arm of another."""
    half = Experiment({"a": Arm(0.5), "b": Arm(0.5, CHANGE)})
    people = [("customer", f"u{n}") for n in range(20_000)]
    one, two = ([arm_of(salted, name, half, who) == "a" for who in people] for name in ("one", "two"))
    held = [in_holdout(salted, Query(0, History.empty(), user_id=who), 0.5) for _, who in people]
    for left, right in ((one, two), (one, held), (two, held)):
        table = np.histogram2d(np.array(left, float), np.array(right, float), bins=2)[0]
        assert stats.chi2_contingency(table).pvalue > 0.001


def test_three_thirds_leave_nobody_outside(salted, monkeypatch) -> None:
    """Their sum is 1 but for rounding: the highest point of the hash falls into the last arm."""
    tenths = Experiment({f"a{n}": Arm(0.1) for n in range(10)})
    monkeypatch.setattr("serving.experiments.unit_hash", lambda *parts: 1 - 2**-53)
    assert arm_of(salted, "x", tenths, ("customer", "u")) == "a9"


def test_a_page_as_an_arm_has_it(salted) -> None:
    """Slots that no arm changes carry no label; the control carries one and changes nothing."""
    home = DEFAULT_PAGES["home"]
    always = {"x": Experiment({"a": Arm(1.0, {"first": SlotChange("hero", ("popular",))})})}
    unit = ("customer", "u")
    layout, labels = arranged(salted, always, "home", home, unit)
    assert labels == {"first": "x/a"}
    assert (layout.slots[0].policy, layout.slots[0].modules) == ("hero", ("popular",))
    assert layout.slots[1:] == home.slots[1:]
    assert arranged(salted, always, "other", home, unit) == (home, {})
    assert arranged(salted, always, "home", home, None) == (home, {})
    plain = {"x": Experiment({"a": Arm(1.0, {"first": SlotChange("first-fillable")})})}
    assert arranged(salted, plain, "home", layout, unit)[0].slots[0].policy is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("share = 0.4", "shrae = 0.4", 'did you mean "share"?'),
        ("[experiments.hero]", '[experiments.hero]\npge = "home"', 'did you mean "page"?'),
        ("slots.first = {policy", "slots.first = {polcy", 'did you mean "policy"?'),
        ("[experiments.hero]", '[experiments.hero]\npage = "hom"', 'did you mean "home"?'),
        ("slots.first", "slots.frist", 'did you mean "first"?'),
        ('["for-you"]', '["for-yuo"]', 'did you mean "for-you"?'),
        ("share = 0.5", "share = 0.6", "sum to more than 1"),
        ("share = 0.5", "share = 0.0", "> 0"),
        ('slots.last = {modules = ["for-you"]}', "", "several controls"),
        ("as-it-is]\nshare = 0.5", 'as-it-is]\nshare = 0.5\nslots.last = {policy = "hero"}', "no control"),
        ("[experiments.tail.arms.as-it-is]\nshare = 0.5\n", "", "two arms or more"),
        ('slots.last = {modules = ["for-you"]}', "slots.last = {}", "nothing changes"),
        ('{modules = ["for-you"]}', "{modules = []}", "length >= 1"),
        ('modules = ["popular"]},', "modules = []},", "length >= 1"),
        ("slots.last", "slots.first", "belongs to experiment hero"),
        ("experiments.tail", 'experiments."a/b"', "not a name"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, old, new, message) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(TOML)
    assert set(load_config(path).experiments) == {"hero", "tail"}
    assert old in TOML
    path.write_text(TOML.replace(old, new))
    with pytest.raises(ConfigError, match=r"shop\.toml") as caught:
        load_config(path)
    assert message in caught.value.line()


def test_an_arms_policy_must_be_there(toy_shop) -> None:
    toy_shop.config.write_text(TOML)
    with pytest.raises(ConfigError, match=r"experiments\.hero\.arms\.learned.*no policies yet"):
        open_policies(toy_shop.policies, load_config(toy_shop.config))


def test_pages_follow_the_arm_and_log_it(toy_shop, toy_engine) -> None:
    """The arm of the row is the one of the hash, and what decided the slot is what that arm says."""
    write_policy(toy_shop.policies, policy(floor=0.1))
    toy_shop.config.write_text(TOML)
    assert toy_engine.refresh() and not toy_engine.refusals
    config = toy_engine.live.config
    for n in range(60):
        pages.page(toy_engine, wire.PageRequest(user_id=f"u{n}"), 20_000 * DAY)
    pages.page(toy_engine, wire.PageRequest(), 20_000 * DAY)
    rows = records(toy_engine)
    decided: dict[str, set[str]] = {}
    for row in rows:
        query = Query(0, History.empty(), user_id=row["customer_id"])
        name = {"first": "hero", "last": "tail"}[row["slot"]]
        unit = unit_of(query)
        arm = None if row["holdout"] or unit is None else arm_of(toy_shop, name, config.experiments[name], unit)
        assert row["arm"] == (None if arm is None else f"{name}/{arm}")
        if row["slot"] == "first":
            decided.setdefault(str(row["arm"]), set()).add(row["policy"])
    assert decided["hero/learned"] == {"hero"}
    assert decided["hero/control"] == {"first-fillable"}
    assert decided["None"] == {"holdout", "first-fillable"}
    assert {row["policy"] for row in rows if row["holdout"]} == {"holdout"}
    assert any(row["arm"] is None and row["customer_id"] is None for row in rows)
    sync(toy_shop, now=20_001 * DAY)
    with opened(Dataset(toy_shop.dataset), None, TRAITED) as (duck, moment):
        entrants = enter(duck, moment, Asked("hero"), config.experiments, config.shop.holdout)
    logged = Counter(row["arm"] for row in rows if row["slot"] == "first")
    found = Counter(f"hero/{entrants.arms[arm]}" for arm in entrants.arm.tolist())
    assert found == {arm: many for arm, many in logged.items() if arm}, "each subject asked once"
