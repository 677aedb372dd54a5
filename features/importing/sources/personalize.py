"""Amazon Personalize's three CSV files: interactions, items and users.

Times are Unix seconds. Event types are free text there: ours are taken as they are (in any case), the usual other
words are translated, anything else goes to quarantine as `unknown-type`. Columns that have no place in our tables are
kept as attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from features import columns as c
from features.importing.interpret import Prepare
from features.importing.mapping import Field, Mapping, TableName, refuse_unknown
from features.importing.sieve import Sieve
from features.importing.source import Feed, Source
from features.importing.sources.files import file_feed, file_names, insist_on_column
from features.importing.values import as_text, join_present
from features.kinds import EVENT_TYPES

NAME: Final = "personalize"
TYPES: Final = {
    "watch": "view", "watched": "view", "play": "view", "detailpageview": "view", "detail_page_view": "view",
    "viewed": "view", "page_view": "view", "product_view": "view", "productviewed": "view",
    "addtocart": "cart", "add_to_cart": "cart", "productadded": "cart",
    "removefromcart": "cart_remove", "remove_from_cart": "cart_remove",
    "addtowishlist": "wishlist", "add_to_wishlist": "wishlist", "favorite": "wishlist", "favourite": "wishlist",
    "like": "wishlist", "save": "wishlist",
    "buy": "purchase", "bought": "purchase", "order": "purchase", "ordercompleted": "purchase", "checkout": "purchase",
    "purchased": "purchase", "clicked": "click", "rate": "rating", "rated": "rating",
}  # fmt: skip
"""Words for event types (compared in lower case) -> ours."""
_DEFAULT_TYPE = "view"
_FORMAT = Mapping(source=NAME, format="csv")
_INTERACTIONS: Final = {
    "USER_ID": c.CUSTOMER_ID, "ITEM_ID": c.ITEM_ID, "TIMESTAMP": c.OCCURRED_AT, "EVENT_TYPE": c.TYPE,
    "RECOMMENDATION_ID": c.DECISION_ID, "EVENT_ID": c.EVENT_ID, "SESSION_ID": c.SESSION_ID, "DEVICE": c.DEVICE,
    "DEVICE_TYPE": c.DEVICE, "QUANTITY": c.QUANTITY, "PRICE": c.UNIT_PRICE, "DISCOUNT": c.DISCOUNT,
}  # fmt: skip
_ITEMS: Final = {
    "ITEM_ID": c.ITEM_ID, "PRICE": c.PRICE, "PRODUCT_NAME": c.TITLE, "TITLE": c.TITLE, "NAME": c.TITLE,
    "BRAND": c.BRAND, "CREATION_TIMESTAMP": "available_from", "IMAGE_URL": "image_url",
}  # fmt: skip
_USERS: Final = {"USER_ID": c.CUSTOMER_ID, "MEMBERSHIP_STATUS": "tier", "LOYALTY_TIER": "tier"}


def open_files(
    interactions: Path | None, items: Path | None, users: Path | None, *, event_type: str | None = None
) -> Source:
    """Any of the three files.

    Args:
        interactions: USER_ID, ITEM_ID, TIMESTAMP and more.
        items: ITEM_ID, CATEGORY_L1 (values separated by `|`), PRICE, CREATION_TIMESTAMP and more.
        users: USER_ID and anything.
        event_type: the type of interactions in a file without EVENT_TYPE.

    Raises:
        ConfigError: a needed column is missing, or an unknown type.
        DataError: a file cannot be read.
    """
    if event_type is not None:
        refuse_unknown([event_type], EVENT_TYPES, "--type", what="event type")
    feeds: list[Feed] = []
    if interactions is not None:
        _insist(interactions, "USER_ID", "ITEM_ID", "TIMESTAMP")
        feeds.append(_interactions(interactions, event_type or _DEFAULT_TYPE))
    if items is not None:
        _insist(items, "ITEM_ID")
        feeds.append(_catalogue(items))
    if users is not None:
        _insist(users, "USER_ID")
        feeds.append(file_feed(users, _mapping(users, "customers", _USERS), keep_all=True))
    inputs = tuple(path for path in (interactions, items, users) if path is not None)
    return Source(NAME, tuple(feeds), inputs)


def _interactions(path: Path, default_type: str) -> Feed:
    mapping = _mapping(path, "events", _INTERACTIONS)
    if c.TYPE in mapping.columns:
        mapping = structs.replace(mapping, columns={**mapping.columns, c.TYPE: "type"})
        return file_feed(path, mapping, prepare=_typed(_their_name(path, "EVENT_TYPE"), default_type), keep_all=True)
    return file_feed(path, structs.replace(mapping, constants={c.TYPE: default_type}), keep_all=True)


def _catalogue(path: Path) -> Feed:
    mapping = _mapping(path, "items", _ITEMS)
    levels = sorted(name for name in mapping.attributes if name.upper().startswith("CATEGORY_L"))
    if not levels:
        return file_feed(path, mapping, keep_all=True)
    rest = {name: field for name, field in mapping.attributes.items() if name not in levels}
    made = {c.CATEGORY: [f"{level} first" for level in levels], "tags": "tags"}
    mapping = structs.replace(mapping, columns={**mapping.columns, **made}, attributes=rest)
    return file_feed(path, mapping, prepare=_categories(levels), keep_all=True)


def _mapping(path: Path, table: TableName, known: dict[str, str]) -> Mapping:
    """Columns that we know by name (in any case), the others as attributes under their name in lower case."""
    columns: dict[str, str | list[str]] = {}
    attributes: dict[str, Field | str] = {}
    for name in file_names(path, _FORMAT):
        ours = known.get(name.upper())
        if ours is not None and ours not in columns:
            columns[ours] = name
        else:
            attributes[name.lower() if table != "items" else name] = name
    return Mapping(
        source=NAME, table=table, format="csv", columns=columns, attributes=attributes, time_formats=["unix", "iso"]
    )


def _insist(path: Path, *needed: str) -> None:
    names = tuple(name.upper() for name in file_names(path, _FORMAT))
    for name in needed:
        insist_on_column(name, names, str(path))


def _their_name(path: Path, name: str) -> str:
    return next(their for their in file_names(path, _FORMAT) if their.upper() == name)


def _typed(column: str, default_type: str) -> Prepare:
    words = pa.array(list(TYPES))
    ours = pa.array(list(TYPES.values()))

    def prepare(rows: pa.Table, sieve: Sieve) -> pa.Table:
        given = pc.fill_null(pc.utf8_lower(as_text(rows[column])), default_type)
        translated = pc.take(ours, pc.index_in(given, words))
        return rows.append_column("type", pc.coalesce(translated, given))

    return prepare


def _categories(levels: list[str]) -> Prepare:
    """The path is the first value of each level; further values become tags."""

    def prepare(rows: pa.Table, sieve: Sieve) -> pa.Table:
        values = {level: as_text(rows[level]) for level in levels}
        for level, text in values.items():
            rows = rows.append_column(f"{level} first", pc.replace_substring_regex(text, r"\|.*$", ""))
        rests = [pc.if_else(pc.match_substring(text, "|"), pc.replace_substring_regex(text, r"^[^|]*\|", ""), None)
                 for text in values.values()]  # fmt: skip
        return rows.append_column("tags", join_present(rests, "|"))

    return prepare
