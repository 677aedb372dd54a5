"""The errors a user of Kokyaku can meet.

Each says *what* is wrong, *where*, what was *got* and *what to do*; the command line prints them as one line
and exits with 2, the service answers them as a JSON object with a 4xx (5xx for `Unavailable`).
"""

from __future__ import annotations

from features.text import printable


class KokyakuError(Exception):
    """Base of all errors that are somebody's to mend.

    Args:
        what: what is wrong, as a sentence without a full stop.
        where: file and line, table, column, or field.
        got: the offending value, shortened.
        hint: what to do next.
    """

    code = "error"
    status = 400

    def __init__(self, what: str, *, where: str = "", got: object = None, hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        self.got = None if got is None else _short(got)
        super().__init__(self.line())

    def line(self) -> str:
        """The whole message on one line, whatever was in the fields of the one who sent it."""
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.got is not None:
            parts.append(f"got {self.got}")
        if self.hint:
            parts.append(self.hint)
        return printable("; ".join(parts))


class DataError(KokyakuError):
    """A file, row or table that cannot be what it claims to be."""

    code = "invalid_data"


class ConfigError(KokyakuError):
    """A mapping, `shop.toml` or option that does not make sense."""

    code = "invalid_config"


class NotFoundError(KokyakuError):
    """Something named that is not there."""

    code = "not_found"
    status = 404


class RequestError(KokyakuError):
    """A request that the client has to change; `where` is the field."""

    code = "invalid_request"


class BundleError(KokyakuError):
    """A bundle or history that is refused: damaged, unknown format, wrong fingerprint."""

    code = "invalid_bundle"
    status = 503


class Unavailable(KokyakuError):  # noqa: N818  (the name is the HTTP status it becomes)
    """A write that cannot be made durable now; the client should retry."""

    code = "unavailable"
    status = 503


class GateRefusalError(KokyakuError):
    """A model that is not better than what serves; carries the table that says why."""

    code = "refused"


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
