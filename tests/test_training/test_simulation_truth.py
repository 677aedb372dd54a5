"""What is known to be true of a simulated shop shows in its tables, and only as far as it should."""

import numpy as np
import orjson
import pyarrow.compute as pc
import pytest

from features.dataset import Dataset
from features.errors import DataError, NotFoundError
from training.simulation import simulate
from training.simulation.effects import MAIL_ACTIONS, PAGE_ACTIONS, Segment
from training.simulation.locale import locale_of
from training.simulation.truth import Truth
from training.simulation.world import CATEGORIES, CLUSTERS, CONSUMABLES, VARIETY

HILLSTROM_VISIT = 0.18276 - 0.10617  # the best arm's visits against none
HILLSTROM_CONVERSION = 0.01253 - 0.00573


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("shop") / "dataset", size="s", seed=5)


@pytest.fixture(scope="module")
def truth(report):
    return Truth.load(report.truth)


@pytest.fixture(scope="module")
def duck(report):
    with Dataset(report.dataset).connect(memory="1GB", threads=2) as connection:
        yield connection


@pytest.fixture(scope="module")
def columns(duck):
    """Run SQL, get a dictionary of arrays."""

    def run(sql):
        table = duck.sql(sql).to_arrow_table()
        return {name: _array(table[name].to_pylist()) for name in table.column_names}

    return run


def _array(values):
    return np.array(values, object if any(isinstance(value, str) for value in values) else None)


@pytest.fixture(scope="module")
def log(columns):
    """All drawn decisions with their rewards, by slot."""

    def of(slot):
        rewards = ", ".join(
            f"max((o.reward = '{reward}')::INT) AS {reward}" for reward in ("click", "purchase", "visit", "unsubscribe")
        )
        return columns(f"""SELECT d.decision_id, d.action_id, d.action_propensity, d.eligible, {rewards}
            FROM decisions d LEFT JOIN outcomes o USING (decision_id) WHERE d.slot = '{slot}' AND NOT d.holdout
            AND d.drawn GROUP BY ALL ORDER BY d.decision_id""")

    return of


def test_consumables_come_back_after_their_true_cycle(truth, columns):
    """The median gap between two orders of a category lies near its true cycle (long ones are cut by the period)."""
    named = locale_of("en").categories
    for row in CONSUMABLES:
        cycle = truth.true_cycle_days(CATEGORIES[row].key)
        gaps = columns(f"""
            SELECT epoch(occurred_at - lag(occurred_at) OVER (PARTITION BY customer_id ORDER BY occurred_at)) / 86400
            AS gap
            FROM events e SEMI JOIN (SELECT item_id FROM items WHERE category[2] = '{named[row]}') USING (item_id)
            WHERE type = 'purchase' AND customer_id IS NOT NULL QUALIFY gap IS NOT NULL""")["gap"]
        if len(gaps) >= 100 and cycle <= 60:
            assert 0.9 * cycle < np.median(gaps) < 1.15 * cycle, CATEGORIES[row].key
    assert truth.true_cycle_days("dog-food") == 32
    assert truth.true_cycle_days("books") is None


def test_a_household_has_its_own_cycle_around_the_category_s(truth):
    """Households differ by some ten per cent, around the category's median."""
    for key in ("dog-food", "cat-food", "coffee"):
        rows = truth.pairs.filter(pc.equal(truth.pairs["category"], key))
        own = rows["cycle_days"].to_numpy()
        assert np.median(own) == pytest.approx(truth.true_cycle_days(key), rel=0.05)
        assert 0.05 < np.std(np.log(own)) < 0.2


def test_favourites_are_bought_again_and_again(truth, columns):
    """In their category, households buy the hidden favourite far more often than all else together."""
    table = columns("SELECT customer_id, item_id, count(*) AS n FROM events WHERE type = 'purchase' GROUP BY ALL")
    bought = dict(zip(zip(table["customer_id"], table["item_id"], strict=True), table["n"], strict=True))
    pairs = truth.pairs.to_pylist()
    own = sum(bought.get((pair["customer_id"], pair["favourite"]), 0) for pair in pairs)
    lines = sum(bought.values())
    assert 0.3 < own / lines < 0.8


