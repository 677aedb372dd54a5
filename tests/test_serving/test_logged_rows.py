"""Feature rows in a decision's JSON: what was shown comes back to the bit, from new logs and from old ones."""

from __future__ import annotations

import os
import tracemalloc

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.assemble import FEATURE_NAMES
from features.compiled import available, switched
from features.errors import DataError
from serving import pipeline, wire
from serving.decide import Decision, encoded, new_id
from serving.decision_drain import drain
from serving.export import export_customer
from serving.frames import frame, frames
from serving.logged_rows import packed, readable, rows_in
from serving.logged_rows_kernel import pack
from tests.test_serving.conftest import AS_OF

needs_kernels = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
FEW = [0.0, -0.0, 1.0, 65_535.0, 65_536.0, 0.5, -1.0, np.nan, np.inf, -np.inf, 1e-45]
"""Values that a column may hold more than once, and those at the ends of what two bytes hold."""
blocks = st.one_of(
    hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 5)), elements=st.floats(width=32)),
    hnp.arrays(np.float32, st.tuples(st.integers(0, 20), st.integers(0, 6)), elements=st.sampled_from(FEW)),
    hnp.arrays(np.float32, st.tuples(st.integers(0, 20), st.just(3)), elements=st.integers(0, 70_000).map(np.float32)),
)


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


def bits(rows: np.ndarray) -> list:
    """What makes two rows the same: also the sign of zero, and which of the many values that are no number it is."""
    return rows.view(np.uint32).tolist()


@pytest.mark.parametrize("kernels", [True, False])
@given(rows=blocks)
def test_rows_come_back_to_the_bit(kernels, rows):
    """Also what JSON has no word for: infinities, and the sign of zero; with kernels and where there are none."""
    with switched(kernels):
        told = orjson.loads(encoded(decision({"rows": rows})))["features"]["rows"]
    again = rows_in(told)
    assert again.dtype == np.float32 and again.shape == rows.shape and again.flags.c_contiguous
    assert bits(again) == bits(rows)


@pytest.mark.parametrize("bits_of", [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF])
def test_each_value_that_is_no_number_comes_back_as_it_is(bits_of):
    rows = np.array([[bits_of, 0], [bits_of, bits_of]], np.uint32).view(np.float32)
    assert bits(rows_in(packed(rows))) == bits(rows)


@needs_kernels
@given(
    counts=st.tuples(st.integers(0, 40), st.integers(0, 9)), seed=st.integers(0, 10**6), few=st.integers(1, len(FEW)),
)  # fmt: skip
def test_columns_take_no_more_bytes_than_were_meant_for_them(counts, seed, few):
    """A column is as long as it was said to be, whatever stands in it; nothing is written behind the last."""
    random = np.random.default_rng(seed)
    rows = random.choice(np.array(FEW, np.float32)[:few], counts)
    room = np.full(counts[1] * (5 + counts[0] // 8 + 4 * counts[0]) + 9, 77, np.uint8)
    size = pack(rows, room)
    assert size <= len(room) - 9 and (room[size:] == 77).all()
    assert bits(rows_in({"shape": rows.shape, "columns": room[:size].tobytes()})) == bits(rows)


@needs_kernels
def test_what_is_alike_in_all_rows_is_written_once():
    """Of one value 5 bytes; whole numbers 2 bytes a row; what changes twice: its bits, and three values."""
    alike, whole = np.full(20, 0.3, np.float32), np.arange(20, dtype=np.float32)
    twice = np.repeat(np.array([0.5, np.nan, 0.25], np.float32), [5, 10, 5])
    sizes = [len(packed(np.stack([each] * 2, axis=1))["columns"]) / 2 for each in (alike, whole, twice)]
    assert sizes == [1 + 4, 1 + 2 * 20, 1 + 3 + 3 * 4]


@needs_kernels
def test_columns_that_are_cut_off_or_altered_are_told_or_read_never_more():
    """Any piece of what was written is refused, and so is what has something behind it."""
    rows = np.array([[0.5, 1, 7, np.nan], [0.5, 2, 7, 0.1], [0.25, 900, 7, np.nan]], np.float32)
    told = packed(rows)
    whole = told["columns"]
    for piece in (*(whole[:at] for at in range(len(whole))), whole + b"\0"):
        with pytest.raises(DataError, match="feature rows that cannot be read"):
            rows_in({**told, "columns": piece})


@pytest.mark.parametrize("column", [bytes([3, 0, 0, 0, 0]), bytes([1, 0b110, *range(8)]), bytes([1, 0, *range(4)])])
def test_a_column_that_nobody_writes_is_refused(column):
    """Of no kind that there is; without a value in its first row; without any."""
    with pytest.raises(DataError, match="a column of no known kind"):
        rows_in({"shape": (3, 1), "columns": column})


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
    {"shape": [1, 1], "columns": "no base64!"}, {"shape": [1, 1], "columns": None}, {"shape": [-1, 1], "columns": ""},
])  # fmt: skip
def test_what_are_no_rows_is_told(told):
    with pytest.raises(DataError, match="feature rows that cannot be read"):
        rows_in(told)


