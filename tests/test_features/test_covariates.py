"""What serving reads of a subject is what the log holds and what training counts from events."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.build import histories_as_of
from features.covariates import KNOWN, PAST, VISIT, numbers, past_values, visit_values
from features.dataset import Dataset
from features.history import History, customer_subject
from features.moments import DAY, HOUR, parse_instant
from tests.test_uplift.drawn import START, dataset
from training.simulation import simulate
from training.simulation.locale import locale_of
from training.uplift.reading import read_log

KINDS = ("purchase", "view", "cart", "sent", "click", "wishlist")


def test_a_visit_by_hand() -> None:
    """Sunday 2024-03-10 in New York: 06:30 UTC is 01:30, 07:30 UTC is 03:30, for the clocks went forward."""
    told = {"device": "mobile", "traffic_source": None, "region": "NY", "known": True}
    first, second = (
        visit_values(parse_instant(f"2024-03-10T0{hour}:30Z"), "America/New_York", **told) for hour in (6, 7)
    )
    assert list(first) == list(VISIT)
    assert list(first.values()) == ["mobile", None, 1, 6, 3, "NY", True]
    assert second["hour"] == 3


def test_numbers_of_words() -> None:
    found = numbers(["b", "z", None, True, False, 3, "x"], [{"a": 0, "b": 1}] * 3 + [{}] * 4)
    assert found.dtype == np.float32
    assert found[0] == pytest.approx([1, np.nan, np.nan, 1, 0, 3, np.nan], nan_ok=True)
    assert numbers([True, 7], [{"false": 0, "true": 1}, {"7": 4}])[0].tolist() == [1, 4]


def test_nothing_is_known_of_a_stranger() -> None:
    told = past_values(History.empty(), START)
    assert tuple(told) == PAST
    assert told["days_since_order"] is told["days_known"] is None
    assert {told[name] for name in PAST[2:]} == {0.0}
    assert tuple(KNOWN) == (*VISIT, *PAST)


@settings(max_examples=8, deadline=None)
@given(st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from([0, 1, 27, 28, 29, 91, 200, 364, 365, 500]), st.integers(0, 3),
              st.sampled_from([0, 0, 2, 40]), st.sampled_from([None, 1.5, 20.0])), max_size=12,
))  # fmt: skip
def test_history_is_counted_as_training_counts_it(events) -> None:
    """SQL over the dataset's events and arrays over the mapped history: every column, whatever came late."""
    rows = [
        {"customer_id": "ann", "type": kind, "occurred_at": START - days * DAY - hour * HOUR - 1,
         "recorded_at": START - days * DAY - hour * HOUR - 1 + late * DAY, "unit_price": price, "quantity": 2.0,
         "order_id": f"o{number % 3}", **({"item_id": "i"} if kind != "sent" else {})}
        for number, (kind, days, hour, late, price) in enumerate(events)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made = dataset(
            Path(folder), decisions=[{"customer_id": "ann", "action_id": "a", "decided_at": START}], events=rows
        )
        log = read_log(made, surface="email", rewards=("click",), as_of=START + 50 * DAY, history=True)
        histories = histories_as_of(made, START + 50 * DAY)
    told = past_values(histories.of(customer_subject("ann")), START)
    found = numbers((told[name] for name in log.names), [{}] * len(log.names))
    assert log.names == PAST
    assert found[0] == pytest.approx(log.features[0], nan_ok=True, rel=1e-6)


def test_the_simulated_shop_logs_the_block_that_serving_reads(tmp_path: Path) -> None:
    """From a log's words and times the same function makes the row in it, and the codes that training has."""
    simulate(tmp_path / "d", size="tiny", seed=3)
    made = Dataset(tmp_path / "d")
    log = read_log(made, surface="page.home", rewards=("click",))
    assert log.names == VISIT
    codes = [{word: code for code, word in enumerate(words)} for words in log.words]
    with made.connect() as duck:
        rows = duck.execute("""SELECT features, epoch_us(decided_at), customer_id FROM decisions
                               WHERE surface = 'page.home' ORDER BY decided_at, decision_id""").fetchall()
    zones = {each.name: each.zone for each in locale_of("en").regions}
    for place in range(0, len(rows), max(1, len(rows) // 200)):
        logged, at, customer = rows[place]
        block = orjson.loads(logged)
        words = dict(zip(block["names"], block["rows"][0], strict=True))
        given = {name: words[name] for name in ("device", "traffic_source", "region")}
        assert visit_values(at, zones[words["region"]], **given, known=customer is not None) == words
        row = numbers(words.values(), codes)[0]
        assert row == pytest.approx(log.features[place], nan_ok=True)
