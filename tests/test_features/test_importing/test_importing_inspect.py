"""Looking at an unknown file: the proposed mapping is one that works, and nothing is written."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.importing import parse_mapping
from features.importing.inspect import Inspection, inspect_file
from features.importing.proposal import guess_format, match_names, propose_mapping
from features.moments import parse_instant

NOW = parse_instant("2024-06-01")
JAPANESE = """注文番号,購入日時,会員番号,商品コード,商品名,数量,単価(税込),区分
A1,2024/01/31 23:30,1001,SKU-1,緑茶,２,"￥1,980",購入
A1,2024/01/31 23:30,1001,SKU-2,急須,1,"￥3,500",購入
A2,2024/02/06 09:00,1002,SKU-1,緑茶,1,￥１，９８０,購入
A3,2024/02/07 12:00,1002,SKU-1,緑茶,1,"1,980円",返品
A4,2024/02/08 12:00,,SKU-1,緑茶,1,"1,980円",購入
"""


def look(path: Path) -> Inspection:
    """Inspect without a mapping."""
    return inspect_file(path, None, now=NOW)


def test_a_japanese_export_is_understood(till: Any) -> None:
    """Names, encoding, full-width digits, yen, types and the zone; the proposal imports as it stands."""
    path = till.file(JAPANESE.encode("cp932"))
    found = look(path)
    mapping = parse_mapping(tomllib.loads(found.mapping_toml))
    assert mapping.columns == {
        "order_id": "注文番号", "occurred_at": "購入日時", "customer_id": "会員番号", "item_id": "商品コード",
        "quantity": "数量", "unit_price": "単価(税込)", "type": "区分",
    }  # fmt: skip
    assert mapping.time_formats == ["%Y/%m/%d %H:%M"]
    assert mapping.time_zone == "Asia/Tokyo"
    assert mapping.types == {"購入": "purchase", "返品": "return"}
    assert [(m.month, m.orders, m.units, m.revenue) for m in found.totals.months] == [
        ("2024-01", 1, 3.0, 2 * 1980 + 3500), ("2024-02", 2, 1 - 1, 1980 - 1980),
    ]  # fmt: skip
    assert found.reasons == {"missing-id": 1}
    assert len(found.rows) == 4
    assert any("Asia/Tokyo" in advice for advice in found.advice)
    assert till.run(path, **tomllib.loads(found.mapping_toml), constants={}).added == 4


def test_inspecting_writes_nothing(till: Any) -> None:
    """No dataset, no folder beside the file."""
    path = till.file(JAPANESE)
    before = sorted(till.root.rglob("*"))
    look(path)
    assert sorted(till.root.rglob("*")) == before


def test_a_european_export(till: Any) -> None:
    """Semicolons, decimal commas, days before months, negative quantities as returns, no types."""
    header = "Order No;Invoice Date;Customer;SKU;Qty;Unit Price"
    rows = ["1;25.01.2024 10:00;7;a;-2;1.980,50", "1;26.01.2024 10:00;7;a;1;3,00"]
    mapping = propose_mapping(till.file("\n".join([header, *rows]))).mapping
    assert (mapping.delimiter, mapping.decimal, mapping.negative_quantity) == (";", ",", "return")
    assert mapping.time_formats == ["%d.%m.%Y %H:%M"]
    assert mapping.constants == {"type": "purchase"}


def test_days_and_months_that_could_be_swapped(till: Any) -> None:
    """Are pointed out instead of guessed in silence."""
    proposal = propose_mapping(till.file("date,user_id,item_id\n01/02/2024,1,a\n03/04/2024,1,b\n"))
    assert any("could be swapped" in advice for advice in proposal.advice)


@pytest.mark.parametrize(
    ("header", "row", "table"),
    [
        ("商品コード,商品名,大分類,中分類,価格,色", "S1,緑茶,食品,茶,500,緑", "items"),
        ("会員番号,会員ランク,年齢", "1,gold,40", "customers"),
        ("visitor_id,customer_id,linked_at", "v,c,2024-01-01T00:00:00Z", "identities"),
        ("order_id,line,shipment_state,updated_at", "1,1,shipped,2024-01-01T00:00:00Z", "orders"),
        ("user_id,event_type,timestamp", "1,search,1704450030", "events"),
    ],
)
def test_the_table_is_guessed(till: Any, header: str, row: str, table: str) -> None:
    """By the columns that are there; the proposal reads the row."""
    found = look(till.file(f"{header}\n{row}\n"))
    assert f'table = "{table}"' in found.mapping_toml
    assert (found.read, found.reasons, len(found.rows)) == (1, {}, 1)


def test_categories_and_attributes_of_a_catalogue(till: Any) -> None:
    """Levels make a path, what has no place becomes an attribute."""
    mapping = propose_mapping(till.file("商品コード,商品名,大分類,中分類,価格,色\nS1,緑茶,食品,茶,500,緑\n")).mapping
    assert mapping.columns["category"] == ["大分類", "中分類"]
    assert mapping.attributes == {"色": "色"}


def test_json_lines_and_parquet(till: Any) -> None:
    """Told by their content."""
    row = {"event_id": "e1", "event_type": "view", "timestamp": "2024-01-05T10:00:00Z", "user_id": "u", "sku": "s"}
    lines = till.file(json.dumps(row) + "\n", ".log")
    table = till.root / "export.bin"
    pq.write_table(pa.Table.from_pylist([row]), table)
    for path, form in ((lines, "jsonl"), (table, "parquet")):
        assert guess_format(path)[0] == form
        found = look(path)
        assert found.totals.events == {"view": 1}


def test_unix_times_are_told_from_dates(till: Any) -> None:
    """20240105 is a day, 1704450030 is a second."""
    for text, form in (("20240105", "%Y%m%d"), ("1704450030", "unix"), ("1704450030000", "unix-ms")):
        mapping = propose_mapping(till.file(f"date,user_id,item_id\n{text},1,a\n")).mapping
        assert mapping.time_formats == [form]


def test_a_file_that_says_nothing_is_said_to_be_incomplete(till: Any) -> None:
    """The draft is shown with what is missing; an empty file has nothing to show."""
    found = look(till.file("foo,bar\n1,2\n"))
    assert any("the mapping is not complete" in advice for advice in found.advice)
    assert found.rows == []


def test_names_are_compared_without_case_spaces_and_brackets() -> None:
    """The first column that fits is taken."""
    found = match_names(["Order-ID", "ORDER DATE", "Customer_ID", "商品コード（JAN）", "数 量"])
    assert found == {
        "order_id": "Order-ID", "occurred_at": "ORDER DATE", "customer_id": "Customer_ID",
        "item_id": "商品コード（JAN）", "quantity": "数 量",
    }  # fmt: skip