@pytest.mark.parametrize("told", [
    {"shape": [1, 2**40], "columns": ""}, {"shape": [10**9, 1], "columns": bytes(5)},
    {"shape": [10**9, 0], "columns": ""}, {"shape": [10**9, 0], "float32": ""},
    {"shape": [0, 10**400], "columns": ""}, {"shape": [1, 10**400], "float32": ""},
    {"shape": [-1, 2], "float32": bytes(8)}, {"shape": [2, -1], "float32": bytes(8)}, {"shape": [-1, 0], "float32": ""},
    [[10**400]], [[1, -(10**400)]],
])  # fmt: skip
def test_few_bytes_that_say_they_are_many_rows_take_no_room(told):
    """They are told before there is room made for them; so are numbers that are none of rows or columns."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="feature rows that cannot be read"):
            rows_in(told)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_people_read_numbers():
    """Nested under `items` too; nothing else changes, and old ones stay as they are."""
    rows = np.array([[1.5, np.nan]], np.float32)
    for written in (packed(rows), {"shape": [1, 2], "float32": rows.tobytes()}):
        told = {"names": ["x"], "rows": [["a"]], "items": {"fingerprint": "f", "rows": written}, "pinned": ["a"]}
        assert readable(told) == {**told, "items": {"fingerprint": "f", "rows": [[1.5, None]]}}
    assert readable({"rows": [[1, None]]}) == {"rows": [[1, None]]}


def test_a_log_that_an_older_program_left_is_drained_and_exported(toy_engine, client):
    """All kinds of decisions lie in one folder of logs: all reach the store, and whoever asks reads numbers."""
    body = client.post("/v1/recommendations", content=orjson.dumps({"userId": "ann", "numResults": 3}))
    rows = np.array([[0.5, np.nan], [2.0, 3.0]], np.float32)
    made = {"fingerprint": "f", "as_of": 1, "rows": rows}
    with switched(False):
        newer = encoded(decision(made, decision_id="newer"))
    folder = toy_engine.shop.decision_logs
    older = [before(decision(made, decision_id="old")), newer]
    (folder / "00000000000000000001-w-1.log").write_bytes(b"".join(map(frame, older)))
    assert b'"float32"' in newer and drain(folder, toy_engine.store).added == 3
    found = {each["decisionId"]: each["features"] for each in export_customer(toy_engine, "ann")["decisions"]}
    assert found["old"]["rows"] == found["newer"]["rows"] == [[0.5, None], [2.0, 3.0]]
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


@pytest.mark.parametrize("kernels", [True, False])
@given(scores=hnp.arrays(np.float32, st.integers(0, 8), elements=st.floats(width=32, allow_nan=False)))
@example(scores=np.array([1 / 128, 3 / 128, 0.1, 0.9999995, -1e-9, 1e30, np.inf], np.float32))
def test_scores_are_rounded_at_once_as_each_alone_would_be(kernels, scores):
    """To the last bit, ties and signs of zero included: nobody sees from an answer how it was made."""
    each = [value if np.isinf(value) else round(value, 6) for value in scores.tolist()]
    with switched(kernels):
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