def test_taste_clusters_matter(truth, columns):
    """Two buyers of the same thing (of those bought on a mood) share their hidden cluster above chance."""
    named = tuple(locale_of("en").categories[row] for row in VARIETY)
    bought = columns(f"""SELECT DISTINCT customer_id, item_id FROM events e
        SEMI JOIN (SELECT item_id FROM items WHERE category[2] IN {named}) USING (item_id)
        WHERE type IN ('purchase', 'wishlist') AND customer_id IS NOT NULL""")
    cluster = dict(zip(truth.people["customer_id"].to_pylist(), truth.people["cluster"].to_pylist(), strict=True))
    of = np.array([cluster[customer] for customer in bought["customer_id"]])
    _, item = np.unique(bought["item_id"], return_inverse=True)
    table = np.zeros((item.max() + 1, CLUSTERS))
    np.add.at(table, (item, of), 1)
    buyers = table.sum(axis=1)
    same = (table * (table - 1)).sum() / (buyers * (buyers - 1)).sum()
    chance = ((np.bincount(of, minlength=CLUSTERS) / len(of)) ** 2).sum()
    assert same > 1.25 * chance


def test_propensities_are_those_of_the_draw(log):
    """Each list sums to 1, holds the chosen action at its recorded probability, and frequencies fit it (chi-square)."""
    for slot in ("hero", "band", "campaign"):
        rows = log(slot)
        squares, cells = 0.0, 0
        for text in np.unique(rows["eligible"]):
            odds = dict(orjson.loads(text))
            assert sum(odds.values()) == pytest.approx(1.0, abs=1e-12)
            assert min(odds.values()) >= 0.02
            here = rows["eligible"] == text
            chosen = rows["action_id"][here]
            recorded = rows["action_propensity"][here]
            assert all(odds[action] == chance for action, chance in zip(chosen, recorded, strict=True))
            for action, chance in odds.items():
                expected = chance * here.sum()
                if expected >= 5:
                    squares += (sum(one == action for one in chosen) - expected) ** 2 / expected
                    cells += 1
        assert squares < cells + 5 * np.sqrt(2 * cells), slot
        assert squares > cells - 8 * np.sqrt(2 * cells), "too even to be drawn at random"


def test_inverse_propensity_weighting_finds_the_true_values(truth, log):
    """The mean of reward / propensity for each action equals the mean of the true probabilities, within 4 errors."""
    for slot, reward in (("hero", "click"), ("band", "click"), ("hero", "purchase"), ("campaign", "visit")):
        rows = log(slot)
        ids, actions, matrix = truth.responses(slot, reward)
        place = {decision: row for row, decision in enumerate(ids)}
        matrix = matrix[[place[decision] for decision in rows["decision_id"]]]
        got = np.array([value or 0 for value in rows[reward]], float)
        for column, action in enumerate(actions):
            eligible = ~np.isnan(matrix[:, column])
            chosen = np.array([one == action for one in rows["action_id"]])
            assert not (chosen & ~eligible).any()
            if chosen.sum() < 100:
                continue
            weighted = np.where(chosen, got / rows["action_propensity"], 0.0)[eligible]
            error = weighted.std() / np.sqrt(len(weighted)) + 1e-9
            assert abs(weighted.mean() - matrix[eligible, column].mean()) < 4 * error, (slot, reward, action)


def test_average_effects_are_no_larger_than_in_the_mail_experiment(truth):
    """Against null: visits, clicks and conversions at most as in the experiment; some actions do nothing, some harm."""
    for slot, reward, limit in (
        ("campaign", "visit", HILLSTROM_VISIT),
        ("hero", "purchase", HILLSTROM_CONVERSION),
        ("band", "purchase", HILLSTROM_CONVERSION),
    ):
        _, actions, matrix = truth.responses(slot, reward)
        lift = {
            action: np.nanmean(matrix[:, column] - matrix[:, 0])
            for column, action in enumerate(actions)
            if not np.isnan(matrix[:, column]).all()
        }
        # over all decisions, since nothing is shown where an action is not eligible
        share = {
            action: np.mean(~np.isnan(matrix[:, column])) for column, action in enumerate(actions) if action in lift
        }
        assert max(lift[action] * share[action] for action in lift) < limit
    _, actions, matrix = truth.responses("hero", "purchase")
    used = [column for column in range(len(actions)) if not np.isnan(matrix[:, column]).all()]
    lifts = [np.nanmean(matrix[:, column] - matrix[:, 0]) for column in used]
    assert min(lifts) < -0.0005
    assert sum(abs(lift) < 1e-12 for lift in lifts) >= 3


