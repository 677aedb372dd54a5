"""Popularity by context: cells follow their own sales where they have many, and the cells above where they have few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import columns as c
from features.build import histories_as_of
from features.dataset import Dataset
from features.history import History
from features.ids import Vocabulary
from features.moments import DAY, HOUR, SEASONS, parse_instant
from serving.bundle import Bundle
from serving.prior import DIMENSIONS
from serving.query import Context, Query
from serving.recipe import Recipe, SourceSpec
from serving.sources import build_sources
from serving.sources.context import cell_key
from tests.test_training.test_fitting import histories_of
from training.context import (
    ContextPopularityParams,
    choose_strengths,
    fit_context_popularity,
    level_of,
    sales_of,
    seasons_of,
    shares,
    shop_shares,
)
from training.fitting import Cut, fit_bundle
from training.known import Dimension, contexts_of
from training.material import regions_of

NOW = parse_instant("2024-07-01T00:00:00Z")
TODAY = NOW / DAY
SPEC = SourceSpec("here", "context-popularity", "context-popularity", {"least_customers": 5})
PARAMS = ContextPopularityParams(least_customers=5)


def cut_of(
    seed: int = 0, customers: int = 400, days: float = 120.0, told: tuple[str, ...] = ("region", "device")
) -> Cut:
    """In the north items 0 and 1 sell, in the south 2 and 3; on the phone the odd ones of them; elsewhere all alike.

    Sources say nothing. `told` are the contexts that the shop records.
    """
    random, lines, codes = np.random.default_rng(seed), [], []
    for customer in range(customers):
        region, device = customer % 2, (customer // 2) % 2
        for _ in range(4):
            item = 2 * region + device if random.random() < 0.7 else int(random.integers(0, 6))
            lines.append((f"c:{customer:04}", TODAY - random.uniform(0, days), item))
            codes.append((region, device, int(random.integers(0, 3))))
    histories = histories_of(lines)
    order = sorted(range(len(lines)), key=lambda n: (lines[n][0], lines[n][1], n))
    region, device, source = np.array(codes, np.int32)[order].T
    cut = Cut(histories, NOW, min_customers=1)
    names = {
        "region": Dimension(("north", "south"), region),
        "device": Dimension(("desktop", "phone"), device),
        "traffic_source": Dimension(("ad", "mail", "search"), source),
    }
    cut.__dict__["contexts"] = {name: names[name] for name in told}
    return cut


@pytest.fixture(scope="module")
def cut() -> Cut:
    return cut_of(told=("region", "device", "traffic_source"))


@pytest.fixture(scope="module")
def source(cut):
    return build_sources(fit_bundle(cut, Recipe("r", (SourceSpec("popularity", "popularity"), SPEC), {})))["here"]


def best(source, **context: str) -> list[int]:
    return source.opine(Query(now=NOW, history=History.empty(), context=Context(**context))).best(2).items.tolist()


def test_what_tells_something_stays_and_what_tells_nothing_goes(cut) -> None:
    """Region and device decide what sells here; the traffic source does not, nor does one season's past."""
    assert list(choose_strengths(sales_of(cut, PARAMS), cut.listed, PARAMS)) == ["region", "device"]
    figures = cut.fit(SPEC).figures
    assert set(figures) == {"strength of region", "strength of device", "cells"}
    assert figures["cells"] == 2 + 2 + 4  # each dimension, and both together


def test_the_deepest_known_cell_answers(source) -> None:
    assert best(source, region="north", device="phone")[0] == 1
    assert best(source, region="south", device="desktop")[0] == 2
    assert set(best(source, region="south")) == {2, 3}
    assert set(best(source, device="phone")) == {1, 3}


def test_what_is_unknown_is_left_out(source) -> None:
    """An unknown region or source changes nothing, and a request that tells nothing gets the whole shop's list."""
    assert best(source, region="mars", device="phone") == best(source, device="phone")
    assert best(source, region="north", device="phone", traffic_source="ad") == best(
        source, region="north", device="phone"
    )
    asked = Query(now=NOW, history=History.empty())
    assert source.cell(asked) == {}
    assert set(source.opine(asked).items.tolist()) == set(range(6))
    full = Query(now=NOW, history=History.empty(), context=Context(region="north", device="phone"))
    assert source.cell(full) == {"region": "north", "device": "phone"}


