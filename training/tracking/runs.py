"""A run of MLflow: what goes in are parameters, aggregate figures, tables, texts and pictures."""

from __future__ import annotations

import csv
import io
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from training.tracking.client import RegistryUnavailable

if TYPE_CHECKING:
    from training.tracking.store import Tracking

_PARAM_LIMIT = 6000
_BATCH = 900  # MLflow refuses more than 1,000 entries in a call

Value = str | int | float | bool | None


class Run:
    """One run, or a child of one; use it as a context manager."""

    def __init__(self, tracking: Tracking, run_id: str, artifact_uri: str) -> None:
        self._tracking, self._client = tracking, tracking._client
        self.id, self.artifact_uri = run_id, artifact_uri

    @classmethod
    def made(cls, tracking: Tracking, name: str, tags: Mapping[str, str], parent: Run | None) -> Run:
        """A new run."""
        nested = {"mlflow.parentRunId": parent.id} if parent else {}
        about = {"mlflow.source.name": "kokyaku train", "mlflow.source.type": "LOCAL", **nested, **tags}
        made = tracking._client.create_run(tracking._experiment, run_name=name, tags=about)
        return cls(tracking, made.info.run_id, made.info.artifact_uri)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, RegistryUnavailable):
            return  # nothing can be written there now, and each try would wait again
        if error is not None:
            self.tag("error", f"{type(error).__name__}: {error}"[:4000])
        killed = kind is not None and not issubclass(kind, Exception)
        self._client.set_terminated(self.id, "KILLED" if killed else "FAILED" if kind else "FINISHED")

    def child(self, name: str, tags: Mapping[str, str] | None = None) -> Run:
        """A run nested under this one."""
        return Run.made(self._tracking, name, tags or {}, parent=self)

    def tag(self, key: str, value: str) -> None:
        """Set a tag."""
        self._client.set_tag(self.id, key, value)

    def describe(self, markdown: str) -> None:
        """The text at the top of the run's page."""
        self.tag("mlflow.note.content", markdown)

    def log_params(self, params: Mapping[str, Value]) -> None:
        """Parameters, all in one call; long values are cut."""
        from mlflow.entities import Param

        entries = [Param(metric_name(key), str(value)[:_PARAM_LIMIT]) for key, value in params.items()]
        for piece in _batches(entries, 100):
            self._client.log_batch(self.id, params=piece)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0, at: int | None = None) -> None:
        """Figures, all in one call. An undefined one (NaN) is left out and named in the tag `undefined`.

        Args:
            metrics: name -> value.
            step: orders the values of a metric; the same value logged again at a step and moment changes nothing.
            at: the moment that they are of, microseconds; default: now.
        """
        from mlflow.entities import Metric

        now = (time.time_ns() // 1000 if at is None else at) // 1000
        finite = {metric_name(key): float(value) for key, value in metrics.items() if math.isfinite(value)}
        for piece in _batches([Metric(key, value, now, step) for key, value in finite.items()], _BATCH):
            self._client.log_batch(self.id, metrics=piece)
        undefined = sorted(key for key, value in metrics.items() if not math.isfinite(value))
        if undefined:
            self.tag("undefined", ", ".join(undefined)[:4000])

    def log_table(self, path: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """An aggregate table as CSV, which the UI shows as one."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        self.log_text(path, text.getvalue())

    def log_text(self, path: str, text: str) -> None:
        """A text artefact (Markdown, HTML, JSON)."""
        self.log_file(path, text.encode())

    def log_file(self, path: str, content: bytes) -> None:
        """An artefact of any kind, such as a PNG."""
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as draft:
            file = Path(draft) / name
            file.write_bytes(content)
            self._client.log_artifact(self.id, str(file), folder or None)


def metric_name(name: str) -> str:
    """MLflow's spelling of a name: it allows no `@` in one.

    >>> metric_name("all/ndcg@20")
    'all/ndcg_at_20'
    """
    spelled = name.replace("@", "_at_").replace("%", "pct")
    return "".join(letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in spelled)


def _batches(entries: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]
