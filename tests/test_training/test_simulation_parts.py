"""The small pieces of the simulation: provable on their own."""

import dataclasses
import hashlib

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.moments import DAY, parse_instant, to_datetime
from training.simulation import arrow, effects, world
from training.simulation.catalogue import Catalogue, make_catalogue
from training.simulation.choice import best_per_group
from training.simulation.effects import ACTION_ROW, ACTIONS, BITS, PAGE_ACTIONS, REWARDS, RULES, Segment, effect_table
from training.simulation.locale import LOCALES, locale_of
from training.simulation.mails import first_in_window
from training.simulation.pages import FLOOR, SLOTS, eligible_mask, policy_table
from training.simulation.rows import generator, mix, pair_noise, pick, spread
from training.simulation.sessions import APART, _visits, keep_apart
from training.simulation.world import CATEGORIES, SIZES, STYLES, Calendar

COUNTS = st.lists(st.integers(0, 5), min_size=1, max_size=30)


@given(COUNTS)
def test_spread_repeats_each_row_and_counts_the_copies(counts):
    """Row r stands counts[r] times in a row, its copies numbered 0, 1, 2 ..."""
    row, place = spread(np.array(counts))
    assert row.tolist() == [r for r, count in enumerate(counts) for _ in range(count)]
    assert place.tolist() == [copy for count in counts for copy in range(count)]


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-9, 9)), min_size=1, max_size=40))
def test_best_per_group_is_the_maximum_of_each_group(rows):
    """The chosen row lies in its group and no other row of the group scores higher; empty groups give -1."""
    group, score = np.array([g for g, _ in rows]), np.array([s for _, s in rows])
    best = best_per_group(group, score, 5)
    for number in range(5):
        inside = np.flatnonzero(group == number)
        if not len(inside):
            assert best[number] == -1
        else:
            assert group[best[number]] == number
            assert score[best[number]] == score[inside].max()


@given(st.lists(st.integers(0, 2**63), unique=True, min_size=2, max_size=200))
def test_mix_is_a_bijection(numbers):
    """Different numbers stay different, so scrambled visitor ids never collide."""
    assert len(np.unique(mix(np.array(numbers, np.uint64)))) == len(numbers)


def test_pair_noise_belongs_to_the_pair():
    """The same pair always draws the same number; over many pairs it is uniform."""
    left, right = np.arange(20_000) % 141, np.arange(20_000) // 7
    noise = pair_noise(left, right)
    assert np.array_equal(noise, pair_noise(left, right))
    assert noise.min() >= 0
    assert noise.max() < 1
    assert abs(noise.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(noise))


@given(st.integers(0, 50))
def test_pick_never_takes_a_column_without_weight(seed):
    """Columns of weight zero are never drawn."""
    rng = np.random.default_rng(seed)
    weights = rng.random((50, 6)) * (rng.random((50, 6)) < 0.5)
    weights[:, 3] += 0.1
    assert (weights[np.arange(50), pick(rng, weights)] > 0).all()


@given(st.lists(st.integers(0, 2**40 - 1), min_size=1, max_size=50))
def test_hex_ids_spell_their_number(numbers):
    """An id is its letter and the number in hexadecimal."""
    ids = arrow.hex_ids("e", np.array(numbers)).to_pylist()
    assert ids == [f"e{number:010x}" for number in numbers]


def test_words_are_null_below_zero_and_lists_below_one():
    """Negative rows and empty lists are null; nothing points at the last word by accident."""
    assert arrow.words(np.array([1, -1, 0]), ["a", "b"]).to_pylist() == ["b", None, "a"]
    assert arrow.lists(np.array([2, 0, 1]), np.array([0, 1, 1]), ["a", "b"]).to_pylist() == [["a", "b"], None, ["b"]]
    assert arrow.numbers(np.array([1.5, np.nan])).to_pylist() == [1.5, None]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.booleans()), max_size=40))
