"""The known world of page slots: values by enumeration, and what learning brings in a small shop."""

from __future__ import annotations

import numpy as np
import pytest

from training.bench.bandit_world import world_of
from training.bench.slot_world import CLICK, WIDTH, Pages, could, joined
from training.bench.slots import WAYS, run


@pytest.fixture(scope="module")
def world() -> Pages:
    return Pages.of(world_of("tiny", 0))


def test_values_are_sums_over_pairs(world) -> None:
    """Second derivation, page by page over all pairs of hero and band, for the shop's own drawing and for the best."""
    tables = world.logging()
    total, top = 0.0, 0.0
    pages = range(0, len(world.context), 7)
    for page in pages:
        context, pairs = world.context[page], []
        for hero in np.flatnonzero(could(world.hero[[page]])[0]):
            for band in np.flatnonzero(could(world.band[[page]])[0]):
                if band == hero and band:
                    continue
                click = world.click[0, page, hero] + world.click[1, page, band]
                chance = tables[0][context, hero] * tables[1][hero, context, band]
                pairs.append((chance, click))
        chances, clicks = np.array(pairs).T
        assert chances.sum() == pytest.approx(1)
        total += chances @ clicks
        top += clicks.max()
    some = Pages(world.click[:, ::7], world.hero[::7], world.band[::7], world.context[::7], world.features,
                 world.situation, world.hero_mask, world.band_mask)  # fmt: skip
    assert some.value(tables) == pytest.approx(total / len(pages))
    assert some.best(some.click) == pytest.approx(top / len(pages))
    assert world.best(world.click) >= world.best(world.known) > world.value(tables)


def test_logs_have_the_propensities_of_their_policy(world) -> None:
    log = world.draw(world.logging(), np.random.default_rng(0), 4_000)
    np.testing.assert_allclose(log.propensity.sum(axis=1), 1)
    assert (log.taken > 0).all()
    hero, band = log.action[:4_000], log.action[4_000:]
    assert ((hero != band) | (hero == 0)).all(), "no action stands twice on a page"
    assert log.reward(CLICK).reshape(2, -1).sum(axis=0).mean() == pytest.approx(world.value(world.logging()), abs=0.02)
    both = joined([log, log])
    assert len(np.unique(both.request)) == 8_000
    assert both.propensity.shape == (16_000, WIDTH)


def test_learning_brings_something_and_intervals_hold() -> None:
    """One small round: every way gains on the shop's own drawing, and intervals of single people hold the truth."""
    rows = run("tiny", 1_500, 1, 1)
    value = {(row.subject, row.metric): row.value for row in rows}
    for way in WAYS:
        assert value[way, "share"] > 0
        assert 0.75 < value[way, "covered"] <= 1
    assert value["greedy", "share"] > value["inverse-gap", "share"], "exploring costs"
    assert value["features", "share"] <= 1
