"""What a bundle knows of hours and answers, from small worlds whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.build import histories_as_of
from features.moments import DAY, HOUR, parse_instant
from serving.questions import Hours, learned_of, rarity
from training.fitting import Cut
from training.hours import Looks, choose, hour_arrays, looks_of, smoothed, tables_of, unusual_shares, upper_tails
from training.prior import PriorParams
from training.questions import answers_of, question_arrays

START = parse_instant("2024-01-01T00:00:00Z")
PATHS = ("Home > Refrigerators", "Home > Lamps", "Food > Snacks", "Food > Tea")
DAYTIME = np.array([0.0] * 8 + [1.0] * 12 + [0.0] * 4)
ALWAYS = np.ones(24)


def looks(counts: dict[str, tuple[np.ndarray, int]], seed=0, devices=("mobile",)) -> Looks:
    """So many looks a category by its own hours, spread over a year."""
    random, rows = np.random.default_rng(seed), []
    for path, (odds, count) in counts.items():
        for hour in random.choice(24, count, p=odds / odds.sum()).tolist():
            rows.append((START + int(random.integers(0, 365)) * DAY + hour * HOUR, hour, PATHS.index(path)))
    time, hour, path = np.array(rows, np.int64).T
    return Looks(time, hour, random.integers(0, len(devices), len(time)), path, PATHS, devices)


def test_refrigerators_at_five_are_unusual_and_snacks_are_not() -> None:
    hours = Hours.from_arrays(hour_arrays(looks({PATHS[0]: (DAYTIME, 3_000), PATHS[2]: (ALWAYS, 3_000)})))
    assert rarity(hours, "mobile", 4, PATHS[0]).value < 0.02
    assert rarity(hours, "mobile", 12, PATHS[0]).value > 0.3
    assert min(rarity(hours, "mobile", hour, PATHS[2]).value for hour in range(24)) > 0.04


def test_few_looks_cry_no_wolf() -> None:
    """Categories differ here, so fifteen looks by day are no evidence of what happens at night."""
    world = {PATHS[0]: (DAYTIME, 3_000), PATHS[2]: (ALWAYS, 3_000), PATHS[3]: (np.roll(DAYTIME, 12), 3_000)}
    few = Hours.from_arrays(hour_arrays(looks(world | {PATHS[1]: (DAYTIME, 15)})))
    many = Hours.from_arrays(hour_arrays(looks(world | {PATHS[1]: (DAYTIME, 3_000)})))
    assert rarity(few, "mobile", 3, PATHS[1]).value > 0.05
    assert rarity(many, "mobile", 3, PATHS[1]).value < 0.02


def test_where_categories_are_alike_the_shop_speaks_for_the_few() -> None:
    same = dict.fromkeys(PATHS[1:], (DAYTIME, 2500))
    found = looks(same | {PATHS[0]: (DAYTIME, 5)})
    assert choose(found)[1] >= 100
    assert rarity(Hours.from_arrays(hour_arrays(found)), "mobile", 3, PATHS[0]).value < 0.02


def test_an_unusual_moment_is_as_seldom_as_its_threshold_says() -> None:
    evening = np.concatenate([np.full(8, 0.4), np.full(12, 5.0), np.full(4, 2.0)])
    arrays = hour_arrays(looks(dict.fromkeys(PATHS, (evening, 2_000))))
    shares = unusual_shares(arrays, looks(dict.fromkeys(PATHS, (evening, 2_000)), seed=1), (0.02, 0.05))
    assert set(shares) == {"all", "Home", "Food"}
    for share in shares.values():
        assert share[0] <= 0.025
        assert share[0] <= share[1] <= 0.055


@given(st.lists(st.integers(0, 50), min_size=24, max_size=24), st.integers(0, 23))
def test_the_clock_has_no_beginning(counts, turn: int) -> None:
    """Smoothing and tails turn with the clock, lose no look, and order hours as their shares do."""
    table = np.array(counts, float) + 0.5
    turned = upper_tails(smoothed(np.roll(table, turn)))
    assert turned == pytest.approx(np.roll(upper_tails(smoothed(table)), turn))
    assert smoothed(table).sum() == pytest.approx(table.sum())
    alpha = smoothed(table)
    tail = upper_tails(alpha)
    assert ((tail > 0) & (tail <= 1)).all()
    assert (np.diff(tail[np.argsort(alpha)]) >= -1e-9).all()
    assert tail[alpha.argmax()] == 1.0
    assert (tail >= [alpha[alpha <= each].sum() / alpha.sum() - 1e-9 for each in alpha]).all(), "an upper end"


def test_departments_and_the_shop_have_rows(tmp_path: Path) -> None:
    names, size, tail = tables_of(looks({PATHS[0]: (DAYTIME, 300), PATHS[2]: (ALWAYS, 200)}, devices=("mobile", "tv")))
    assert set(names) == {*PATHS, "Home", "Food"}
    rows = dict(zip(names, size.sum(axis=1), strict=False))
    assert rows["Home"] == rows[PATHS[0]] == 300
    assert size[-1].sum() == 500
    assert tail.shape == (7, 2, 24)


def test_a_browsing_frenzy_is_one_look(tmp_path: Path, make_dataset) -> None:
    """Hours are the shop's; what has no device or no category is no look, nor what happens after the moment."""
    at = parse_instant("2024-07-01T03:10:00Z")
    view = {"type": "view", "visitor_id": "v", "item_id": "cold", "device": "mobile"}
    events = [
        *({**view, "occurred_at": at + minute * 60_000_000} for minute in range(9)), {**view, "occurred_at": at + HOUR},
        {**view, "visitor_id": "w", "occurred_at": at}, {**view, "occurred_at": at, "device": None},
        {**view, "occurred_at": at, "item_id": "bare"}, {**view, "occurred_at": at, "type": "purchase"},
        {**view, "occurred_at": at + 9 * DAY},
    ]  # fmt: skip
    items = [{"item_id": "cold", "category": ["Home", "Refrigerators"]}, {"item_id": "bare"}]
    dataset = make_dataset(tmp_path, events=events, items=items)
    cut = Cut(histories_as_of(dataset, at + 5 * DAY), at + 5 * DAY, dataset=dataset, min_customers=1)
    found = looks_of(cut, "America/New_York")
    assert sorted(found.hour.tolist()) == [0, 23, 23]
    assert found.paths == ("Home > Refrigerators",)
    assert found.devices == ("mobile",)
    nothing = Cut(histories_as_of(dataset), at + 5 * DAY, min_customers=1)
    assert hour_arrays(looks_of(nothing, "UTC")) == {}


