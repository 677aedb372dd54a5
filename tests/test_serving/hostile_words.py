"""Words and numbers that a careless, broken or evil client may send in any field."""

from __future__ import annotations

from typing import Any

BEYOND = "@beyond@"
"""Stands for a number that no double holds; JSON writers refuse to write one."""
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"
STRINGS = (
    "", " ", "a", "\x00", "a\x00b", "\r\nSet-Cookie: a=b", "x\nlevel=error forged line", "\x1b[31mred", "\ud800",
    "a\udfffb", "\ufeffa", "\ufffe", "e\u0301\u0323", "\u202eabc\u202c", "a\u200bb\u200d", "👩‍👩‍👧‍👦", "ｆｕｌｌ",
    "ß", "İ",
    "牛乳" * 300, "' OR '1'='1", "'; DROP TABLE events; --", '" OR ""="', "1) UNION SELECT payload FROM customers --",
    "%", "_", "canary%", "CANARY", "*", "?", "c:a", "v:a", "\\", "\\u0000", MARKUP, "\"'><svg/onload=alert(1)>",
    "javascript:alert(1)", "data:text/html,<b>x</b>", "{{ 7*7 }}", "${7*7}", "{% include 'secret.key' %}", "{item}",
    "%s%n%x", "../../secret.key", "..\\..\\secret.key", "/etc/passwd", "file:///etc/passwd", "a/b", "a//b?c#d",
    "x" * 512, "x" * 513, "x" * 20_000, "💥" * 512, "null", "true", "NaN", "-1", "0", "9" * 400, "9" * 5_000,
    "2024-01-01", "2024-01-01T00:00:00", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "2024-02-30T00:00:00Z", "2024-01-01T25:61:61Z", "-99999-01-01T00:00:00Z", "2024-01-01T00:00:00+99:99",
    "2024-01-01T00:00:00[Europe/Paris]", "Europe/Nowhere", "../../etc/localtime", "UTC", "erased-0",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 200, 201, 1e9, 1e12, 1e308, 5e-324, -0.0, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64,
    10**400, float("nan"), float("inf"), float("-inf"), BEYOND, 0.1, 1.5,
)  # fmt: skip
OTHERS = (None, True, False, [], {}, [[]], [None], {"": None}, {"a": {"b": [1, "x"]}}, ["a"] * 2_000, {"$ne": None})
VALUES: tuple[Any, ...] = (*STRINGS, *NUMBERS, *OTHERS)

PEOPLE = (
    "ann", "bob", "%", "canary-%", "e\u0301", "a/b", "😀", "' OR 1=1 --", MARKUP, "x" * 512, "\u202eann", "a\u200bnn",
    "a\x00n",
)  # fmt: skip
"""Ids that are odd and allowed: what is stored under them is read back elsewhere."""
