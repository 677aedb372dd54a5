"""Any policy on any log: values, refusals in their place, pages, and the words of the command line."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from types import ModuleType

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from features.errors import ConfigError, DataError, NotFoundError
from training.cli import main
from training.offpolicy.estimators import filled
from training.offpolicy.inference import Estimate
from training.offpolicy.models import Constant, Linear
from training.offpolicy.refusal import Refusal
from training.offpolicy.replay import Settings, replay
from training.offpolicy.targets import always, logging, policy_of, shares, uniform

LINEAR = Settings(model=Linear())


@pytest.mark.parametrize(
    "verb",
    [
        "replay --surface page.home --reward click --policy null", "train uplift --surface email --outcome click",
        "train slots --surface page.home --outcome click", "report money --month 2024-03",
        "report win-back --surface email --outcome click",
    ],
)  # fmt: skip
@pytest.mark.parametrize("days", ["inf", "1e300", "-1", "nan"])
def test_a_window_that_is_none_is_a_sentence(verb, days, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb.split(), "--window", days])
    assert ended.value.code == 2
    assert "--window" in capsys.readouterr().err


def test_the_logging_policy_against_itself(random_log):
    """Its value is the mean reward, the gain exactly 0 and the ratio exactly 1, by all estimators alike."""
    log = random_log(n=900)
    found = replay(log, logging, "visit", settings=LINEAR)
    assert found.estimates["ips"].value.value == pytest.approx(log.reward("visit").mean())
    for name, each in found.estimates.items():
        assert (each.gain.value, each.gain.error) == (0, 0), name
        assert each.ratio.value == 1, name
    assert found.pages == {}
    assert found.page_weights is None


def test_the_truth_lies_in_the_intervals_as_often_as_they_say(random_log):
    """Rewards are .2 + .1 a + .1 [x > 0]; the policy takes action 2 always. 120 draws; P(fewer than 105) is 3e-4."""
    truth = {"value": 0.45, "gain": 0.2, "ratio": 0.45 / 0.25}
    held = dict.fromkeys(((name, what) for name in ("ips", "snips", "dr", "sndr") for what in truth), 0)
    errors = []
    for seed in range(120):
        log = random_log(n=1000, seed=seed)
        found = replay(log, always("b"), "visit", against=always(None), settings=LINEAR).estimates
        for name, what in held:
            answer = getattr(found[name], what)
            held[name, what] += answer.low <= truth[what] <= answer.high
        errors.append((found["dr"].value.error, found["ips"].value.error))
    assert min(held.values()) >= 105, held
    assert np.mean([dr < ips for dr, ips in errors]) > 0.9


def test_a_refusal_stands_in_the_place_of_every_figure_and_no_model_is_fitted(make_log):
    """Also of the direct method: what was never tried is not extrapolated."""

    class Never:
        def fit(self, log, reward):
            raise AssertionError("fitted for nothing")

    log = make_log(np.tile([0.5, 0.5, 0.0], (400, 1)), np.arange(400) % 2, np.arange(400) % 2)
    found = replay(log, lambda log: np.tile([0.0, 0.0, 1.0], (len(log), 1)), "visit", settings=Settings(model=Never()))
    assert set(found.estimates) >= {"ips", "dm", "dr"}
    for each in found.estimates.values():
        assert isinstance(each.value, Refusal)
        assert set(each.value.codes) == {"effective-sample-size", "support", "mean-weight"}
        assert each.gain is each.value


def test_where_only_the_other_policy_cannot_be_valued_the_value_stands(make_log):
    """The difference and the ratio are refused."""
    chance = np.tile([0.5, 0.5, 0.0], (400, 1))
    log = make_log(chance, np.arange(400) % 2, np.arange(400) % 2)
    found = replay(log, uniform, "visit", against=lambda log: np.tile([0.0, 0.0, 1.0], (len(log), 1)), settings=LINEAR)
    each = found.estimates["ips"]
    assert isinstance(each.value, Estimate)
    assert isinstance(each.gain, Refusal)
    assert isinstance(each.ratio, Refusal)


def test_without_a_model_only_what_needs_none(random_log):
    """And with one that says nothing DR is IPS."""
    log = random_log(n=900)
    assert set(replay(log, uniform, "visit", settings=Settings(model=None)).estimates) == {
        "ips",
        "snips",
        "clipped-ips",
    }
    found = replay(log, uniform, "visit", settings=Settings(model=Constant())).estimates
    assert found["dr"] == found["ips"]
    assert found["sndr"] == found["snips"]


def test_what_does_not_count_is_counted(random_log):
    """Not usable, not known yet, and not recorded."""
    log = random_log(n=900)
    reward, usable, chance = log.reward("visit").copy(), np.ones(900, bool), log.propensity.copy()
    reward[:10], usable[5:25] = np.nan, False
    chance[30, log.action[30]] = np.nan
    partial = replace(log, rewards={"visit": reward}, usable=usable, propensity=chance)
    found = replay(partial, lambda log: np.full(log.propensity.shape, 1 / 3), "visit", settings=LINEAR)
    assert (found.unusable, found.unknown, found.diagnosis.whole.n) == (20, 6, 874)


def test_pages_are_valued_whole_where_they_have_two_slots(random_log):
    """Per page twice the mean of the slots; their weights are the products."""
    log = random_log(n=3000, seed=8)
    half = {"request": np.arange(3000) // 2, "subject": np.arange(3000) // 4,
            "position": (np.arange(3000) % 2).astype(np.int32)}  # fmt: skip
    paged = replace(log, **half)
    found = replay(paged, logging, "visit", settings=LINEAR)
    assert found.pages["rips"].value.value == pytest.approx(2 * log.reward("visit").mean())
    other = replay(paged, uniform, "visit", settings=LINEAR)
    assert other.page_weights.n == 1500
    assert other.page_weights.effective < other.diagnosis.whole.effective
    assert isinstance(other.pages["cascade-dr"].value, Estimate)
    few = replay(paged.take(np.arange(120)), uniform, "visit", settings=LINEAR)
    assert isinstance(few.pages["rips"].value, Refusal)


@given(st.integers(0, 999))
def test_policies_are_policies(random_log, seed):
    """Rows sum to 1, nothing where it is not eligible, and what they say on the tin."""
    log = random_log(seed=seed)
    chance = np.where(np.random.default_rng(seed).random(log.propensity.shape) < 0.3, 0, log.propensity)
    chance[np.arange(len(log)), log.action] += 1e-3
    chance /= chance.sum(axis=1, keepdims=True)
    some = replace(log, propensity=chance)
    mixed = shares({"email": {None: 0.25, "a": 0.75}})
    for policy in (uniform, logging, always("a"), always(None), mixed):
        found = policy(some)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert not found[chance == 0].any()
    can = chance[:, 1] > 0
    assert (always("a")(some)[can, 1] == 1).all()
    assert (always("a")(some)[~can & (chance[:, 0] > 0), 0] == 1).all()
    both = can & (chance[:, 0] > 0)
    np.testing.assert_allclose(mixed(some)[both, :2], [[0.25, 0.75]] * both.sum())
    assert (uniform(some) > 0).sum() == (chance > 0).sum()


def test_probabilities_that_nobody_recorded_share_what_is_left():
    """Evenly; a row without any is uniform over what was eligible."""
    nan = np.nan
    given_rows = np.array([[0.4, nan, nan], [0.0, nan, nan], [0.3, 0.7, 0.0]])
    np.testing.assert_allclose(filled(given_rows), [[0.4, 0.3, 0.3], [0.0, 0.5, 0.5], [0.3, 0.7, 0.0]])


def test_policies_by_name_and_from_a_file(tmp_path, random_log):
    """The words of the command line; the empty name in a file is the null action."""
    log = random_log()
    assert (policy_of("null")(log)[:, 0] == 1).all()
    assert (policy_of("always:b")(log)[:, 2] == 1).all()
    assert policy_of("uniform") is uniform
    file = tmp_path / "half.json"
    file.write_bytes(msgspec.json.encode({"email": {"": 0.5, "b": 0.5}}))
    np.testing.assert_allclose(policy_of(str(file))(log), [[0.5, 0, 0.5]] * len(log))


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"email": {"b": 0.5}}', "sum to 1"), ('{"email": {"b": 2}}', "no shares"), ("[1]", "no shares"), ("{", "no sh")],
)
def test_a_bad_file_is_refused(tmp_path, text, words):
    """With where and what."""
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        policy_of(str(file))


def test_policies_that_there_are_not(random_log, tmp_path):
    """Names of what there is come with it."""
    with pytest.raises(ConfigError, match="always:ACTION"):
        policy_of("always:")
    with pytest.raises(NotFoundError, match="no such file"):
        policy_of(str(tmp_path / "none.json"))
    with pytest.raises(DataError, match="it has: a, b"):
        always("c")(random_log())
    with pytest.raises(DataError, match="no shares for a slot"):
        shares({"hero": {None: 1.0}})(random_log())


@pytest.fixture
def printed(monkeypatch, random_log) -> io.StringIO:
    """What the command prints, over a log that stands for a dataset's."""
    log = random_log(n=2000, seed=4, request=np.arange(2000) // 2, subject=np.arange(2000) // 2,
                     position=(np.arange(2000) % 2).astype(np.int32))  # fmt: skip
    reading = ModuleType("training.uplift.reading")
    reading.read_log = lambda dataset, **given: log
    monkeypatch.setitem(sys.modules, "training.uplift.reading", reading)
    written = io.StringIO()
    monkeypatch.setattr("training.commands.replay.console", Console(file=written, width=140))
    return written