def test_people_who_want_to_be_left_alone_are_harmed(truth):
    """For the quiet every mail lowers the visits and raises the unsubscriptions; for the others none lowers visits."""
    ids, _, visits = truth.responses("campaign", "visit")
    rows = truth.decisions.filter(pc.equal(truth.decisions["slot"], "campaign"))
    assert rows["decision_id"].to_pylist() == ids
    open_ = ~rows["holdout"].to_numpy()
    quiet = (rows["situation"].to_numpy() & int(Segment.QUIET)) > 0
    change = visits[:, 1:] - visits[:, :1]
    assert (change[open_ & quiet].mean(axis=0) < 0).all()
    assert (change[open_ & ~quiet] >= 0).any(axis=1).all()
    _, _, left = truth.responses("campaign", "unsubscribe")
    assert (left[open_ & quiet, 1:] > 5 * left[open_ & ~quiet, 1:].mean()).all()


def test_effects_of_a_customer_are_the_rules(truth):
    """`true_effect` adds up the rules for the customer's lasting segments and the context given."""
    people = [row for row in truth.people.to_pylist() if row["customer_id"]]
    for row in people[:200]:
        customer, flags = row["customer_id"], Segment(row["situation"])
        assert truth.situation(customer) == flags
        expected = 0.06 if Segment.BARGAIN in flags else 0.0
        assert truth.true_effect("offer-ten-percent", customer, "click") == pytest.approx(expected)
        assert truth.true_effect("guide-choosing", customer, "click", Segment.PROJECT) == pytest.approx(0.09)
        assert truth.true_effect("mail-care-tips", customer, "lost_visit") == (0.25 if Segment.QUIET in flags else 0)
    with pytest.raises(NotFoundError, match="no such customer"):
        truth.true_effect("guide-choosing", "nobody", "click")


def test_the_holdout_is_never_personalised(truth, columns):
    """About 2 % of the subjects, the same at all their decisions: null only, at probability 1, not drawn."""
    held = columns("SELECT action_id, action_propensity, drawn, eligible, items FROM decisions WHERE holdout")
    assert len(held["drawn"]) > 100
    assert all(action is None for action in held["action_id"])
    assert (held["action_propensity"] == 1.0).all()
    assert not held["drawn"].any()
    assert set(held["eligible"]) == {"[[null,1.0]]"}
    mixed = columns("""SELECT coalesce(customer_id, visitor_id) AS subject FROM decisions GROUP BY 1
                       HAVING count(DISTINCT holdout) > 1""")
    assert len(mixed["subject"]) == 0
    share = columns("SELECT avg(holdout::INT) AS share FROM (SELECT DISTINCT customer_id, holdout FROM decisions)")
    assert 0.005 < share["share"][0] < 0.05
    outcomes = columns("SELECT DISTINCT reward FROM outcomes o JOIN decisions d USING (decision_id) WHERE d.holdout")
    assert set(outcomes["reward"]) <= {"purchase", "visit"}, "nothing was shown, so nothing was clicked"


def test_outcomes_follow_their_decisions(columns):
    """Each reward once a decision, at or after it, inside its window; purchases and clicks are events too."""
    late = columns("""SELECT count(*) AS n FROM outcomes o JOIN decisions d USING (decision_id)
        WHERE o."at" < d.decided_at
        OR o."at" >= d.decided_at + if(d.surface = 'email', INTERVAL 72 HOURS, INTERVAL 2 HOURS)""")
    assert late["n"][0] == 0
    assert len(columns("SELECT 1 AS x FROM outcomes GROUP BY decision_id, reward HAVING count(*) > 1")["x"]) == 0
    assert len(columns("SELECT 1 AS x FROM outcomes ANTI JOIN decisions USING (decision_id)")["x"]) == 0
    clicks = columns("""SELECT count(*) AS n FROM outcomes o JOIN events e USING (decision_id)
        WHERE o.reward = 'click' AND e.type = 'click' AND e.occurred_at = o."at" """)["n"][0]
    assert clicks == columns("SELECT count(*) AS n FROM outcomes WHERE reward = 'click'")["n"][0] > 500
    assert clicks == columns("SELECT count(*) AS n FROM events WHERE type = 'click'")["n"][0]
    bought = columns("""SELECT count(DISTINCT o.decision_id) AS n FROM outcomes o JOIN decisions d USING (decision_id)
        JOIN events e ON e.type = 'purchase' AND e.occurred_at = o."at" WHERE o.reward = 'purchase'
        AND (e.customer_id = d.customer_id OR e.visitor_id = d.visitor_id)""")["n"][0]
    assert bought == columns("SELECT count(*) AS n FROM outcomes WHERE reward = 'purchase'")["n"][0]
    clicked = columns("""SELECT d.action_id FROM decisions d JOIN outcomes o USING (decision_id)
        WHERE o.reward = 'click'""")
    assert None not in set(clicked["action_id"]), "nothing was shown, and yet clicked"


