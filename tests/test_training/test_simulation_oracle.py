"""The oracle of the simulated shop: probabilities that come true, and a replay that knows only the past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from features.errors import ConfigError
from features.moments import DAY
from training.simulation.block import Block, blocks_of, make_block
from training.simulation.locale import locale_of
from training.simulation.oracle import Oracle, Seam, oracle_of
from training.simulation.people import World
from training.simulation.sessions import Reason
from training.simulation.world import DEFAULT_START, SIZES, Calendar
from training.split import Window

WORLD = World(SIZES["tiny"], 1, locale_of("en"), Calendar(DEFAULT_START, 150))
WINDOW = Window(WORLD.calendar.end - 30 * DAY, WORLD.calendar.end)
RUNS = 80


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    """What really happened."""
    return [make_block(WORLD, number) for number in range(blocks_of(WORLD))]


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    """Of the last thirty days of the tiny shop."""
    return oracle_of(WORLD, WINDOW, runs=RUNS)


def bought(blocks: list[Block], window: Window = WINDOW) -> np.ndarray:
    """bool[customers, items]: what was bought in the window."""
    found = []
    for block in blocks:
        lines = block.lines.take(window.holds(block.lines.at) & block.people.known[block.lines.person])
        there = np.zeros((int(block.people.known.sum()), WORLD.size.items), np.bool_)
        there[lines.person, lines.item] = True
        found.append(there)
    return np.concatenate(found)


def test_probabilities_and_their_errors_are_shares_of_runs(oracle):
    """In [0, 1], a whole number of runs, with the error of a binomial share."""
    share, error = oracle.probability().toarray(), oracle.error().toarray()
    assert share.shape == (WORLD.size.customers, WORLD.size.items)
    assert share.min() == 0
    assert 0.8 < share.max() <= 1
    assert np.allclose(share * RUNS, np.round(share * RUNS))
    assert np.allclose(error, np.sqrt(share * (1 - share) / RUNS))
    assert oracle.customers.tolist() == list(range(WORLD.size.customers))


def test_the_same_seed_says_the_same_and_another_another():
    """Runs are numbered streams."""
    first, again, other = (oracle_of(WORLD, WINDOW, runs=4, seed=seed).counts for seed in (0, 0, 1))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


def test_probabilities_come_true(oracle, blocks):
    """Calibrated: as many purchases as expected, in all and among the likely ones, within four standard errors."""
    share, real = oracle.probability().toarray(), bought(blocks)
    for likely in (share >= 0, share >= 0.5, (share >= 0.1) & (share < 0.5)):
        expected = share[likely].sum()
        spread = np.sqrt((share * (1 - share))[likely].sum())
        assert abs(real[likely].sum() - expected) < 4 * 1.3 * spread  # lines of a basket and packs come together


def test_the_oracle_does_not_see_the_window(blocks):
    """Whatever happened from its start on is shuffled away: the runs are the same."""
    block = blocks[0]
    later = block.visits.start >= WINDOW.start
    visits = replace(block.visits, category=np.where(later, 0, block.visits.category))
    shown = replace(block.shown, bought=np.where(later, ~block.shown.bought, block.shown.bought))
    kept = (block.log.at < WINDOW.start, block.mails.decided < WINDOW.start)
    blind = replace(block, visits=visits, shown=shown, log=block.log.take(kept[0]), mails=block.mails.take(kept[1]))
    begun = block.people.project_from < WINDOW.start
    people = replace(block.people, project=np.where(begun, block.people.project, -1))
    blind = replace(blind, people=people, lines=block.lines.take(np.zeros(0, np.int64)))
    runs = [list(Seam.of(WORLD, each, WINDOW).bought(5, 0)) for each in (block, blind)]
    for seeing, unseeing in zip(*runs, strict=True):
        assert np.array_equal(seeing, unseeing)


def test_a_window_of_the_whole_period_is_the_shop_itself(blocks):
    """Nothing is known then, so a run is another shop: its purchases are as many as the real one's."""
    whole = Window(WORLD.calendar.start, WORLD.calendar.end)
    block = blocks[0]
    real = int(bought([block], whole).sum())
    counts = [len(cells) for cells in Seam.of(WORLD, block, whole).bought(12, 0)]
    assert np.mean(counts) == pytest.approx(real, abs=4 * 1.3 * np.sqrt(real))


def test_a_toy_world_with_known_probabilities(blocks):
    """A subscription is bought with the probability that it runs out in the window, times 0.93 x 0.96.

    A pack lasts 45 days with a log deviation of 0.13, and was bought 30 days before a window of 30 days.
    """
    block = blocks[0]
    pairs = replace(
        block.pairs,
        subscribed=np.ones(len(block.pairs), np.bool_),
        cycle=np.full(len(block.pairs), 45.0),
        favourite=WORLD.catalogue.staple(block.pairs.category, np.zeros(len(block.pairs), np.int64)),
    )
    needs = np.flatnonzero((block.visits.reason == Reason.NEED) & (block.visits.start < WINDOW.start))
    visits = block.visits.take(needs)
    _, first = np.unique(visits.pair, return_index=True)
    alone = np.bincount(block.pairs.person, minlength=len(block.people)) == 1  # nothing else gets in its way
    visits = visits.take(np.sort(first))
    visits = visits.take(alone[visits.person])
    visits.start = np.full(len(visits), WINDOW.start - 30 * DAY)
    visits.quantity = np.ones(len(visits), np.int8)
    toy = replace(block, pairs=pairs, visits=visits, shown=block.shown.take(np.zeros(len(visits), np.int64)))
    runs = list(Seam.of(WORLD, toy, WINDOW).bought(100, 0))
    cells = visits.person.astype(np.int64) * WORLD.size.items + pairs.favourite[visits.pair]
    share = np.mean([np.isin(cells, run).mean() for run in runs])
    due = norm.cdf(np.log(60 / 45) / 0.13) - norm.cdf(np.log(30 / 45) / 0.13)
    assert share == pytest.approx(0.93 * 0.96 * due, abs=0.025)


def test_what_makes_no_sense_is_refused():
    """Two halves need two runs; outside the period there is no truth."""
    with pytest.raises(ConfigError, match="too few runs"):
        oracle_of(WORLD, WINDOW, runs=1)
    with pytest.raises(ConfigError, match="not inside"):
        oracle_of(WORLD, Window(WINDOW.start, WINDOW.end + DAY), runs=2)
