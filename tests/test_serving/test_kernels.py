"""Compiled kernels against numpy, on the same questions: what sources say, how lists are merged, whole slates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import compiled
from features.compiled import KERNELS, available, switched, warm
from features.confidence import ConfidenceParams, preferences
from features.history import History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from serving import slate_kernel
from serving.__main__ import main
from serving.candidates import Candidates, Opinion, Proposals, best
from serving.filters import COMMON, apply_filters
from serving.query import Filter, Query
from serving.ranker import Ranker
from serving.scoring import Blend, ranks_of
from serving.shelf import Shelf
from serving.slate import descending
from serving.sources import KINDS, build_sources
from serving.sources.edges import edges_of
from serving.sources.kernels import STRETCH, STRETCHES, given_most, neighbours, stretch
from serving.union import MOST_SOURCES, united

pytestmark = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
AS_OF = 20_000 * DAY
TYPES = st.sampled_from(["view", "purchase", "return", "wishlist", "wishlist_remove", "cart", "search"])
ITEM_IDS = st.sampled_from([f"{group}{number}" for group in "ab" for number in range(4)])
EVENTS = st.lists(st.tuples(TYPES, ITEM_IDS, st.floats(0.0001, 400)), max_size=25)
SCORES = st.one_of(st.sampled_from([np.nan, np.inf, -np.inf, -3.4e38, 0.0, 1.0]), st.floats(-2, 2, width=32))


def priced(past: History, seed: int) -> History:
    """The same events with prices, some of them unknown, and amounts."""
    random = np.random.default_rng(seed)
    value = np.where(random.random(len(past)) < 0.3, np.nan, random.random(len(past)) * 9).astype(np.float32)
    quantity = random.choice([1.0, 2.0, 3.0], len(past)).astype(np.float32)
    return History(past.time, past.recorded, past.item, past.type, quantity, value, past.key)


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(events=EVENTS, seed=st.integers(0, 9), count=st.integers(0, 9))
def test_a_source_says_the_same(kind, toy_bundle, history_of, events, seed, count):
    """Opinions, proposals, and what it says of given items."""
    source = next(each for each in build_sources(toy_bundle).values() if type(each) is KINDS[kind])
    past, asked = priced(history_of(*events), seed), np.array([0, 2, 3, 5, 7], np.int32)
    said = source.opine(Query(now=AS_OF, history=past))
    told, proposed = np.empty((5, 2), np.float32), said.best(count)
    said.tell(asked, told, 1)
    with switched(False):
        plain = source.opine(Query(now=AS_OF, history=past))
        assert said.items.tolist() == plain.items.tolist()
        np.testing.assert_allclose(said.scores, plain.scores, rtol=2e-6, atol=1e-7)
        np.testing.assert_allclose(told[:, 1], plain.of(asked), rtol=2e-6, atol=1e-7)
        assert proposed.items.tolist() == best(said.scores, said.items, count).items.tolist()


@given(
    events=EVENTS, seed=st.integers(0, 9), quantity=st.sampled_from([0.0, 0.5]), damped=st.booleans(),
    most=st.integers(0, 5),
)  # fmt: skip
def test_preferences_are_the_same(history_of, events, seed, quantity, damped, most):
    past, params = priced(history_of(*events), seed), ConfidenceParams(quantity=quantity, damped=damped)
    items, weights = preferences(past, AS_OF, params, most=most)
    with switched(False):
        plain = preferences(past, AS_OF, params, most=most)
    assert items.tolist() == plain[0].tolist()
    np.testing.assert_allclose(weights, plain[1], rtol=3e-6, atol=2e-7)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "numpy"])
@given(days=st.lists(st.integers(1, 3), min_size=1, max_size=12), most=st.integers(1, 13), halved=st.booleans())
def test_the_foremost_of_the_past_are_those_of_the_highest_confidence(days, most, halved, kernels):
    """Ties go to the lower item, items stay ascending, and no weight changes; what is no longer than that is whole."""
    count, item = len(days), np.arange(len(days), dtype=np.int32)
    time = AS_OF - np.array(days) * DAY
    past = History(
        time, time, item, np.full(count, EventType.PURCHASE, np.int8), np.ones(count, np.float32),
        np.ones(count, np.float32), item.astype(np.uint64),
    )  # fmt: skip
    params = ConfidenceParams(half_life_days=1.0 if halved else 1e12)  # or all alike
    with switched(kernels):
        everything, foremost = (preferences(past, AS_OF, params, most=limit) for limit in (0, most))
    order = sorted(range(count), key=lambda at: (-everything[1][at], at))
    assert foremost[0].tolist() == sorted(order[:most])
    assert foremost[1].tolist() == everything[1][foremost[0]].tolist()


@given(EVENTS, st.sampled_from([(), ("purchased",), ("viewed", "wished")]), st.integers(1, 8), st.integers(0, 3))
def test_slates_are_the_same(toy_bundle, history_of, events, exclude, places, withdrawn):
    """The same items in the same order from the same sources, with the same reasons for what left."""
    shelf = Shelf(toy_bundle)
    shelf.apply([(f"a{number}", {"withdraw": True}) for number in range(withdrawn)] + [("b3", {"inStock": False})])
    query = Query(now=AS_OF, history=history_of(*events), filter=Filter(exclude=exclude), num_results=places)
    ranker = Ranker(toy_bundle, shelf)
    found = ranker.rank(query)
    with switched(False):
        plain = ranker.rank(msgspec.structs.replace(query, history=history_of(*events)))
    assert found.items.tolist() == plain.items.tolist()
    assert found.sources == plain.sources
    np.testing.assert_allclose(found.scores, plain.scores, rtol=1e-5, atol=1e-7)
    told = [[(reason, rows.tolist()) for reason, rows in each.considered.removed] for each in (found, plain)]
    assert told[0] == told[1]


@given(st.lists(SCORES, max_size=40), st.integers(0, 12))
def test_the_best_are_the_same(scores, count):
    """Sentinels and what is not finite never come through; ties go by item."""
    given_scores, items = np.array(scores, np.float32), np.arange(len(scores), dtype=np.int32)[::-1].copy()
    found = best(given_scores, items, count)
    with switched(False):
        plain = best(given_scores, items, count)
    assert found.items.tolist() == plain.items.tolist()
    assert found.scores.tolist() == plain.scores.tolist()


def opinion_of(said: dict[int, float], ranked: bool) -> Opinion:
    """As a source has it; `ranked`: as one that knows the order beforehand."""
    items, scores = np.array(sorted(said), np.int32), np.array([said[item] for item in sorted(said)], np.float32)
    if not ranked:
        return Opinion(items, scores)
    order = np.flatnonzero(np.isfinite(scores) & (scores > -1e30))
    order = order[np.argsort(-scores[order], kind="stable")]
    return Opinion(items, scores, Proposals(items[order], scores[order]))


NAMES = Vocabulary.of([f"i{number:02d}" for number in range(91)])


def shelf_of(random: np.random.Generator, mixed: bool, names: Vocabulary = NAMES) -> Shelf:
    """Items of which some are away for each reason, where it is mixed; some come back."""
    away, count = random.random((5, len(names))) < 0.15 * mixed, len(names)
    shared = SimpleNamespace(price=np.ones(count, np.float32), category=random.integers(-1, 4, count).astype(np.int32))
    arrays = {"item.in_stock": ~away[0]}
    shelf = Shelf(SimpleNamespace(items=names, arrays=arrays, shared=shared, catalogue=~away[1]))  # type: ignore[arg-type]
    for name in (names[row] for row in np.flatnonzero(away[2]).tolist()):
        shelf.apply([(name, {"withdraw": True, "inStock": bool(random.random() < 0.5)})])
    shelf.stop([names[row] for row in np.flatnonzero(away[3]).tolist()])
    shelf.apply([(names[row], {"withdraw": False, "inStock": True}) for row in np.flatnonzero(away[4]).tolist()])
    return shelf


def of_past(viewed: int, bought: Iterable[int] = ()) -> History:
    """So many items were looked at, and some bought."""
    items = np.array([*range(viewed), *bought], np.int32)
    column, kinds = np.arange(len(items)), np.full(len(items), EventType.PURCHASE, np.int8)
    kinds[:viewed] = EventType.VIEW
    ones = np.ones(len(items), np.float32)
    return History(column, column, items, kinds, ones, ones, column.astype(np.uint64))


class Burying:
    """A business that buries some items."""

    def __init__(self, items: np.ndarray) -> None:
        self.items = items

    def buried(self, query: Query) -> np.ndarray:
        return self.items


def assert_united_alike(
    heard: dict[str, Opinion], count: int, most: int, bought: np.ndarray, shelf: Shelf, query: Query,
    business: Any = None,
) -> tuple[Candidates, Candidates]:  # fmt: skip
    """By the kernel and by numpy: items, what was said of them, what left and why, and in which place they stood."""
    found = united(heard, count, most, bought, shelf, query, business)
    with switched(False):
        plain = united(heard, count, most, bought, shelf, query, business)
    assert found.items.tolist() == plain.items.tolist()
    np.testing.assert_array_equal(found.scores, plain.scores)
    np.testing.assert_array_equal(found.opinions, plain.opinions)
    told = [[(why, rows.tolist()) for why, rows in each.removed] for each in (found, plain)]
    assert told[0] == told[1]
    if found.ranks is not None:
        np.testing.assert_array_equal(found.ranks, ranks_of(plain.scores))
    return found, plain


@given(
    st.lists(st.tuples(st.dictionaries(st.integers(0, 90), SCORES, max_size=12), st.booleans()), max_size=4),
    st.integers(0, 9), st.integers(0, 20), st.sets(st.integers(0, 90), max_size=5), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_unions_are_the_same(several, count, most, bought, seed):
    """What some propose beside what is bought, what others know, what filters take out, and how far the rounds go."""
    random = np.random.default_rng(seed)
    heard = {f"s{at}": opinion_of(*said) for at, said in enumerate(several)}
    owned, shelf = np.array(sorted(bought), np.int32), shelf_of(random, seed % 3 > 0)
    business = Burying(random.random(91) < 0.1) if seed % 5 == 0 else None
    excluded = [("viewed",), (), ("purchased",), ("purchased", "viewed")][seed // 2 % 4]
    query = Query(
        now=AS_OF, history=of_past(seed % 11, bought), barred=(2,) if seed % 7 == 0 else (),
        filter=Filter(in_stock=seed % 2 == 0, exclude=excluded),
    )  # fmt: skip
    found, plain = assert_united_alike(heard, count, most, owned, shelf, query, business)
    out = np.full((len(found), 1 + 2 * len(several)), 7, np.float32)
    slate_kernel.told(found.scores, found.opinions, 1, out)
    expected = np.hstack([np.full((len(found), 1), 7), plain.opinions, ranks_of(plain.scores)])
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("seed", range(24))
def test_unions_of_long_lists_are_the_same(seed):
    """Of thousands that a source knows few are looked up; some are all alike, and many were bought."""
    random = np.random.default_rng(seed)
    names = Vocabulary.of([f"i{number:04d}" for number in range(6_000)])
    heard, values = {}, (2, 30, 100_000)[seed % 3]
    for at in range(3):
        items = np.sort(random.choice(len(names), 4_000, replace=False)).astype(np.int32)
        scores = random.integers(values, size=4_000) if seed % 2 else np.sort(random.integers(values, size=4_000))
        heard[f"s{at}"] = Opinion(items, scores.astype(np.float32))
    bought = np.sort(random.choice(len(names), (0, 600, 5_900)[seed % 4 % 3], replace=False)).astype(np.int32)
    query = Query(now=AS_OF, history=of_past(0, bought), filter=Filter(exclude=("purchased",)))
    assert_united_alike(heard, 40, 60, bought, shelf_of(random, True, names), query)


SOME = Vocabulary.of([f"i{number:03d}" for number in range(300)])
ODD = np.array([np.nan, np.inf, -np.inf, -1e30, -3e38, 3e38, 1e-38, -0.0, 0.0, -1.0, 1.0], np.float32)


@pytest.mark.parametrize("seed", range(80))
def test_unions_of_which_most_was_bought_are_the_same(seed):
    """With rows that nobody knows among what was bought, scores that are none, and lists in an order of their own."""
    random, heard = np.random.default_rng(seed), {}
    for at in range(int(random.integers(1, 4))):
        items = np.sort(random.choice(300, random.integers(301), replace=False)).astype(np.int32)
        scores = (random.choice(ODD, len(items)) if seed % 2 else random.integers(50, size=len(items))).astype(
            np.float32
        )
        heard[f"s{at}"] = Opinion(items, scores, best(scores, items, 300) if random.random() < 0.5 else None)
    bought = np.sort(random.choice(320, random.choice([0, 3, 60, 290]), replace=False)).astype(np.int32)
    if len(bought) and seed % 3 == 0:
        bought[0], bought[-1] = -1, 5_000
    count, most = int(random.choice([1, 5, 40, 300])), int(random.choice([0, 1, 3, 20]))
    excluded = [("purchased",), (), ("purchased", "viewed")][seed // 2 % 3]
    query = Query(now=AS_OF, history=of_past(9, bought), filter=Filter(exclude=excluded))
    assert_united_alike(heard, count, most, bought, shelf_of(random, seed % 4 > 0, SOME), query)


@pytest.mark.parametrize("sources", [1, MOST_SOURCES, MOST_SOURCES + 1])
def test_any_number_of_sources_is_united(sources):
    """One alone, as many as a kernel hears, and one more."""
    random, nobody = np.random.default_rng(sources), np.empty(0, np.int32)
    names = Vocabulary.of([f"i{number:04d}" for number in range(9_000)])  # more than one block of marks
    some = [np.sort(random.choice(len(names), 800, replace=False)).tolist() for _ in range(sources)]
    heard = {
        f"s{at}": opinion_of(dict(zip(each, random.random(800).tolist(), strict=True)), at % 3 == 0)
        for at, each in enumerate(some)
    }
    query, shelf = Query(now=AS_OF, history=History.empty()), shelf_of(random, True, names)
    found, plain = assert_united_alike(heard, 20, 30, nobody, shelf, query)
    assert found.sources == plain.sources


@given(st.lists(st.lists(st.sampled_from([np.nan, 0.0, -0.0, 1.0, 2.0]), min_size=2, max_size=2), max_size=9))
def test_ranks_of_many_are_those_of_few(rows):
    """Counted and sorted ranks are the same, ties included."""
    scores = np.array(rows, np.float32).reshape(-1, 2)
    many = np.concatenate([scores, np.full((300, 2), -1, np.float32)])
    few, all_of_them = (np.empty((len(each), 4), np.float32) for each in (scores, many))
    slate_kernel.told(scores, scores, 0, few)
    slate_kernel.told(many, many, 0, all_of_them)
    np.testing.assert_array_equal(few, all_of_them[: len(scores)])
    np.testing.assert_array_equal(all_of_them[:, 2:], ranks_of(many))


@given(
    st.lists(
        st.lists(st.one_of(st.sampled_from([np.nan, 1e-30]), st.floats(-2, 2, width=32, allow_subnormal=False)),
                 min_size=3, max_size=3),
        max_size=9,
    ),
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3),
)  # fmt: skip
def test_a_blend_is_the_same(rows, weights):
    """Also of sources that say nothing, or nothing above zero."""
    scores = np.array(rows, np.float32).reshape(-1, 3)
    names = ("a", "b", "c")
    found = Candidates(np.arange(len(scores), dtype=np.int32), names, scores, scores)
    blend, asked = Blend(dict(zip(names, weights, strict=True))), Query(now=AS_OF, history=History.empty())
    said, leading = blend.score(asked, found)
    with switched(False):
        plain, lead = blend.score(asked, found)
    np.testing.assert_allclose(said, plain, rtol=1e-6, atol=1e-7)
    assert leading.tolist() == lead.tolist()


@given(st.lists(SCORES, max_size=30))
def test_the_order_is_the_same(scores):
    """Both zeros are one, and what is no number has no place."""
    given_scores = np.array(scores, np.float32)
    found = descending(given_scores)
    with switched(False):
        assert found.tolist() == descending(given_scores).tolist()


@given(st.dictionaries(st.integers(0, 400), SCORES, max_size=150), st.sets(st.integers(0, 410), max_size=30))
def test_looking_up_is_the_same(said, asked):
    """For items before, between and behind those that are known."""
    known, wanted = opinion_of(said, False), np.array(sorted(asked), np.int32)
    out = np.full((len(wanted), 2), 7, np.float32)
    known.tell(wanted, out, 1)
    np.testing.assert_array_equal(out[:, 1], known.of(wanted))


def test_common_filters_tell_every_reason(toy_bundle):
    """The first reason counts, in the order of the filters; what is not in stock stays where that was not asked."""
    shelf = Shelf(toy_bundle)
    shelf.apply([("a0", {"withdraw": True, "inStock": False}), ("a1", {"inStock": False})])
    shelf.stop(["a0", "a2"])
    rows = np.arange(8, dtype=np.int32)
    nothing = np.empty((8, 0), np.float32)
    for in_stock in (True, False):
        query = Query(now=AS_OF, history=History.empty(), barred=(1,), filter=Filter(in_stock=in_stock))
        found = apply_filters(shelf, query, Candidates(rows, (), nothing, nothing))
        with switched(False):
            plain = apply_filters(shelf, query, Candidates(rows, (), nothing, nothing))
        told = [[(reason, items.tolist()) for reason, items in each.removed] for each in (found, plain)]
        assert told[0] == told[1]
        assert [reason for reason, _ in found.removed] == [
            each for each in COMMON[1:] if each != "buried" and (in_stock or "stock" not in each)
        ]


def test_scipy_is_hidden_while_anybody_compiles(monkeypatch):
    """Two threads may, and one of them within the other's time: who is first to end takes nothing from the other."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    with compiled._without_scipy():
        with compiled._without_scipy():
            assert sys.modules["scipy"] is None
        assert sys.modules["scipy"] is None
    assert "scipy" not in sys.modules

    failed, together = [], threading.Barrier(2)

    def compiles() -> None:
        together.wait()
        try:
            with compiled._without_scipy():
                time.sleep(0.02)
        except KeyError as error:
            failed.append(error)

    both = [threading.Thread(target=compiles) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert not failed


def test_every_kernel_compiles(capsys):
    """Also those that no test calls: a worker warms them all at its start, or whoever builds its image does."""
    assert warm() == len(KERNELS) > 10
    assert main(["compile"]) == 0
    assert json.loads(capsys.readouterr().out) == {"kernels": len(KERNELS)}


def test_a_worker_that_may_write_nowhere_takes_over_what_was_compiled_before(tmp_path):
    """It works with a copy, finds every kernel there, and leaves no copy behind."""
    built, own = tmp_path / "built", tmp_path / "own"
    own.mkdir()
    told = "import features.compiled as c, features.confidence as p; import sys, numba; {}"
    compiling = told.format("p._preferred.warm()")
    asking = told.format("p._preferred.warm(); print(sum(p._preferred.warm().stats.cache_hits.values()))")

    def run(code: str, **settings: str) -> str:
        environment = {**os.environ, "TMPDIR": str(own), **settings}
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
        )
        return found.stdout.strip()

    run(compiling, NUMBA_CACHE_DIR=str(built))
    assert run(asking, KOKYAKU_COMPILED=str(built)) == "1"
    assert list(own.iterdir()) == []