def test_visits_are_kept_two_hours_apart(rows):
    """No two visits of a person begin within two hours; what a mail brought is never what is dropped for another."""
    hour = APART // 2
    mailed = np.array([mail for _, _, mail in rows], np.bool_)
    first_mail = {person: at for person, at, mail in sorted(rows, reverse=True) if mail}
    keep = np.array([not mail or first_mail[person] == at for person, at, mail in rows], np.bool_)
    person, at = np.array([p for p, _, _ in rows], np.int64), np.array([h * hour for _, h, _ in rows], np.int64)
    made = _visits(len(rows), person=person, start=at, mail=np.where(mailed, 0, -1)).take(keep)
    kept = keep_apart(made)
    same = kept.person[1:] == kept.person[:-1]
    assert (kept.start[1:] - kept.start[:-1] >= APART)[same].all()
    assert set(kept.person) == set(made.person)
    assert set(kept.person[kept.mail >= 0]) == set(first_mail)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=30), st.integers(0, 60))
def test_first_in_window_against_a_slow_loop(rows, since):
    """The first instant of the same person in [since, since + window), else -1."""
    unit = 1_000_000
    person, at = np.array([p for p, _ in rows], np.int64), np.array([t * unit for _, t in rows], np.int64)
    of = np.arange(4)
    found = first_in_window(person, at, of, np.full(4, since * unit), 10 * unit)
    for who in range(4):
        inside = [t for p, t in rows if p == who and since <= t < since + 10]
        assert (found[who] == -1) == (not inside)
        if inside:
            assert (person[found[who]], at[found[who]]) == (who, min(inside) * unit)


def test_calendar_knows_months_weekdays_and_sales():
    """The lookup tables agree with the standard library, day by day."""
    start = parse_instant("2025-01-01")
    calendar = Calendar(start, 400)
    for day in range(0, 400, 7):
        date = to_datetime(start + day * DAY)
        assert (calendar.month[day] + 1, calendar.weekday[day]) == (date.month, date.weekday())
    sales = {to_datetime(start + day * DAY).strftime("%m-%d") for day in np.flatnonzero(calendar.sale[:365] >= 0)}
    assert {"01-02", "01-08", "06-20", "06-30", "11-22", "11-30"} <= sales
    assert len(sales) == 7 + 11 + 9


@pytest.mark.parametrize("slot", SLOTS)
def test_the_logging_policy_is_a_distribution_with_a_floor(slot):
    """For every context and every set of eligible actions: sums to 1, the floor holds, others have none."""
    table = policy_table(slot)
    masks = np.arange(table.shape[1])
    eligible = np.concatenate(
        [np.ones((len(masks), 1), bool), (masks[:, None] >> np.arange(len(PAGE_ACTIONS))) & 1 == 1], axis=1
    )
    assert np.allclose(table.sum(axis=2), 1.0, atol=1e-12)
    assert (table[:, eligible] >= FLOOR).all()
    assert (table[:, ~eligible] == 0).all()
    assert len({tuple(np.round(table[cell, -1], 6)) for cell in range(4)}) > 1, "contexts are treated alike"


def test_eligibility_follows_the_situation():
    """Known-only, tier, metro and first-order conditions as the actions declare them."""

    def allowed(slot, situation, metro=False):
        mask = int(eligible_mask(slot, np.array([int(situation)]), np.array([metro]))[0])
        return {action.id for row, action in enumerate(PAGE_ACTIONS) if mask >> row & 1}

    assert "exclusive-atelier" in allowed("hero", Segment.GOLD)
    assert "exclusive-atelier" not in allowed("hero", Segment(0))
    assert "exclusive-atelier" not in allowed("hero", Segment.GOLD | Segment.ANONYMOUS)
    assert "products-buy-again" in allowed("band", Segment(0))
    assert "products-buy-again" not in allowed("band", Segment.NEW)
    assert "event-open-house" in allowed("band", Segment(0), metro=True)
    assert "event-open-house" not in allowed("band", Segment(0))
    assert "status-order" in allowed("band", Segment.WAITING)
    assert "status-order" not in allowed("band", Segment(0))


