"""A simulated shop of size s: what its tables promise to whoever reads them."""

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from features.build import histories_as_of
from features.dataset import Dataset, versions_as_of
from features.kinds import SHIPMENT_STATES
from features.moments import DAY, parse_instant
from features.schemas import TABLES
from features.shared import shared_tables
from training.simulation import simulate
from training.simulation.locale import locale_of
from training.simulation.visits import CHANNELS
from training.simulation.world import CATEGORIES, SIZES


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("shop") / "dataset", size="s", seed=11)


@pytest.fixture(scope="module")
def duck(report):
    with Dataset(report.dataset).connect(memory="1GB", threads=2) as connection:
        yield connection


@pytest.fixture
def rows(duck):
    """Run SQL, get dictionaries."""
    return lambda sql: duck.sql(sql).to_arrow_table().to_pylist()


@pytest.fixture
def count(rows):
    """The one number that a query gives."""
    return lambda sql: next(iter(rows(f"SELECT count(*) AS n FROM ({sql})")[0].values()))


def test_it_has_the_size_it_says(report, count):
    """1,500 customers, 600 items, 80 to 105 thousand events, eight and a half months; counts are those of the files."""
    size = SIZES["s"]
    assert (size.customers, size.items) == (1_500, 600)
    assert 80_000 < report.counts["events"] < 105_000
    assert report.end - report.start == size.days * DAY
    for table in TABLES:
        assert count(f"SELECT 1 FROM {table}") == report.counts[table] > 0
    assert count("SELECT DISTINCT item_id FROM items") == size.items
    assert 0.95 * size.customers < count("SELECT DISTINCT customer_id FROM customers") <= size.customers


def test_files_conform_to_the_schemas_and_hold_no_column_of_the_truth(report):
    """Every part has exactly the columns of its schema, with its types, nullability and version."""
    dataset = Dataset(report.dataset)
    for table, schema in TABLES.items():
        for part in dataset.parts(table):
            stored = pq.read_schema(part)
            assert stored.names == schema.names
            assert stored.metadata[b"kokyaku.table"] == table.encode()
            assert [field.nullable for field in stored] == [field.nullable for field in schema]
            for field in schema:
                if field.name not in ("items", "category", "tags", "channels"):  # Parquet names list elements otherwise
                    assert stored.field(field.name).type == field.type
        assert dataset.read(table).schema.equals(schema)


def test_json_columns_say_only_what_a_shop_would_know(rows):
    """The keys of attributes, answers, consents and features are the public ones."""
    public = {
        "customers.attributes": {"age", "household", "contact", "deal_alerts"},
        "customers.answers": {"pet"},
        "customers.consents": {"personalization", "email", "training"},
        "items.attributes": {"colour", "material"},
        "events.attributes": {"query", "stars", "topic", "reason", "question", "answer"},
    }
    for place, allowed in public.items():
        table, column = place.split(".")
        texts = rows(f"SELECT DISTINCT {column} AS text FROM {table} WHERE {column} IS NOT NULL")
        assert {key for row in texts for key in orjson.loads(row["text"])} == allowed
    features = rows("SELECT features AS text FROM decisions WHERE features IS NOT NULL")
    for row in features[:500]:
        said = orjson.loads(row["text"])
        assert said["names"] == ["device", "traffic_source", "hour", "weekday", "month", "region", "known"]
        assert len(said["rows"][0]) == 7


def test_event_ids_are_unique_and_somebody_did_each(count):
    """No id twice; every event has a customer or a visitor; what needs an item names one that is in the catalogue."""
    assert count("SELECT event_id FROM events GROUP BY 1 HAVING count(*) > 1") == 0
    assert count("SELECT 1 FROM events WHERE customer_id IS NULL AND visitor_id IS NULL") == 0
    assert count("SELECT 1 FROM events ANTI JOIN items USING (item_id) WHERE events.item_id IS NOT NULL") == 0
    needs = "('view', 'cart', 'cart_remove', 'wishlist', 'wishlist_remove', 'purchase', 'return', 'review')"
    assert count(f"SELECT 1 FROM events WHERE type IN {needs} AND item_id IS NULL") == 0
    assert (
        count("SELECT 1 FROM events ANTI JOIN customers USING (customer_id) WHERE events.customer_id IS NOT NULL") == 0
    )