@pytest.mark.parametrize("seed", range(20))
def test_causes_are_those_that_give_most(seed):
    """Also at the beginning or the end of a list, where it stands twice, where it does not, and in an empty one."""
    random = np.random.default_rng(seed)
    lists = [np.sort(random.integers(12, size=size)).astype(np.int32) for size in random.choice([0, 4, 20], 12)]
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in lists])])
    indices = np.concatenate(lists)
    weights = random.normal(size=len(indices)).astype(np.float32)
    past, items = np.sort(random.choice(12, 5, replace=False)).astype(np.int32), np.arange(12, dtype=np.int32)
    given, causes = random.random(5).astype(np.float32), np.empty(12, np.int32)
    told = edges_of({"indices": indices, "weights": weights})
    given_most(past, given, indptr, told, told.view(np.float32), items, causes)
    said = np.zeros((12, 5), np.float32)
    for row, at in np.ndindex(12, 5):
        edges = slice(indptr[past[at]], indptr[past[at] + 1])
        said[row, at] = (weights[edges] * given[at] * (indices[edges] == items[row])).max(initial=0)
    assert causes.tolist() == np.where(said.max(axis=1) > 0, past[said.argmax(axis=1)], -1).tolist()


def test_neighbours_ask_the_memory_ahead():
    """Whether they do is seen in the machine's code alone: what they find would be the same."""
    types = tuple(compiled._type(each.strip()) for each in neighbours.signature.split(","))
    (code,) = compiled.numba.njit(types)(neighbours.function).inspect_llvm().values()
    assert code.count("call void @llvm.prefetch") >= 3


