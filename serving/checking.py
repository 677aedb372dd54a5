"""One thing that `doctor` looked at."""

from __future__ import annotations

from typing import Literal

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Args:
        verdict: `fail` means that something does not work, `warn` that it will not for long.
        remedy: what to do; empty where all is well.
    """

    name: str
    verdict: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""


def told(checks: list[Check]) -> dict[str, object]:
    """The checks as a program reads them: `ok`, and `checks` with the fields of `Check`."""
    return {"ok": not any(check.verdict == "fail" for check in checks), "checks": msgspec.to_builtins(checks)}