def test_effects_add_up_over_the_rules_that_hold():
    """Tables are sums of rules; null does nothing; most (action, segment) cells are zero."""
    table = effect_table("click")
    row = table[ACTION_ROW["exclusive-atelier"]]
    assert row[int(Segment.GOLD | Segment.HIDDEN)] == pytest.approx(0.05 + 0.03)
    assert row[int(Segment.GOLD)] == pytest.approx(0.05)
    assert row[0] == 0
    assert effect_table("visit")[ACTION_ROW["mail-offer"], int(Segment.BARGAIN | Segment.QUIET)] == 0
    assert effect_table("lost_visit")[ACTION_ROW["mail-offer"], int(Segment.QUIET)] == 0.25
    for reward in REWARDS:
        assert (effect_table(reward)[-1] == 0).all()
    touched = {(r.action, flag) for r in RULES for flag in (r.when or Segment(0))}
    assert len(touched) < 0.25 * len(ACTIONS) * BITS
    assert {r.action for r in RULES} <= set(ACTION_ROW)
    assert "event-open-house" not in {r.action for r in RULES}, "one action does nothing to anybody"


@pytest.mark.parametrize("code", sorted(LOCALES))
def test_a_locale_has_words_for_everything(code):
    """Categories, styles, departments and states all have a name; regions are distinct and weighted."""
    locale = locale_of(code)
    assert len(locale.categories) == len(CATEGORIES)
    assert len(locale.styles) == STYLES
    assert {category.department for category in CATEGORIES} == set(locale.departments)
    names = [region.name for region in locale.regions]
    assert len(set(names)) == len(names) == (47 if code == "ja" else 27)
    assert locale.weights.sum() == pytest.approx(1)
    assert locale.money(np.array([13.2]))[0] == (1_780 if code == "ja" else 12.99)


@pytest.mark.parametrize("count", [80, 160, 2_000])
def test_every_category_and_style_can_be_drawn(count):
    """A drawn item is of the category asked for, and of the style where there is one; staples are always sellable."""
    calendar = Calendar(world.DEFAULT_START, 200)
    catalogue = make_catalogue(3, count, calendar, locale_of("en"))
    assert isinstance(catalogue, Catalogue)
    offered = np.unique(catalogue.items.category)
    category = np.repeat(offered, STYLES).astype(np.int64)
    style = np.tile(np.arange(STYLES), len(offered))
    item = catalogue.draw(generator(1, 1), category, style)
    assert (catalogue.items.category[item] == category).all()
    filled = np.isin(category * STYLES + style, catalogue.items.category * STYLES + catalogue.items.style)
    assert (catalogue.items.style[item] == style)[filled].all()
    staple = catalogue.staple(category, style)
    for day in (0, 60, 199):
        assert catalogue.items.sellable(staple, np.full(len(staple), calendar.start + day * DAY)).all()


FROZEN = "f8bc016c641f24b49a44b683c29144e994994584a762c03927c286da7a5cf7d5"


def test_the_world_is_frozen():
    """Cycles, tastes, sizes, actions and effects are those of this WORLD_VERSION.

    If this fails you have changed the world that published figures were measured in: raise WORLD_VERSION, change
    nothing else in the same commit, and run every figure again.
    """
    said = {
        "version": world.WORLD_VERSION,
        "categories": [dataclasses.asdict(category) for category in CATEGORIES],
        "sizes": [dataclasses.asdict(size) for size in SIZES.values()],
        "seasons": {name: months.tolist() for name, months in world.SEASONS.items()},
        "sales": world.SALES,
        "actions": [dataclasses.asdict(action) for action in ACTIONS],
        "rules": [dataclasses.asdict(rule) for rule in RULES],
        "clicks": [effects.BASE_CLICK, effects.MISSING_CLICKS, effects.MOST_LIKELY],
        "segments": {flag.name: int(flag) for flag in Segment},
        "policy": [FLOOR, [np.round(policy_table(slot)[:, -1], 9).tolist() for slot in SLOTS]],
    }
    text = orjson.dumps(said, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    assert hashlib.sha256(text).hexdigest() == FROZEN
