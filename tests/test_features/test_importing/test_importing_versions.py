"""Items, customers, orders and links: versions are added when they say something new."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from features.dataset import versions_as_of
from features.moments import parse_instant, to_datetime

ITEMS: dict[str, Any] = {
    "table": "items",
    "header": "sku,name,price,since",
    "columns": {"item_id": "sku", "title": "name", "price": "price"},
}
DATED: dict[str, Any] = {**ITEMS, "columns": {**ITEMS["columns"], "valid_from": "since"}}


def items_at(till: Any, now: str) -> list[Any]:
    """(id, title, price) in force at a moment."""
    with till.dataset.connect() as duck:
        query = versions_as_of("items", parse_instant(now))
        return duck.sql(f"SELECT item_id, title, price FROM ({query}) ORDER BY ALL").fetchall()  # type: ignore[no-any-return]


def test_a_catalogue_without_history_is_in_force_from_ever_and_says_so(till: Any) -> None:
    """The record is marked static, so that the audit can warn of leaks."""
    till.lines("tea,Tea,1,", "cup,Cup,5,", **ITEMS)
    assert items_at(till, "1970-01-02") == [("cup", "Cup", 5.0), ("tea", "Tea", 1.0)]
    (record,) = till.dataset.manifest().imports
    assert record.static_catalogue
    assert "without history: items" in record.notes


def test_the_same_catalogue_again_adds_nothing(till: Any) -> None:
    """Nothing is committed; rows that repeat within the file collapse."""
    till.lines("tea,Tea,1,", **ITEMS)
    report = till.lines("tea,Tea,1,", "tea,Tea,1,", **ITEMS)
    counts = report.tables["items"]
    assert (counts.added, counts.already_there + counts.collapsed, report.import_id) == (0, 2, None)


def test_a_changed_row_of_it_counts_from_the_import_on(till: Any) -> None:
    """What was known before stays known for the past; new items are in force from ever."""
    till.lines("tea,Tea,1,", **ITEMS, now="2024-02-01T00:00:00Z")
    report = till.lines("tea,Tea,2,", "cup,Cup,5,", **ITEMS, now="2024-03-01T00:00:00Z")
    assert report.added == 2
    assert items_at(till, "2024-02-28") == [("cup", "Cup", 5.0), ("tea", "Tea", 1.0)]
    assert items_at(till, "2024-03-01") == [("cup", "Cup", 5.0), ("tea", "Tea", 2.0)]


def test_an_old_file_again_is_no_news(till: Any) -> None:
    """The first catalogue, imported a second time after the second one, changes nothing."""
    one, two = (till.file(f"sku,name,price,since\ntea,Tea,{price},\n") for price in (1, 2))
    mapping = {key: value for key, value in ITEMS.items() if key != "header"}
    for path, added in ((one, 1), (two, 1), (one, 0), (two, 0)):
        assert till.run(path, **mapping).added == added
    assert items_at(till, "2999-01-01") == [("tea", "Tea", 2.0)]


def test_undated_rows_from_now_on(till: Any) -> None:
    """Where the mapping says that the catalogue is new, nothing is claimed of the past."""
    till.lines("tea,Tea,1,", **ITEMS, undated="now", now="2024-02-01T00:00:00Z")
    assert items_at(till, "2024-01-31") == []
    assert not till.dataset.manifest().static_catalogue


def test_dated_versions_are_kept_where_they_differ(till: Any) -> None:
    """Three prices, one of them said twice, in any order."""
    lines = ["tea,Tea,1,2024-01-01", "tea,Tea,1,2024-02-01", "tea,Tea,2,2024-03-01"]
    report = till.lines(*reversed(lines), **DATED)
    assert (report.tables["items"].added, report.tables["items"].already_there) == (2, 1)
    assert till.lines(*lines, **DATED).added == 0
    assert [items_at(till, f"2024-{month}-15")[0][2] for month in ("02", "03")] == [1.0, 2.0]
    assert till.lines("tea,Tea,1,2024-04-01", **DATED).added == 1  # back to the first price is news


def test_one_moment_with_two_contents_is_a_collision(till: Any) -> None:
    """The known version stays."""
    till.lines("tea,Tea,1,2024-01-01", **DATED)
    report = till.lines("tea,Tee,1,2024-01-01", **DATED)
    assert report.reasons == {"collision": 1}
    assert till.quarantine(report)[0]["raw"]["title"] == "Tee"
    assert items_at(till, "2024-02-01") == [("tea", "Tea", 1.0)]


def test_a_price_list_does_not_wipe_out_titles(till: Any) -> None:
    """Columns that an import does not fill keep what was known."""
    till.lines("tea,Tea,1,", **ITEMS, now="2024-02-01T00:00:00Z")
    prices = {"table": "items", "columns": {"item_id": "sku", "price": "price"}}
    till.lines("tea,3", header="sku,price", **prices, now="2024-03-01T00:00:00Z")
    assert items_at(till, "2024-04-01") == [("tea", "Tea", 3.0)]
    assert till.lines("tea,3", "", header="sku,price", **prices, now="2024-05-01T00:00:00Z").added == 0


def test_categories_tags_and_attributes(till: Any) -> None:
    """A path from several columns, tags from one, everything else by name."""
    columns = {"item_id": "sku", "category": ["big", "small"], "tags": "tags"}
    till.lines("tea,Food,Tea,a|b,green", header="sku,big,small,tags,colour", table="items", columns=columns,
               attributes={"colour": "colour"})  # fmt: skip
    row = till.dataset.read("items").to_pylist()[0]
    assert (row["category"], row["tags"], row["attributes"]) == (["Food", "Tea"], ["a", "b"], '{"colour":"green"}')


def test_customers_and_their_attributes(till: Any) -> None:
    """Tiers and points are columns of ours, the rest is theirs."""
    columns = {"customer_id": "id", "tier": "rank", "points": "points"}
    till.lines("1,gold,\"1,200\",40", header="id,rank,points,age", table="customers", columns=columns,
               attributes={"age": {"column": "age", "kind": "number"}})  # fmt: skip
    row = till.dataset.read("customers").to_pylist()[0]
    assert (row["customer_id"], row["tier"], row["points"], row["attributes"]) == ("1", "gold", 1200.0, '{"age":40}')


def test_the_states_of_an_order_line(till: Any) -> None:
    """Each state is a version of the line; promised dates may lie ahead."""
    columns = {"order_id": "o", "line": "l", "shipment_state": "s", "valid_from": "t", "promised_at": "p"}
    lines = ["1,1,confirmed,2024-01-01,2024-12-24", "1,1,shipped,2024-01-02,2024-12-24", "1,2,confirmed,2024-01-01,"]
    report = till.lines(*lines, header="o,l,s,t,p", table="orders", columns=columns)
    assert (report.added, report.reasons) == (3, {})
    with till.dataset.connect() as duck:
        query = versions_as_of("orders", parse_instant("2024-02-01"))
        found = duck.sql(f"SELECT line, shipment_state FROM ({query}) ORDER BY ALL").fetchall()
    assert found == [("1", "shipped"), ("2", "confirmed")]


def test_links_of_visitors_and_customers(till: Any) -> None:
    """A link is known once; a missing id is named."""
    columns = {"visitor_id": "v", "customer_id": "c", "linked_at": "t"}
    given = {"header": "v,c,t", "table": "identities", "columns": columns}
    lines = ["v1,ann,2024-01-01", "v1,ann,2024-01-01", "v1,bob,2024-01-02", ",bob,2024-01-02", "v2,bob,"]
    report = till.lines(*lines, **given)
    counts = report.tables["identities"]
    assert (counts.added, counts.collapsed, counts.quarantined) == (2, 1, 2)
    assert report.reasons == {"missing-id": 1, "missing-time": 1}
    assert till.lines(*lines, **given).added == 0


@pytest.mark.parametrize("table", ["items", "customers", "orders"])
def test_a_version_needs_its_keys(till: Any, table: str) -> None:
    """Rows without them go to quarantine."""
    keys = {"items": ["item_id"], "customers": ["customer_id"], "orders": ["order_id", "line"]}[table]
    header = ",".join([*keys, "more"])
    report = till.lines("," * len(keys) + "x", header=header, table=table, columns={key: key for key in keys})
    assert report.reasons == {"missing-id": 1}


def test_an_export_of_deliveries_may_name_the_carrier_s_moment_and_the_pickup(till: Any) -> None:
    """The moment lies ahead; mappings from before that name none of it keep working beside it."""
    columns = {"order_id": "o", "line": "l", "customer_id": "c", "item_id": "i", "shipment_state": "s",
               "valid_from": "t"}  # fmt: skip
    till.lines("1,1,ann,tea,confirmed,2024-01-01T00:00Z", header="o,l,c,i,s,t", table="orders", columns=columns)
    more = {"confirmed_for": "f", "pickup_place": "p", "pickup_hours": "h"}
    report = till.lines(
        "1,1,ann,tea,ready_for_pickup,2024-01-02T00:00Z,2999-01-05T10:00Z,Shop,9-17",
        header="o,l,c,i,s,t,f,p,h", table="orders", columns=columns | more,
    )  # fmt: skip
    assert report.tables["orders"].accounted == 1
    first, second = sorted(till.dataset.read("orders").to_pylist(), key=lambda row: row["valid_from"])
    assert (first["confirmed_for"], first["pickup_place"]) == (None, None)
    assert second["confirmed_for"] == to_datetime(parse_instant("2999-01-05T10:00Z"))
    assert (second["pickup_place"], second["pickup_hours"], second["item_id"]) == ("Shop", "9-17", "tea")


def test_an_export_of_customers_may_name_how_they_want_to_be_greeted(till: Any) -> None:
    columns = {"customer_id": "c", "name": "n", "valid_from": "t", "projects": "p"}
    project = '[{""kind"": ""garden"", ""since"": 1}]'
    rows = (f'ann,Ann,2024-01-01T00:00Z,"{project}"', 'bob,Bob,2024-01-01T00:00Z,"{""kind"": 1}"')
    report = till.lines(*rows, header="c,n,t,p", table="customers", columns=columns)
    assert "projects" in till.quarantine(report)[0]["detail"]
    (row,) = till.dataset.read("customers").to_pylist()
    assert (row["name"], orjson.loads(row["projects"])) == ("Ann", [{"kind": "garden", "since": 1}])