def test_nothing_lies_outside_the_period(report, rows):
    """No time before the start, none at or after the end (a promised delivery apart)."""
    times = {
        "events": ("occurred_at", "recorded_at"),
        "decisions": ("decided_at",),
        "outcomes": ("at",),
        "orders": ("valid_from", "ordered_at"),
        "identities": ("linked_at",),
        "items": ("valid_from", "available_from", "available_until"),
        "customers": ("valid_from",),
    }
    for table, columns in times.items():
        for column in columns:
            (span,) = rows(f'SELECT epoch_us(min("{column}")) AS first, epoch_us(max("{column}")) AS last FROM {table}')
            assert span["first"] is None or report.start <= span["first"] <= span["last"] < report.end


def test_a_few_events_come_in_late(count):
    """Some events are recorded hours after they occurred, none before."""
    late = count("SELECT 1 FROM events WHERE recorded_at > occurred_at")
    assert 0.01 < late / count("SELECT 1 FROM events") < 0.04
    assert count("SELECT 1 FROM events WHERE recorded_at < occurred_at") == 0


def test_every_purchase_has_an_order_and_every_order_a_purchase(count):
    """One confirmed line for each purchase: same order, line, item, quantity, customer and time."""
    both = """SELECT 1 FROM events e JOIN orders o USING (order_id, line)
              WHERE e.type = 'purchase' AND o.shipment_state = 'confirmed' AND e.item_id = o.item_id
              AND e.quantity = o.quantity AND e.occurred_at = o.ordered_at AND o.valid_from = o.ordered_at
              AND e.customer_id IS NOT DISTINCT FROM o.customer_id"""
    purchases = count("SELECT 1 FROM events WHERE type = 'purchase'")
    assert count(both) == purchases > 5_000
    assert count("SELECT DISTINCT order_id, line FROM orders") == purchases


def test_orders_go_through_their_states_in_order(report, count, rows):
    """Confirmed first, then production, shipping, delivery; nothing is delivered and lost; some are late."""
    assert {row["s"] for row in rows("SELECT DISTINCT shipment_state AS s FROM orders")} <= set(SHIPMENT_STATES)
    when = """SELECT order_id, line, min(promised_at) AS promised, any_value(item_id) AS item_id,
        min(valid_from) FILTER (shipment_state = 'confirmed') AS confirmed,
        min(valid_from) FILTER (shipment_state = 'in_production') AS made,
        min(valid_from) FILTER (shipment_state = 'shipped') AS shipped,
        min(valid_from) FILTER (shipment_state = 'delivered') AS delivered,
        min(valid_from) FILTER (shipment_state = 'returned') AS returned,
        min(valid_from) FILTER (shipment_state IN ('cancelled', 'lost')) AS ended
        FROM orders GROUP BY ALL"""
    for wrong in (
        "confirmed IS NULL", "promised < confirmed", "made <= confirmed", "shipped <= coalesce(made, confirmed)",
        "delivered <= shipped", "delivered IS NOT NULL AND shipped IS NULL", "returned <= delivered",
        "ended IS NOT NULL AND delivered IS NOT NULL",
    ):  # fmt: skip
        assert count(f"SELECT 1 FROM ({when}) WHERE {wrong}") == 0, wrong
    delivered = count(f"SELECT 1 FROM ({when}) WHERE delivered IS NOT NULL")
    assert 0.03 < count(f"SELECT 1 FROM ({when}) WHERE delivered > promised") / delivered < 0.15
    assert count(f"SELECT 1 FROM ({when}) WHERE ended IS NOT NULL") > 10
    items = versions_as_of("items", report.end)
    slow = f"SELECT 1 FROM ({when}) JOIN ({items}) USING (item_id) WHERE lead_time_days >= 28"
    assert count(f"{slow} AND made IS NOT NULL") > 0.5 * count(slow) > 5


def test_returns_follow_delivery_or_cancellation(count):
    """A return names the order line, its item and amounts, after it was delivered or cancelled."""
    returns = count("SELECT 1 FROM events WHERE type = 'return'")
    matched = """SELECT DISTINCT r.event_id FROM events r JOIN events p USING (order_id, line)
        JOIN orders o USING (order_id, line)
        WHERE r.type = 'return' AND p.type = 'purchase' AND r.item_id = p.item_id AND r.quantity = p.quantity
        AND r.unit_price = p.unit_price AND o.shipment_state IN ('delivered', 'cancelled')
        AND r.occurred_at >= o.valid_from"""
    assert count(matched) == returns > 50