def test_a_cell_of_few_customers_has_no_list(cut) -> None:
    """What one household buys is nobody else's business."""
    found = cut.fit(replace_params(SPEC, least_customers=10_000)).arrays
    assert found["items"].shape[0] == 1
    assert cut.fit(replace_params(SPEC, least_customers=150)).figures["cells"] == 4


def replace_params(spec: SourceSpec, **params: object) -> SourceSpec:
    return SourceSpec(spec.name, spec.kind, spec.method, {**spec.params, **params})


def test_a_cells_shares_are_the_posterior_by_hand(cut) -> None:
    """(own + s2 (own of the region + s1 shop) / (sales of the region + s1)) / (own sales + s2), and they sum to one."""
    sales, n = sales_of(cut, PARAMS), len(cut.listed)
    strengths = {"region": 100.0, "device": 30.0}
    levels = {names: level_of(sales, names, n, PARAMS) for names in (("region",), ("region", "device"))}
    shop = shop_shares(sales, cut.listed, PARAMS)
    found = shares(levels["region", "device"], 3, levels, strengths, shop)
    weight = np.exp2(-sales.age / PARAMS.half_life_days)
    south = sales.dimensions["region"].code == 1
    phone = south & (sales.dimensions["device"].code == 1)
    region, cell = (np.bincount(sales.item[m], weights=weight[m], minlength=n) for m in (south, phone))
    above = (region + 100 * shop) / (region.sum() + 100)
    assert found == pytest.approx((cell + 30 * above) / (cell.sum() + 30))
    assert found.sum() == pytest.approx(1)


def test_seasons_return_with_the_year() -> None:
    """Item 0 sells in summer, 1 in winter, for three years: 0 leads the list of July, 1 that of January."""
    random = np.random.default_rng(1)
    lines = []
    for customer in range(6000):
        day = TODAY - random.uniform(0, 3 * 365)
        summer = seasons_of(np.array([int(day * DAY)]), np.array([False]), "UTC").code[0] == SEASONS.index("summer")
        winter = seasons_of(np.array([int(day * DAY)]), np.array([False]), "UTC").code[0] == SEASONS.index("winter")
        item = 0 if summer else 1 if winter else int(random.integers(2, 6))
        lines.append((f"c:{customer:04}", day, item))
    cut = Cut(histories_of(lines), NOW, min_customers=1)
    spec = replace_params(SPEC, held_out_days=60.0, half_life_days=90.0)
    fitted = build_sources(fit_bundle(cut, Recipe("r", (SourceSpec("popularity", "popularity"), spec), {})))["here"]
    for moment, item in (("2024-07-15T00:00:00Z", 0), ("2025-01-15T00:00:00Z", 1)):
        asked = Query(now=parse_instant(moment), history=History.empty())
        assert fitted.opine(asked).best(1).items.tolist() == [item]


def test_seasons_follow_the_hemisphere_and_the_zone() -> None:
    """31 May 20:00 UTC is June in Tokyo; January is summer south of the equator."""
    moments = np.array([parse_instant("2024-05-31T20:00:00Z"), parse_instant("2024-01-15T00:00:00Z")])
    southern = np.array([False, True])
    for zone, expected in (("UTC", ["spring", "summer"]), ("Asia/Tokyo", ["summer", "summer"])):
        assert [SEASONS[code] for code in seasons_of(moments, southern, zone).code] == expected


def test_contexts_that_tell_nothing_leave_the_whole_shops_list() -> None:
    """No cell, also where there are too few purchases to tell a difference from chance; the list is popularity's."""
    for cut in (cut_of(told=("traffic_source",)), cut_of(customers=10)):
        found = fit_context_popularity(cut, PARAMS)
        assert found.figures == {"cells": 0.0}
        popular = cut.fit(SourceSpec("popularity", "popularity")).arrays["items"][-1]
        assert found.arrays["items"].tolist() == [popular.tolist()]
        assert found.arrays["scores"].sum() == pytest.approx(1)


def test_nothing_after_the_moment_and_no_order_of_equal_times_is_learned(cut) -> None:
    """Later purchases, recorded or made, leave no trace; nor does the order of lines of one instant."""
    lines = [(f"c:{n % 40:03}", TODAY - 1 - n % 50, n % 6) for n in range(1000)]
    later = [("c:000", TODAY + 1, 0), ("c:001", TODAY - 1, 0, 7, TODAY + 2)]
    found = []
    for version in (lines, lines + later, lines[::-1]):
        made = Cut(histories_of(version), NOW, min_customers=1, regions={row: "ab"[row % 2] for row in range(40)})
        found.append(sales_of(made, PARAMS))
    for other in found[1:]:
        assert (other.item == found[0].item).all()
        assert other.age == pytest.approx(found[0].age)
        assert (other.dimensions["region"].code == found[0].dimensions["region"].code).all()