def test_outcomes_are_what_events_in_the_window_say(columns):
    """A second derivation: joining events to decisions by customer and window finds the same mail outcomes."""
    derived = columns("""SELECT d.decision_id, bool_or(e.type = 'purchase') AS bought FROM decisions d
        JOIN events e ON e.customer_id = d.customer_id AND e.occurred_at >= d.decided_at
        AND e.occurred_at < d.decided_at + INTERVAL 72 HOURS WHERE d.surface = 'email' GROUP BY 1 HAVING bought""")
    recorded = columns("""SELECT decision_id FROM outcomes o JOIN decisions d USING (decision_id)
        WHERE d.surface = 'email' AND o.reward = 'purchase'""")
    assert sorted(derived["decision_id"]) == sorted(recorded["decision_id"])


def test_a_page_shows_no_action_twice(columns):
    """The second slot is drawn without the first one's action, and says that it was vetoed for that."""
    pages = columns("""SELECT h.action_id AS hero, b.action_id AS band, b.vetoed, b.eligible, b.draw_order
        FROM decisions h JOIN decisions b USING (request_id) WHERE h.slot = 'hero' AND b.slot = 'band' AND h.drawn""")
    both = [(hero, band) for hero, band in zip(pages["hero"], pages["band"], strict=True) if hero is not None]
    assert len(both) > 5_000
    assert all(hero != band for hero, band in both)
    shared = {action.id for action in PAGE_ACTIONS if len(action.slots) == 2}
    for hero, vetoed, eligible in zip(pages["hero"], pages["vetoed"], pages["eligible"], strict=True):
        if hero in shared:
            assert [hero, "shown in another slot"] in orjson.loads(vetoed)
            assert hero not in dict(orjson.loads(eligible))


def test_modules_show_items_and_other_actions_do_not(columns):
    """Product modules list four items, all others none."""
    shown = columns(
        "SELECT action_id, len(items) AS n FROM decisions WHERE action_id IS NOT NULL AND surface = 'page.home'"
    )
    for action, count in zip(shown["action_id"], shown["n"], strict=True):
        assert count == (4 if action.startswith("products") else None)


def test_mails_leave_their_traces(columns):
    """Each mail decided was sent once; opens, clicks and unsubscriptions follow; after leaving nothing is decided."""
    sent = columns("SELECT count(*) AS n, count(DISTINCT decision_id) AS d FROM events WHERE type = 'sent'")
    mails = {action.id for action in MAIL_ACTIONS}
    decided = columns("SELECT action_id FROM decisions WHERE surface = 'email' AND action_id IS NOT NULL")["action_id"]
    assert set(decided) == mails
    assert sent["n"][0] == sent["d"][0] == len(decided)
    early = columns("""SELECT count(*) AS n FROM events e JOIN events s USING (decision_id)
        WHERE e.type IN ('open', 'click', 'bounce', 'unsubscribe') AND e.channel = 'email' AND s.type = 'sent'
        AND e.occurred_at <= s.occurred_at""")
    assert early["n"][0] == 0
    after = columns("""SELECT count(*) AS n FROM events u JOIN decisions d USING (customer_id)
        WHERE u.type = 'unsubscribe' AND d.surface = 'email' AND d.decided_at > u.occurred_at""")
    assert after["n"][0] == 0
    withdrawn = columns("SELECT count(*) AS n FROM customers WHERE list_contains(channels, 'email') = false")["n"][0]
    assert withdrawn > columns("SELECT count(*) AS n FROM events WHERE type = 'unsubscribe'")["n"][0] > 0


def test_truth_of_another_world_is_refused(tmp_path, report):
    """No truth, or that of another version, is an error with a remedy."""
    with pytest.raises(DataError, match="no truth here"):
        Truth.load(tmp_path)
    manifest = orjson.loads((report.truth / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_bytes(orjson.dumps({**manifest, "world_version": 99}))
    with pytest.raises(DataError, match="another world"):
        Truth.load(tmp_path)
    with pytest.raises(NotFoundError, match="no such reward"):
        Truth.load(report.truth).responses("hero", "applause")


def test_nothing_in_training_but_the_simulation_reads_the_truth():
    """No module outside the simulation imports its truth, so no trainer can see the answer."""
    from pathlib import Path

    import training

    home = Path(training.__file__).parent
    readers = {
        path.relative_to(home).as_posix()
        for path in home.rglob("*.py")
        if "simulation.truth" in path.read_text(encoding="utf-8")
        or "simulation import truth" in path.read_text(encoding="utf-8")
    }
    allowed = ("simulation/", "bench/")
    assert all(reader.startswith(allowed) for reader in readers), readers