def test_what_is_bought_was_in_stock_at_its_price(count):
    """As of each purchase the item was in the catalogue, in stock, and had that price."""
    asof = """SELECT p.unit_price, i.price, i.in_stock FROM events p ASOF LEFT JOIN items i
              ON p.item_id = i.item_id AND p.occurred_at >= i.valid_from WHERE p.type = 'purchase'"""
    assert count(f"SELECT 1 FROM ({asof}) WHERE NOT coalesce(in_stock, false)") == 0
    assert count(f"SELECT 1 FROM ({asof}) WHERE unit_price <> price") == 0
    assert count("SELECT 1 FROM items WHERE NOT in_stock") > 50
    early = """SELECT 1 FROM events e ASOF LEFT JOIN items i ON e.item_id = i.item_id AND e.occurred_at >= i.valid_from
               WHERE e.type = 'view' AND i.item_id IS NULL"""
    assert count(early) == 0, "seen before it was launched"


def test_the_future_of_an_item_is_not_in_its_past(count):
    """The end of an item and its successor stand only in versions from that end on."""
    assert count("SELECT 1 FROM items WHERE available_until > valid_from") == 0
    assert count("SELECT 1 FROM items WHERE successor_id IS NOT NULL AND available_until IS NULL") == 0
    assert count("SELECT 1 FROM items WHERE successor_id IS NOT NULL") > 5


def test_wishes_are_added_removed_and_bought(count):
    """An item is wished once; a removal follows its adding and no purchase: a bought wish is closed."""
    add = "SELECT customer_id, item_id, occurred_at AS added FROM events WHERE type = 'wishlist'"
    remove = "SELECT customer_id, item_id, occurred_at AS removed FROM events WHERE type = 'wishlist_remove'"
    buy = "SELECT customer_id, item_id, occurred_at AS bought FROM events WHERE type = 'purchase'"
    wishes = count(add)
    assert wishes == count(f"SELECT DISTINCT customer_id, item_id FROM ({add})") > 500
    taken_back = f"SELECT * FROM ({add}) JOIN ({remove}) USING (customer_id, item_id) WHERE added < removed"
    assert count(taken_back) == count(remove)
    assert 0.05 < count(remove) / wishes < 0.35
    closed = (
        f"SELECT 1 FROM ({taken_back}) JOIN ({buy}) USING (customer_id, item_id) WHERE bought BETWEEN added AND removed"
    )
    assert count(closed) == 0


def test_a_wish_tells_of_a_purchase(count):
    """What is not used up and was wished is bought later several times as often as what was only looked at."""
    names = [
        name for category, name in zip(CATEGORIES, locale_of("en").categories, strict=True) if not category.cycle_days
    ]
    kind = f"SELECT DISTINCT item_id FROM items WHERE category[2] IN {tuple(names)}"
    seen = f"""SELECT customer_id, item_id, min(occurred_at) AS seen, bool_or(type = 'wishlist') AS wished FROM events
               SEMI JOIN ({kind}) USING (item_id) WHERE type IN ('view', 'wishlist') AND customer_id IS NOT NULL
               GROUP BY ALL"""
    later = f"""SELECT DISTINCT customer_id, item_id FROM ({seen}) s JOIN events e USING (customer_id, item_id)
                WHERE e.type = 'purchase' AND e.occurred_at > s.seen + INTERVAL 2 HOURS AND s.wished = {{}}"""
    wished = count(later.format("true")) / count(f"SELECT 1 FROM ({seen}) WHERE wished")
    looked = count(later.format("false")) / count(f"SELECT 1 FROM ({seen}) WHERE NOT wished")
    assert wished > 3 * looked > 0


