"""What a bundle says of items: shared statistics, texts, prices and stock, as of the bundle's moment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import columns as c
from features.dataset import Dataset, versions_as_of
from features.ids import Array, Vocabulary
from features.shared import shared_tables
from serving.bundle import text_arrays
from training.content import ItemTexts

MONEY = ("unit_cost", "tax_included", "tax_rate")
TEXTS = (c.TITLE, c.BRAND, "image_url")


def item_arrays(dataset: Dataset, items: Vocabulary, as_of: int) -> dict[str, Array]:
    """Arrays of all items in the vocabulary's order.

    Returns:
        `items.*`, `shared.*`, `text.<column>.*`, `text.category_path.*` (one text a category code),
        `item.price` float32 (NaN unknown), `item.in_stock` bool (unknown counts as in stock), `item.unit_cost`
        float32 (NaN unknown) and `item.net_share` float32, what tax leaves of the price (1 where no rate is known), and
        `item.lead_days` float32, days from an order to its delivery (NaN unknown).
    """
    shared, paths = shared_tables(dataset, items, as_of)
    with dataset.connect() as duck:
        columns = ", ".join((c.ITEM_ID, *TEXTS, c.PRICE, "in_stock", "lead_time_days", *MONEY))
        rows = duck.sql(f"SELECT {columns} FROM ({versions_as_of('items', as_of)})").to_arrow_table()
    place = items.rows_of(rows[c.ITEM_ID].to_pylist())
    here = np.flatnonzero(place >= 0)
    arrays: dict[str, Array] = {**items.arrays("items"), **shared.arrays()}
    arrays |= text_arrays("category_path", paths)
    for column in TEXTS:
        texts = [""] * len(items)
        listed = rows[column].to_pylist()
        for at in here:
            texts[place[at]] = listed[at] or ""
        arrays |= text_arrays(column, texts)
    price = shared.price.copy()
    in_stock = np.ones(len(items), bool)
    listed_price = rows[c.PRICE].to_numpy().astype(np.float32)[here]
    price[place[here]] = np.where(np.isnan(listed_price), price[place[here]], listed_price)
    in_stock[place[here]] = rows["in_stock"].fill_null(True).to_numpy()[here]
    lead_days = np.full(len(items), np.nan, np.float32)
    lead_days[place[here]] = rows["lead_time_days"].to_numpy().astype(np.float32)[here]
    shelf = {"item.price": price, "item.in_stock": in_stock, "item.lead_days": lead_days}
    return {**arrays, **shelf, **_money(rows, place, here, len(items))}


def _money(rows: pa.Table, place: npt.NDArray[np.int32], here: npt.NDArray[np.intp], n: int) -> dict[str, Array]:
    """What an item costs the shop, and which share of its price is the shop's."""
    cost, share = np.full(n, np.nan, np.float32), np.ones(n, np.float32)
    cost[place[here]] = rows["unit_cost"].to_numpy()[here]
    taxed = rows["tax_included"].fill_null(False).to_numpy() & (rows["tax_rate"].fill_null(0).to_numpy() > 0)
    rate = np.where(taxed, rows["tax_rate"].fill_null(0).to_numpy(), 0)
    share[place[here]] = (1 / (1 + rate))[here]
    return {"item.unit_cost": cost, "item.net_share": share}


def item_texts(dataset: Dataset, items: Vocabulary, as_of: int) -> ItemTexts:
    """What was written of all items in the vocabulary's order, as of a moment."""
    columns = ", ".join((c.ITEM_ID, c.TITLE, c.CATEGORY, c.BRAND, c.PRICE))
    with dataset.connect() as duck:
        rows = duck.sql(f"SELECT {columns} FROM ({versions_as_of('items', as_of)})").to_arrow_table()
    titles, brands = [""] * len(items), [""] * len(items)
    paths: list[tuple[str, ...]] = [()] * len(items)
    prices = np.full(len(items), np.nan, np.float32)
    told = (rows[name].to_pylist() for name in (c.TITLE, c.CATEGORY, c.BRAND, c.PRICE))
    for at, title, path, brand, price in zip(items.rows_of(rows[c.ITEM_ID].to_pylist()), *told, strict=True):
        if at >= 0:
            titles[at], brands[at], paths[at] = title or "", brand or "", tuple(path or ())
            prices[at] = np.nan if price is None else price
    return ItemTexts(tuple(titles), tuple(paths), tuple(brands), prices)
