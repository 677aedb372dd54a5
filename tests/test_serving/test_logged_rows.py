"""Feature rows in a decision's JSON: what was shown comes back to the bit, from new logs and from old ones."""

from __future__ import annotations

import os

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.assemble import FEATURE_NAMES
from features.errors import DataError
from serving import pipeline, wire
from serving.decide import Decision, encoded, new_id
from serving.decision_drain import drain
from serving.export import export_customer
from serving.frames import frame, frames
from serving.logged_rows import packed, readable, rows_in
from tests.test_serving.conftest import AS_OF

blocks = hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 5)), elements=st.floats(width=32))


def decision(features, **fields) -> Decision:
    made = {
        "decision_id": "d", "request_id": "r", "decided_at": AS_OF, "surface": "s", "slot": "list", "position": 0,
        "draw_order": 0, "eligible": [("a", 0.25), (None, 0.75)], "vetoed": [("b", "why")], "action_id": "a",
        "items": ["名前", "a1"], "action_propensity": 0.25, "policy": "p", "bundle_id": "b", "shop_hash": "h",
        "holdout": False, "customer_id": "ann", **fields,
    }  # fmt: skip
    return Decision(features=features, **made)


def before(made: Decision) -> bytes:
    """How decisions were written when their rows were lists of numbers."""
    return orjson.dumps(msgspec.structs.asdict(made), option=orjson.OPT_SERIALIZE_NUMPY)


@given(rows=blocks)
def test_rows_come_back_to_the_bit(rows):
    """Also what JSON has no word for: infinities, and the sign of zero."""
    told = orjson.loads(encoded(decision({"rows": rows})))["features"]["rows"]
    again = rows_in(told)
    assert again.dtype == np.float32 and again.shape == rows.shape
    np.testing.assert_array_equal(np.signbit(again) & ~np.isnan(rows), np.signbit(rows) & ~np.isnan(rows))
    np.testing.assert_array_equal(again, rows)


@given(rows=hnp.arrays(np.float32, (2, 3), elements=st.floats(width=32, allow_infinity=False)))
def test_logs_of_older_programs_are_read_alike(rows):
    """Lists of numbers, with null where nothing was known."""
    made = decision({"fingerprint": "f", "as_of": 1, "rows": rows})
    old, new = orjson.loads(before(made)), orjson.loads(encoded(made))
    np.testing.assert_array_equal(rows_in(old["features"].pop("rows")), rows_in(new["features"].pop("rows")))
    assert old == new


@given(
    told=st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5))),
    odds=st.floats(0, 1), holdout=st.booleans(), at=st.integers(0, 2**53), names=st.lists(st.text(max_size=5)),
)  # fmt: skip
def test_all_else_of_a_decision_is_written_as_before(told, odds, holdout, at, names):
    """The row of a subject with its names, numpy's own numbers, texts of any characters."""
    made = decision(
        {"names": list(told), "rows": [list(told.values())], "pinned": names}, items=names, holdout=holdout,
        decided_at=np.int64(at), action_propensity=np.float64(odds), eligible=[("a", np.float64(odds))],
        context={"device": "phone"}, fallback=None if holdout else "why",
    )  # fmt: skip
    assert orjson.loads(encoded(made)) == orjson.loads(before(made))


def test_what_no_decision_holds_is_refused():
    with pytest.raises(TypeError, match="holds a object"):
        encoded(decision({"rows": object()}))


@pytest.mark.parametrize("told", [
    {"shape": [1, 2]}, {"shape": [1, 3], "float32": "AAAAAAAAAAA="}, {"shape": [1, 2], "float32": "no base64!"},
    {"shape": "x", "float32": "AAAAAAAAAAA="}, {"shape": [1], "float32": None}, [["text"]], "rows",
])  # fmt: skip
def test_what_are_no_rows_is_told(told):
    with pytest.raises(DataError, match="feature rows that cannot be read"):
        rows_in(told)


def test_people_read_numbers():
    """Nested under `items` too; nothing else changes, and old ones stay as they are."""
    rows = np.array([[1.5, np.nan]], np.float32)
    told = {"names": ["x"], "rows": [["a"]], "items": {"fingerprint": "f", "rows": packed(rows)}, "pinned": ["a"]}
    assert readable(told) == {**told, "items": {"fingerprint": "f", "rows": [[1.5, None]]}}
    assert readable({"rows": [[1, None]]}) == {"rows": [[1, None]]}


def test_a_log_that_an_older_program_left_is_drained_and_exported(toy_engine, client):
    """Both kinds of decisions lie in one folder of logs: both reach the store, and whoever asks reads numbers."""
    body = client.post("/v1/recommendations", content=orjson.dumps({"userId": "ann", "numResults": 3}))
    rows = np.array([[0.5, np.nan], [2.0, 3.0]], np.float32)
    old = decision({"fingerprint": "f", "as_of": 1, "rows": rows}, decision_id="old")
    folder = toy_engine.shop.decision_logs
    (folder / "00000000000000000001-w-1.log").write_bytes(frame(before(old)))
    assert drain(folder, toy_engine.store).added == 2
    found = {each["decisionId"]: each["features"] for each in export_customer(toy_engine, "ann")["decisions"]}
    assert found["old"]["rows"] == [[0.5, None], [2.0, 3.0]]
    new = found[body.json()["decisionId"]]["rows"]
    assert (len(new), len(new[0])) == (3, len(FEATURE_NAMES))


def test_a_log_holds_what_was_known_of_the_items(toy_engine):
    """The rows in the log are those of the features that the ranker reads, for the items in their order."""
    answer = pipeline.recommend(toy_engine, wire.RecommendationsRequest(user_id="ann", num_results=4), AS_OF)
    (path,) = [each for each in toy_engine.shop.decision_logs.iterdir() if each.stat().st_size]
    told = next(orjson.loads(payload) for _, _, payload in frames(path.read_bytes()))
    rows = rows_in(told["features"]["rows"])
    shared = toy_engine.live.bundle.shared
    prices = shared.price[toy_engine.live.bundle.items.rows_of([each["itemId"] for each in answer["itemList"]])]
    np.testing.assert_array_equal(rows[:, FEATURE_NAMES.index("item_price")], prices)


@given(hnp.arrays(np.float32, st.integers(0, 8), elements=st.floats(width=32, allow_nan=False)))
@example(np.array([1 / 128, 3 / 128, 0.1, 0.9999995, -1e-9, 1e30, np.inf], np.float32))
def test_scores_are_rounded_at_once_as_each_alone_would_be(scores):
    """To the last bit, ties and signs of zero included: nobody sees from an answer how it was made."""
    each = [value if np.isinf(value) else round(value, 6) for value in scores.tolist()]
    assert list(map(repr, pipeline.rounded(scores))) == list(map(repr, each))


def test_ids_are_new_and_in_the_order_of_time(monkeypatch):
    """An index over them grows at its end; beside the moment there are 80 random bits, so nobody guesses one."""
    made = [new_id() for _ in range(2_000)]
    assert len(set(made)) == 2_000 and {len(each) for each in made} == {32}
    assert set("".join(made)) <= set("0123456789abcdef")
    moments = [each[:12] for each in made]
    assert moments == sorted(moments)
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_000_000)
    alike = {new_id() for _ in range(1_000)}
    assert len({each[:12] for each in alike}) == 1 and len({each[12:] for each in alike}) == 1_000


def test_a_child_gives_none_of_its_parents_ids():
    """Random bits wait for their ids, and a fork would copy them."""
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 32).decode()
    for end in (reading, writing):
        os.close(end)
    assert len(theirs) == 32 and theirs[12:] != new_id()[12:]