VALUES = st.tuples(*[st.sampled_from(["", "a", "1:a", "a0:", "0:", "é"])] * 5)


@given(VALUES, VALUES)
def test_different_cells_have_different_names(one, two) -> None:
    """Values do not run into each other, whatever characters they hold."""
    first, second = (
        {name: value for name, value in zip(DIMENSIONS, values, strict=True) if value} for values in (one, two)
    )
    assert (cell_key(first) == cell_key(second)) == (first == second)


def test_contexts_of_a_dataset_are_those_of_its_purchases(tiny_dataset) -> None:
    """Each purchase has the source and device that the events table gives it; a region comes from its customer."""
    dataset = Dataset(tiny_dataset)
    histories = histories_as_of(dataset)
    moment = int(histories.events.time.max()) + 1
    regions = regions_of(dataset, histories, moment)
    found = contexts_of(dataset, histories, regions, moment)
    table = dataset.read("events", [c.EVENT_ID, c.TYPE, c.TRAFFIC_SOURCE, c.DEVICE]).to_pylist()
    expected = sum(1 for row in table if row[c.TYPE] == "purchase" and row[c.DEVICE])
    assert 0 < (found["device"].code >= 0).sum() == expected
    counts = np.bincount(found["device"].code[found["device"].code >= 0])
    by_hand = [
        sum(1 for row in table if row[c.TYPE] == "purchase" and row[c.DEVICE] == name) for name in found["device"].names
    ]
    assert counts.tolist() == by_hand
    rows = histories.subject_rows()
    named = np.array([*found["region"].names, ""])[found["region"].code]
    assert [named[at] for at in range(0, len(rows), 97)] == [
        regions.get(int(rows[at]), "") for at in range(0, len(rows), 97)
    ]


def test_an_events_own_region_comes_before_its_customers() -> None:
    own, home = (
        Dimension(("b",), np.array([0, -1, -1], np.int32)),
        Dimension(("a", "c"), np.array([0, 1, -1], np.int32)),
    )
    both = own.or_else(home)
    assert both.names == ("a", "b", "c")
    assert both.code.tolist() == [1, 2, -1]


def by_hour(alike: bool) -> Cut:
    """Coffee sells in the morning, tea at night; or either at any time. Each customer buys each once."""
    random, lines = np.random.default_rng(0), []
    for customer in range(500):
        for item in (0, 1):
            hour = (8 if item == 0 else 23) if not alike else int(random.choice([8, 23]))
            lines.append((f"c:{customer:04}", TODAY - int(random.integers(1, 100)) + hour / 24, item))
    return Cut(histories_of(lines), NOW, min_customers=1)


def test_the_part_of_the_day_is_the_last_dimension() -> None:
    at = lambda source, hour: source.opine(Query(now=NOW + hour * HOUR, history=History.empty())).best(1).items.tolist()  # noqa: E731  # fmt: skip
    cut = by_hour(alike=False)
    assert "strength of hour" in cut.fit(SPEC).figures
    source = build_sources(fit_bundle(cut, Recipe("r", (SourceSpec("popularity", "popularity"), SPEC), {})))["here"]
    assert (at(source, 7), at(source, 22), at(source, 3)) == ([0], [1], [1])
    assert source.cell(Query(now=NOW + 7 * HOUR, history=History.empty()))["hour"] == "morning"
    assert "strength of hour" not in by_hour(alike=True).fit(SPEC).figures


def test_bundles_without_parts_of_the_day_go_on_serving(cut) -> None:
    bundle = fit_bundle(cut, Recipe("r", (SourceSpec("popularity", "popularity"), SPEC), {}))
    now = build_sources(bundle)["here"]
    cells = Vocabulary.from_arrays(bundle.source_arrays("here"), "cells")
    older = Vocabulary.of(key.removesuffix("0:") for key in cells)
    arrays = bundle.arrays | {"source.here.dimensions": bundle.source_arrays("here")["dimensions"][:4]}
    arrays |= older.arrays("source.here.cells")
    before = build_sources(Bundle(bundle.manifest, arrays))["here"]
    for context in ({}, {"region": "north"}, {"region": "south", "device": "phone"}):
        assert best(before, **context) == best(now, **context)
