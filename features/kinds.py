"""Names that files, requests and the store share: types of events, states of a shipment.

They stand apart from the schemas of tables (`features.schemas`), which need Arrow: a service needs none.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class EventType(IntEnum):
    """The event types Kokyaku understands, with the codes that histories store. Codes are never reused."""

    OTHER = 0
    """A type that the shop declared; its name stays in the events table."""
    VIEW = 1
    SEARCH = 2
    CART = 3
    CART_REMOVE = 4
    WISHLIST = 5
    WISHLIST_REMOVE = 6
    PURCHASE = 7
    RETURN = 8
    REVIEW = 9
    RATING = 10
    CLICK = 11
    SENT = 12
    DELIVERED = 13
    OPEN = 14
    UNSUBSCRIBE = 15
    COMPLAINT = 16
    BOUNCE = 17
    SUPPORT = 18
    SURVEY = 19
    ANSWER = 20
    REFERRAL = 21
    IMPRESSION = 22
    SIGN_IN = 23
    SIGN_OUT = 24


EVENT_TYPES: Final = tuple(kind.name.lower() for kind in EventType if kind is not EventType.OTHER)
"""The declared names, as they stand in files and on the wire."""

NEEDS_ITEM: Final = frozenset(
    {"view", "cart", "cart_remove", "wishlist", "wishlist_remove", "purchase", "return", "review", "rating"}
)
"""Types that mean nothing without an item."""


def event_code(name: str) -> EventType:
    """The code of a type's name; a type that a shop declared itself is OTHER.

    >>> event_code("wishlist_remove").name, event_code("test_drive").name
    ('WISHLIST_REMOVE', 'OTHER')
    """
    return _CODES.get(name, EventType.OTHER)


_CODES: Final = {kind.name.lower(): kind for kind in EventType}


SHIPMENT_STATES: Final = (
    "confirmed",
    "in_production",
    "shipped",
    "attempted",
    "ready_for_pickup",
    "delivered",
    "returned",
    "cancelled",
    "lost",
)