def test_the_command_prints_tables_and_writes_rows(printed, tmp_path):
    """Two policies, one of them refused; the rows say the same."""
    file = tmp_path / "rows.json"
    rare = tmp_path / "rare.json"
    rare.write_text('{"email": {"a": 1}}')
    with pytest.raises(SystemExit) as done:
        main(["replay", "--policy", "uniform", "--policy", str(rare), "--reward", "visit", "--model", "linear",
              "--against", "null", "--root", str(tmp_path), "--json", str(file)])  # fmt: skip
    assert done.value.code == 0
    text = printed.getvalue()
    assert "less null" in text
    assert "value of a page" in text
    rows = msgspec.json.decode(file.read_bytes())
    value = {(row["subject"], row["metric"]): row for row in rows}
    assert value["uniform", "value-dr"]["low"] < value["uniform", "value-dr"]["value"]
    assert value["uniform", "refused-dr"]["value"] == 0
    assert value["uniform", "page-value-cascade-dr"]["value"] > value["uniform", "value-dr"]["value"]


def test_a_refusal_is_printed_with_its_reason(printed, tmp_path, monkeypatch, random_log):
    """And null in the rows; exit code 0: it is an answer."""
    few = random_log(n=40)
    sys.modules["training.uplift.reading"].read_log = lambda dataset, **given: few
    file = tmp_path / "rows.json"
    with pytest.raises(SystemExit) as done:
        main(["replay", "--policy", "always:a", "--reward", "visit", "--root", str(tmp_path), "--json", str(file)])
    assert done.value.code == 0
    assert "No value of a decision. The effective sample size is" in printed.getvalue()
    rows = {row["metric"]: row["value"] for row in msgspec.json.decode(file.read_bytes())}
    assert (rows["value-ips"], rows["refused-ips"]) == (None, 1)


@pytest.mark.parametrize(
    ("given_options", "words"),
    [(["--policy", "best"], "no such policy"), (["--policy", "null", "--model", "forest"], "no such reward model")],
)
def test_the_command_refuses_what_it_does_not_know(printed, capsys, given_options, words):
    """One line, exit code 2."""
    with pytest.raises(SystemExit) as done:
        main(["replay", "--reward", "visit", *given_options])
    assert done.value.code == 2
    assert words in capsys.readouterr().err