def world_of_answers(people: int, seed: int = 0, told: float = 0.5):
    """Half own a dog; owners click tips, others the offer; everybody answers first and then sees two pages."""
    random = np.random.default_rng(seed)
    events, decisions = [], []
    listed = [[None, 0.2], ["offer", 0.4], ["tips", 0.4]]
    for number in range(people):
        dog, at = bool(random.random() < told), START + number * HOUR
        who = {"visitor_id": f"v{number}"}
        answer = {"question": "pet", "answer": "dog" if dog else "none"}
        events.append({**who, "type": "answer", "occurred_at": at, "attributes": orjson.dumps(answer).decode(), "device": "mobile" if dog else "desk"})  # noqa: E501  # fmt: skip
        for page in range(2):
            action = (None, "offer", "tips")[int(random.choice(3, p=[0.2, 0.4, 0.4]))]
            made = f"d{number}-{page}"
            decisions.append({
                **who, "decision_id": made, "request_id": made, "decided_at": at + (page + 1) * HOUR, "policy": "p",
                "action_id": action, "action_propensity": 0.2 if action is None else 0.4,
                "eligible": orjson.dumps(listed).decode(),
            })  # fmt: skip
            liked = "tips" if dog else "offer"
            if action and random.random() < (0.5 if action == liked else 0.1):
                events.append({**who, "type": "click", "occurred_at": at + (page + 1) * HOUR + 5, "decision_id": made})
    return {"events": events, "decisions": decisions}


def test_what_an_answer_is_worth_comes_near_the_truth(tmp_path: Path, make_dataset) -> None:
    """0.5 x 0.5 + 0.5 x 0.5 with the answer, 0.3 without: 0.2."""
    dataset = make_dataset(tmp_path, **world_of_answers(1_200))
    arrays = question_arrays(dataset, START + 400 * DAY, "UTC")
    learned = learned_of(arrays)["pet"]
    assert learned.answers.arms == ("dog", "none")
    able = {"page.home/hero": ("offer", "tips")}
    untold = learned.gain({}, able)
    assert untold == pytest.approx(0.2, abs=0.04)
    assert learned.gain({"device": "mobile"}, able) < 0.3 * untold, "the device gives the answer away"
    assert learned.gain({}, {"page.home/hero": ("offer",)}) == 0


def test_with_few_answers_a_question_is_worth_nothing(tmp_path: Path, make_dataset) -> None:
    dataset = make_dataset(tmp_path, **world_of_answers(25))
    arrays = question_arrays(dataset, START + 400 * DAY, "UTC")
    assert learned_of(arrays)["pet"].gain({}, {"page.home/hero": ("offer", "tips")}) == 0
    assert question_arrays(dataset, START, "UTC", params=PriorParams(windows=1)) == {}, "nothing was answered by then"


def test_only_decisions_after_an_answer_speak_of_it(tmp_path: Path, make_dataset) -> None:
    made = world_of_answers(3)
    first = made["decisions"][0]
    made["decisions"].append({**first, "decision_id": "before", "decided_at": first["decided_at"] - 2 * HOUR})
    later = {
        **made["events"][0],
        "occurred_at": first["decided_at"] + 1,
        "attributes": '{"question":"pet","answer":"cat"}',
    }
    made["events"].append(later)
    dataset = make_dataset(tmp_path, **made)
    (found,) = answers_of(dataset, START + 400 * DAY, "UTC")
    assert found.options == tuple(sorted({*found.options}))
    assert len(found.before) == 6, "the decision before the answer says nothing"
    assert list(found.before.values()).count(found.options.index("cat")) == 1, "what was answered last counts"
    assert len(found.option) == 3, "each person once"
    declared = {"pet": [option for option in found.options if option != "cat"], "other": ["cat"]}
    (own,) = answers_of(dataset, START + 400 * DAY, "UTC", options=declared)
    assert "cat" not in own.options and "cat" in found.options, "somebody's own words are not learned"
    assert not answers_of(dataset, START + 400 * DAY, "UTC", options={"pet": ()})
    (left,) = answers_of(dataset, START + 400 * DAY, "UTC", erased=lambda subject: subject == "v:v1")
    assert len(left.option) == 2, "who asked to be forgotten is"
    assert len(left.before) == 4
