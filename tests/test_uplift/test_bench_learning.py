"""`kokyaku bench learning` small: a policy reaches what there is, wakes no sleeping dogs, and passes by luck seldom."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training.bench.bandit_world import KNOWN, world_of
from training.bench.learning import DOGS, MAILS, REACH, Effort, Mails, learned, mails_of, run, table_of
from training.cli import main
from training.simulation.effects import Segment

PLAIN = Effort(threads=1)


def two_tastes(hidden: float = 0.0) -> Mails:
    """Half like one mail, two fifths another, a tenth none; of the first, `hidden` like a third more, unseen."""
    n = 200
    people = np.arange(n)
    first, quiet = people % 2 == 0, people % 10 == 9
    chance = np.full((n, 1 + len(MAILS)), 0.2)
    chance[first & ~quiet, 1] = chance[~first & ~quiet, 2] = 0.6
    chance[first & (people < hidden * n), 3] = 0.9
    chance[quiet, 1:] = 0.02
    features = np.zeros((n, len(KNOWN)), np.float32)
    features[first, KNOWN.index(Segment.PET)] = features[quiet, KNOWN.index(DOGS)] = 1
    return Mails(people, features, chance)


def test_shares_are_worked_out_by_hand():
    """Mail 1 for everybody gains nothing over itself; everything known reaches 1, what is hidden costs its share."""
    mails = two_tastes()
    single = mails.chance.mean(axis=0).max()
    assert single == pytest.approx(0.5 * 0.6 + 0.4 * 0.2 + 0.1 * 0.02)
    assert mails.share_of(np.eye(5)[mails.chance.argmax(axis=1)]) == pytest.approx(1)
    assert mails.share_of(np.tile(np.eye(5)[1], (200, 1))) == pytest.approx(0)
    assert mails.share_of(mails.known_best()) == pytest.approx(1)
    some = two_tastes(hidden=0.2)  # a tenth of all like mail 3 by .3 more than their half knows
    best = some.chance.max(axis=1).mean()
    assert some.share_of(some.known_best()) == pytest.approx((best - 0.3 * 0.1 - single) / (best - single))


def test_a_policy_learns_what_there_is():
    """From 16,000 decisions nearly all of the gain, the gate opens, and no sleeping dog gets a mail."""
    found = learned(two_tastes(), np.random.default_rng(0), 16_000, PLAIN)
    assert found.share > 0.95
    assert found.ships == "policy"
    assert found.harm == 0 and found.lost == 0


def test_where_all_are_alike_luck_seldom_passes():
    """Five logs of 1,000 decisions: nothing can be gained, at most one passes."""
    mails = two_tastes()
    alike = Mails(mails.person, mails.features, np.tile(mails.chance.mean(axis=0), (200, 1)))
    found = [learned(alike, np.random.default_rng((2, seed)), 1_000, PLAIN) for seed in range(5)]
    assert all(np.isnan(each.share) for each in found)
    assert sum(each.ships == "policy" for each in found) <= 1


def test_the_simulated_shop(tmp_path):
    """What is known allows most of the oracle's gain and not all; with --constant there is none. Rows and a table."""
    mails = mails_of(world_of("tiny", 0), constant=False)
    reach = mails.share_of(mails.known_best())
    assert 0.5 < reach < 1
    assert np.isnan(mails_of(world_of("tiny", 0), constant=True).share_of(mails.known_best()))
    rows = run("tiny", (2_000,), 2, effort=PLAIN)
    value = {(row.subject, row.metric): row.value for row in rows}
    assert value[REACH, "share-of-oracle-gain"] == reach
    assert value["X", "share-of-oracle-gain"] < reach
    assert 0 <= value["X", "sleeping-dogs-mailed"] <= 1 and value["X", "sleeping-dogs-effect"] <= 0
    assert table_of(rows).row_count == 1


def test_the_command(tmp_path, capsys):
    """It writes its rows; a learner that there is not is a sentence."""
    where = tmp_path / "rows.json"
    with pytest.raises(SystemExit) as ended:
        main(["bench", "learning", "--size", "tiny", "--decisions", "1000", "--seeds", "2", "--learner", "linear-T",
              "--constant", "--threads", "1", "--json", str(where)])  # fmt: skip
    assert not ended.value.code
    rows = json.loads(where.read_text())
    assert {row["metric"] for row in rows} >= {"gate-passes", "sleeping-dogs-mailed"}
    assert "never evidence about real shops" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["bench", "learning", "--learner", "Z"])
    assert ended.value.code == 2