def test_anonymous_visits_and_sign_ins(count):
    """Many views have no customer; a sign-in event and an identity come together; earlier events stay anonymous."""
    views = count("SELECT 1 FROM events WHERE type = 'view'")
    assert 0.2 < count("SELECT 1 FROM events WHERE type = 'view' AND customer_id IS NULL") / views < 0.6
    links = count("SELECT 1 FROM identities")
    met = """SELECT 1 FROM identities i JOIN events e ON e.type = 'sign_in' AND e.visitor_id = i.visitor_id
             AND e.customer_id = i.customer_id AND e.occurred_at = i.linked_at"""
    assert count(met) == links == count("SELECT 1 FROM events WHERE type = 'sign_in'") > 500
    session = "SELECT session_id, min(occurred_at) AS at FROM events WHERE type = 'sign_in' GROUP BY 1"
    wrong = f"""SELECT 1 FROM events e JOIN ({session}) s USING (session_id)
                WHERE (e.occurred_at < s.at) <> (e.customer_id IS NULL)"""
    assert count(wrong) == 0
    assert count("SELECT 1 FROM events WHERE type = 'sign_out'") > 100


def test_a_session_is_one_visitor_on_one_device(count):
    """Sessions have one visitor, device, source and region, and last under two hours."""
    spread = """SELECT session_id FROM events WHERE session_id IS NOT NULL GROUP BY 1
        HAVING count(DISTINCT visitor_id) <> 1 OR count(DISTINCT device) <> 1 OR count(DISTINCT region) <> 1
        OR count(DISTINCT traffic_source) <> 1 OR count(DISTINCT customer_id) > 1
        OR max(occurred_at) - min(occurred_at) > INTERVAL 2 HOURS"""
    assert count(spread) == 0


def test_there_are_robots(rows):
    """Two visitors look at hundreds of items within minutes."""
    (robots,) = rows("""SELECT count(*) AS n FROM (SELECT visitor_id, date_trunc('hour', occurred_at) AS hour
        FROM events WHERE customer_id IS NULL AND type = 'view' GROUP BY ALL HAVING count(*) > 60) """)
    assert robots["n"] >= SIZES["s"].bots


def test_channels_and_subscriptions(rows, count):
    """Channels are the declared ones; a subscription's orders come without a visit."""
    assert {row["c"] for row in rows("SELECT DISTINCT channel AS c FROM events")} == set(CHANNELS)
    automatic = "SELECT 1 FROM events WHERE type = 'purchase' AND channel = 'subscription'"
    subscribed = "SELECT 1 FROM orders WHERE subscription IS NOT NULL AND shipment_state = 'confirmed'"
    assert count(automatic) == count(subscribed) > 50
    assert count(f"{automatic} AND session_id IS NOT NULL") == 0
    assert count("SELECT 1 FROM orders WHERE gift") > 20


def test_seasons_differ_by_region(rows):
    """Winter things sell in winter."""
    share = """SELECT avg((month(occurred_at) IN (1, 2, 3))::INT) AS winter FROM events e
               JOIN (SELECT DISTINCT item_id, category FROM items) USING (item_id) WHERE type = 'view' AND {}"""
    warm = rows(share.format("category[2] IN ('Fans', 'Garden')"))[0]["winter"]
    cold = rows(share.format("category[2] IN ('Jackets', 'Blankets')"))[0]["winter"]
    assert cold > 1.5 * warm


def test_histories_can_be_built(report):
    """The one relational step works on it, links included; nothing is known before the first event."""
    dataset = Dataset(report.dataset)
    histories = histories_as_of(dataset)
    assert len(histories.events) == report.counts["events"]
    assert len(histories.items) == SIZES["s"].items
    half = histories_as_of(dataset, parse_instant("2025-05-01"))
    assert 0 < len(half.events) < len(histories.events)


class Tight(Dataset):
    """A dataset over which a query may take little memory."""

    def connect(self, *, memory="70MB", threads=2):
        return super().connect(memory=memory, threads=threads)


def test_statistics_of_items_need_little_memory(report):
    """A shop of fifty million events has to go through 4 GB: what is kept of each event goes to the disk or nowhere."""
    histories = histories_as_of(Dataset(report.dataset))
    tight, usual = (
        shared_tables(kind(report.dataset), histories.items, report.end)[0].arrays() for kind in (Tight, Dataset)
    )
    assert all(np.array_equal(tight[name], usual[name], equal_nan=tight[name].dtype.kind == "f") for name in usual)
    assert (usual["shared.buyers"] > 0).sum() > 100