@pytest.mark.parametrize(
    "items", [0, 1, STRETCHES << STRETCH, (STRETCHES << STRETCH) + 1, 300_000, 1_000_000, 2**31 - 1]
)
def test_a_catalogue_is_added_up_in_few_stretches(items):
    """Of a power of two each, none shorter than need be."""
    wide = stretch(items)
    assert wide & (wide - 1) == 0 and wide >= 1 << STRETCH
    assert items <= STRETCHES * wide
    assert wide == 1 << STRETCH or items > STRETCHES * wide // 2


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("wide", [1 << STRETCH, 2 << STRETCH])
@pytest.mark.parametrize("count", [300, 2 << STRETCH, (5 << STRETCH) + 7])
def test_neighbours_leave_their_tables_clean(seed, count, wide):
    """Sums that come to nothing are no neighbours, and what one customer's come to is nothing to the next.

    Items of one stretch or of several, to the last of them.
    """
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 40, count)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices, weights = random.integers(0, count, indptr[-1]).astype(np.int32), random.normal(size=indptr[-1])
    weights = np.where(random.random(len(weights)) < 0.2, 0, weights).astype(np.float32)
    sums, marks = np.zeros(wide), np.zeros(wide // 64, np.uint64)
    indices[: len(indices) // 9] = count - 1
    order = np.lexsort((indices, np.repeat(np.arange(count), lengths)))  # those of an item ascend
    indices, weights = indices[order], weights[order]
    told = edges_of({"indices": indices, "weights": weights})
    for many in (0, 1, 3, 4, 5, 30, 200):
        items = np.sort(random.choice(count, many, replace=False)).astype(np.int32)
        given = random.random(many).astype(np.float32)
        found, scores = neighbours(items, given, indptr, told, told.view(np.float32), sums, marks)
        expected = np.zeros(count)
        for item, by in zip(items, given, strict=True):
            edges = slice(indptr[item], indptr[item + 1])
            np.add.at(expected, indices[edges], weights[edges] * by)
        assert found.tolist() == np.flatnonzero(expected.astype(np.float32)).tolist()
        np.testing.assert_array_equal(scores, expected[found].astype(np.float32))
        assert not sums.any()
        assert not marks.any()
