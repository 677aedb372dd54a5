"""What the service says on stderr: one JSON object a line, or words on a terminal; never whom it is about.

A line has the time, the level, who speaks, the message and the request's id, which the client got too. It holds no id
of a person, no body, no query string. Tracebacks name files, lines and the kind of error; what the error says may be
about somebody, so it is left out but on a developer's own machine.

    KOKYAKU_LOG_LEVEL=info    debug, info, warning or error
    KOKYAKU_LOG_SAMPLE=100    one in so many answers without an error is told; 1: all, 0: none
    KOKYAKU_LOG_FORMAT=json   json or text; without it words on a terminal and JSON elsewhere
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from features.errors import ConfigError
from features.text import printable
from serving.watch import Watch, request_id_in, watching

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "text")
SAMPLE = 100
TOLD_A_SECOND = 50
"""A flood of refused requests shall not become a flood of lines."""
FOREIGN = ("bentoml", "uvicorn", "uvicorn.error", "uvicorn.access", "circus", "asyncio", "py.warnings")
_LONGEST = 4_000
_TOLD = "told"
"""The attribute of a record that holds further fields: `log.info("...", extra={"told": {...}})`."""
access = logging.getLogger("kokyaku.access")


class Settings:
    """How to log.

    Args:
        environ: the environment; `KOKYAKU_DEV=1` lets tracebacks say what the error said.

    Raises:
        ConfigError: a setting that makes no sense.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.level = _one_of(environ, "KOKYAKU_LOG_LEVEL", LEVELS) or "info"
        self.format = _one_of(environ, "KOKYAKU_LOG_FORMAT", FORMATS)
        sample = environ.get("KOKYAKU_LOG_SAMPLE", "") or str(SAMPLE)
        if not sample.isdecimal():
            hint = "a whole number: one in so many answers is told; 0 for none"
            raise ConfigError("not a sample", where="KOKYAKU_LOG_SAMPLE", got=sample, hint=hint)
        self.sample = int(sample)
        self.frank = environ.get("KOKYAKU_DEV") == "1"


def _one_of(environ: Mapping[str, str], name: str, valid: Sequence[str]) -> str | None:
    given = environ.get(name, "").lower()
    if given and given not in valid:
        raise ConfigError("no such value", where=name, got=given, hint=f"valid: {', '.join(valid)}")
    return given or None


def take_over(settings: Settings, stream: TextIO | None = None) -> None:
    """Let everything that this process logs, the framework's and server's lines too, go through one handler."""
    stream = stream or sys.stderr
    plain = settings.format == "text" or (settings.format is None and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter((Words if plain else JsonLines)(frank=settings.frank))
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in FOREIGN:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in ("kokyaku", "bentoml"):
        logging.getLogger(name).setLevel(settings.level.upper())


class JsonLines(logging.Formatter):
    """A record as one line of JSON; nothing in it can begin another line or steer a terminal.

    Args:
        frank: whether tracebacks say what the error said.
    """

    def __init__(self, *, frank: bool = False) -> None:
        super().__init__()
        self._frank = frank

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return orjson.dumps(self.fields(record), default=str, option=orjson.OPT_NON_STR_KEYS).decode()

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What a line tells, in order; what is not known is left out."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": safe(record.getMessage()),
            "requestId": request_id_in(watching().scope),
            **getattr(record, _TOLD, {}),
            "traceback": self._traceback(record),
        }
        return {name: safe(value) for name, value in said.items() if value is not None}

    def _traceback(self, record: logging.LogRecord) -> list[str] | None:
        if not record.exc_info or record.exc_info[1] is None:
            return None
        lines: list[str] = []
        error: BaseException | None = record.exc_info[1]
        while error is not None and len(lines) < 200:
            frames = traceback.extract_tb(error.__traceback__)
            lines += [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
            kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
            lines.append(f"{kind}: {error}" if self._frank else kind)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return lines


class Words(JsonLines):
    """The same as a person reads it on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it a traceback."""
        said = self.fields(record)
        head = f"{said.pop('time')[11:23]} {said.pop('level'):7} {said.pop('logger')}: {said.pop('message')}"
        trace = said.pop("traceback", [])
        more = "".join(f"  {name}={value}" for name, value in said.items())
        return "\n    ".join([head + more, *trace])


def safe(value: Any) -> Any:
    """A value without control characters, new lines and marks that turn text around; shortened when it is long."""
    if isinstance(value, str):
        text = printable(value)
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return [safe(each) for each in value] if isinstance(value, list) else value


class AccessLog:
    """A line for each answer with an error, and for one in so many others.

    Args:
        sample: one in so many; 1: all, 0: none.
    """

    def __init__(self, sample: int = SAMPLE) -> None:
        self._sample, self._seen = sample, 0
        self._second, self._told, self._withheld = 0, 0, 0

    def answered(
        self, watch: Watch, route: str, status: str, milliseconds: float, fallbacks: Sequence[str]
    ) -> None:  # fmt: skip
        """Tell of an answer, if it is its turn."""
        failed = not status.startswith(("2", "3"))
        self._seen += 1
        if not (self._may_be_told(status) if failed else self._sample and self._seen % self._sample == 0):
            return
        decided = sum(count for what, count in watch.counts.items() if what[0] == "decisions")
        told: dict[str, Any] = {
            "requestId": watch.request_id(), "route": route, "status": int(status) if status.isdigit() else status,
            "milliseconds": round(milliseconds, 3), "decisions": decided or None, "code": watch.code, "why": watch.why,
            "fallbacks": sorted(set(fallbacks)) or None, "unlogged": watch.counts.get(("unlogged",)),
            "withheld": self._withheld or None,
        }  # fmt: skip
        self._withheld = 0
        level = (
            logging.ERROR if status[0] == "5" else logging.WARNING if status in {"429", "cancelled"} else logging.INFO
        )
        access.log(level, "answered", extra={_TOLD: told})

    def _may_be_told(self, status: str) -> bool:
        """Whether this second has room for one more error; those of ours are always told."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        self._told += 1
        if self._told <= TOLD_A_SECOND or status == "500":
            return True
        self._withheld += 1
        return False
