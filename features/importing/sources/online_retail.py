"""UCI Online Retail: the order lines of a gift shop in the United Kingdom, December 2010 to December 2011.

How its lines are read, each rule counted under its name:

- An invoice whose number begins with C is a cancellation: a `return` with positive quantity.
- `fee`: postage, bank charges, samples, vouchers, manual corrections are not items (kept with keep_fees).
- `stock-adjustment`: a price of zero without a customer is a stock count or a damaged carton, not a purchase. A price
  of zero with a customer is a gift and stays.
- Lines equal in everything are one event: the file repeats some thousand lines that the shop sold once.
- A line without a customer belongs to the anonymous visitor `invoice:<number>`, so its basket stays together.
- Customer numbers that were saved as floats (17850.0) lose their fraction; times are the wall clock of London.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.importing.interpret import Prepare
from features.importing.mapping import Mapping
from features.importing.sieve import Sieve
from features.importing.source import Derived, Source
from features.importing.sources.files import file_feed, file_names, insist_on_column
from features.importing.values import as_text, mask

COLUMNS: Final = (
    "InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country",
)  # fmt: skip
FEES: Final = r"(?i)^(POST|DOT|D|M|S|B|C2|CRUK|PADS|BANK CHARGES|AMAZONFEE|GIFT_.*|ADJUST.*)$"
NAME: Final = "online-retail"
_CARRIED = ("title",)

ITEMS_SQL: Final = f"""
    SELECT {c.ITEM_ID}, upper({c.ITEM_ID}) AS {c.PRODUCT_ID},
           coalesce(arg_max(title, ({c.OCCURRED_AT}, row_at)) FILTER (WHERE regexp_matches(title, '[A-Z]{{3}}')),
                    arg_max(title, ({c.OCCURRED_AT}, row_at)) FILTER (WHERE title IS NOT NULL)) AS {c.TITLE},
           median({c.UNIT_PRICE}) FILTER (WHERE {c.UNIT_PRICE} > 0) AS {c.PRICE}
    FROM staged_events GROUP BY {c.ITEM_ID}"""
"""The latest description in capitals, as the shop writes its goods (`?` and `damaged` are remarks), else the latest;
the median price; codes that differ in case are one product."""

CUSTOMERS_SQL: Final = f"""
    SELECT {c.CUSTOMER_ID}, {c.VALID_FROM}, {c.REGION} FROM (
        SELECT {c.CUSTOMER_ID}, {c.OCCURRED_AT} AS {c.VALID_FROM}, {c.REGION},
               lag({c.REGION}) OVER (PARTITION BY {c.CUSTOMER_ID} ORDER BY {c.OCCURRED_AT}) AS before
        FROM (SELECT {c.CUSTOMER_ID}, {c.OCCURRED_AT}, max({c.REGION}) AS {c.REGION} FROM staged_events
              WHERE {c.CUSTOMER_ID} IS NOT NULL GROUP BY ALL))
    WHERE before IS DISTINCT FROM {c.REGION}"""
"""A version whenever the country of a customer's order differs from that of the order before."""


def open_file(path: Path, *, keep_fees: bool = False) -> Source:
    """The CSV (or CSV in gzip) with the eight columns of the UCI file.

    Raises:
        DataError: the file cannot be read.
        ConfigError: a column is missing.
    """
    mapping = Mapping(
        source=NAME, format="csv", time_zone="Europe/London", time_formats=["iso", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"],
        columns={
            c.OCCURRED_AT: "InvoiceDate", c.TYPE: "type", c.CUSTOMER_ID: "customer", c.VISITOR_ID: "visitor",
            c.ITEM_ID: "StockCode", c.QUANTITY: "quantity", c.UNIT_PRICE: "UnitPrice", c.ORDER_ID: "InvoiceNo",
            c.REGION: "Country",
        },
        duplicates="collapse",
    )  # fmt: skip
    feed = file_feed(path, mapping, prepare=_prepare(keep_fees), carry=_CARRIED, keep_all=True)
    names = file_names(path, mapping)
    for name in COLUMNS:
        insist_on_column(name, names, str(path))
    notes = [
        "lines without CustomerID belong to anonymous visitors invoice:<InvoiceNo>",
        "prices of items are medians over the whole file",
    ]
    if keep_fees:
        notes.append("postage, fees and adjustments were kept as items")
    derived = (Derived("items", ITEMS_SQL), Derived("customers", CUSTOMERS_SQL))
    return Source(NAME, (feed,), (path,), derived, tuple(notes))


def _prepare(keep_fees: bool) -> Prepare:
    def prepare(rows: pa.Table, sieve: Sieve) -> pa.Table:
        code, invoice, customer = (as_text(rows[name]) for name in ("StockCode", "InvoiceNo", "CustomerID"))
        customer = pc.replace_substring_regex(customer, r"\.0$", "")
        cancelled = pc.fill_null(pc.starts_with(invoice, "C"), False)
        if not keep_fees:
            sieve.skip(mask(pc.match_substring_regex(code, FEES)), "fee")
        free = mask(pc.match_substring_regex(as_text(rows["UnitPrice"]), r"^-?0*(\.0*)?$"))
        sieve.skip(free & mask(pc.is_null(customer)), "stock-adjustment")
        quantity = as_text(rows["Quantity"])
        turned = pc.if_else(cancelled, pc.replace_substring_regex(quantity, "^-", ""), quantity)
        nobody = pc.is_null(customer)
        visitor = pc.if_else(nobody, pc.binary_join_element_wise("invoice:", invoice, ""), None)
        made = {
            "type": pc.if_else(cancelled, "return", "purchase"),
            "customer": customer, "visitor": visitor, "quantity": turned, "title": as_text(rows["Description"]),
        }  # fmt: skip
        for name, values in made.items():
            rows = rows.append_column(name, values)
        return rows

    return prepare
