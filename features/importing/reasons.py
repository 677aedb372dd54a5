"""Why a row was not taken: short stable codes that files, reports and tests share."""

from __future__ import annotations

from typing import Final

BAD_ROW: Final = "bad-row"
"""The reader could not make out the row: wrong number of fields, a quote that never closes, broken JSON."""
BAD_ENCODING: Final = "bad-encoding"
"""Bytes that the file's encoding does not read."""
BAD_TIME: Final = "bad-time"
BAD_NUMBER: Final = "bad-number"
BAD_VALUE: Final = "bad-value"
"""Text that its column does not allow: not yes or no, an unknown state, broken JSON."""
MISSING_ID: Final = "missing-id"
MISSING_ITEM: Final = "missing-item"
MISSING_TIME: Final = "missing-time"
UNKNOWN_TYPE: Final = "unknown-type"
NEGATIVE_PRICE: Final = "negative-price"
NEGATIVE_QUANTITY: Final = "negative-quantity"
NEGATIVE_DISCOUNT: Final = "negative-discount"
ZERO_QUANTITY: Final = "zero-quantity"
FUTURE_TIME: Final = "future-time"
TOO_LONG: Final = "too-long"
BAD_PROPENSITY: Final = "bad-propensity"
UNKNOWN_ARM: Final = "unknown-arm"
EARLY_OUTCOME: Final = "early-outcome"
COLLISION: Final = "collision"
"""An id that is known with other content."""

REASONS: Final = {
    BAD_ROW: "wrong number of fields, an open quote or broken JSON",
    BAD_ENCODING: "bytes that the file's encoding does not read",
    BAD_TIME: "a time that none of the mapping's formats reads",
    BAD_NUMBER: "not a number in the mapping's style",
    BAD_VALUE: "a value that its column does not allow",
    MISSING_ID: "no id where one is needed",
    MISSING_ITEM: "this type of event needs an item",
    MISSING_TIME: "no time",
    UNKNOWN_TYPE: "a type that is neither known nor declared",
    NEGATIVE_PRICE: "a price below zero",
    NEGATIVE_QUANTITY: "a quantity below zero",
    NEGATIVE_DISCOUNT: "a discount below zero",
    ZERO_QUANTITY: "a quantity of zero",
    FUTURE_TIME: "a time after the import's moment",
    TOO_LONG: "a field longer than its limit",
    BAD_PROPENSITY: "a probability that is missing or outside (0, 1], or probabilities that do not sum to 1",
    UNKNOWN_ARM: "an arm that the mapping does not declare",
    EARLY_OUTCOME: "an outcome before its decision",
    COLLISION: "the same id with other content",
}
"""Every reason and what it means, in words for the report."""

MAX_TEXT_LENGTH: Final = 4_096
"""Characters of a text that is not an id (titles, search words, addresses of images)."""
