"""Experiment tracking: the one module that speaks MLflow.

A shop has one SQLite store, one folder of artefacts, one experiment for training and one for monitoring, and one
registered model; all names derive from the `Shop`. What goes in are parameters, aggregate figures, plots and hashes,
never a customer's row: figures are per recipe, task and slice.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import logging
import math
import os
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from features.errors import DataError, NotFoundError
from features.shop import Shop
from training.moved import follow

CHAMPION = "champion"
CHALLENGER = "challenger"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # the job runners double the server's memory and we use none
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""What MLflow reads from the environment; set before it is imported, and for the UI's process."""
_ABOUT = {
    "mlflow.experimentKind": "custom_model_development",  # the UI then shows runs and models first
    "mlflow.note.content": "Training runs of Kokyaku. Open a run's report.html for its verdict in words and pictures.",
}
_WATCHED = {
    "mlflow.note.content": "Windows that kokyaku monitor looked at. The run of all weeks, or days, draws metrics as "
    "lines over time; a window's own run, beneath it, has its table and pictures.",
}
_PARAM_LIMIT = 6000
_BATCH = 900  # MLflow refuses more than 1,000 entries in a call

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A run that is there: its id, whether it ended well, and its tags."""

    id: str
    finished: bool
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the shop's registered model."""

    number: int
    run_id: str
    created_at: int
    """Microseconds."""
    tags: Mapping[str, str]
    aliases: tuple[str, ...]

    @property
    def bundle_id(self) -> str:
        """The bundle that this version publishes."""
        return self.tags.get("bundle_id", "")

    @property
    def accepted(self) -> bool:
        """Whether the gate's verdict lets it serve."""
        return self.tags.get("verdict") == "accepted"


class Tracking:
    """A shop's MLflow store, made on first use.

    Args:
        shop: whose store it is.
        monitor: runs are of the experiment for monitoring, not of that for training.

    Raises:
        DataError: the database belongs to another version of MLflow.
    """

    def __init__(self, shop: Shop, *, monitor: bool = False) -> None:
        self.shop = shop
        with _quiet():
            self._client, self._experiment = _open(shop, monitor=monitor)

    def run(self, name: str, tags: Mapping[str, str] | None = None) -> Run:
        """A top-level run, to be used as a context manager: it ends FINISHED, FAILED on an error, KILLED on Ctrl-C."""
        return Run.made(self, name, tags or {}, parent=None)

    def continued(self, name: str, key: str, value: str, tags: Mapping[str, str] | None = None) -> Run:
        """The top-level run that carries a tag, to go on with it; made where there is none, or where it was deleted."""
        found = self.kept(key, value)
        if not found:
            return self.run(name, {key: value, **(tags or {})})
        return Run(self, found[0].id, self._client.get_run(found[0].id).info.artifact_uri)

    def kept(self, key: str, value: str) -> list[Kept]:
        """Runs that carry a tag, oldest first, without those that somebody deleted."""
        from mlflow.entities import ViewType

        found = self._search(key, value, ViewType.ACTIVE_ONLY)
        return [Kept(run.info.run_id, run.info.status == "FINISHED", dict(run.data.tags)) for run in found]

    def delete(self, run_id: str) -> None:
        """Delete a run; MLflow keeps deleted ones until it is told to forget them."""
        self._client.delete_run(run_id)

    def artefact(self, run_id: str, path: str) -> Path:
        """Where a file of a run lies: not MLflow's stored URI, which is absolute, as a shop's folder may have moved."""
        return self.shop.mlflow_artifacts / run_id / "artifacts" / path

    def tagged(self, key: str, value: str) -> list[dict[str, str]]:
        """Tags of all runs that carry a tag, oldest first; also of runs that somebody deleted."""
        from mlflow.entities import ViewType

        return [dict(run.data.tags) for run in self._search(key, value, ViewType.ALL)]

    def _search(self, key: str, value: str, view: int) -> Iterator[Any]:
        """Runs of MLflow that carry a tag, oldest first."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{key}` = '{value}'", run_view_type=view, max_results=1000,
                order_by=["attributes.start_time ASC"], page_token=token,
            )  # fmt: skip
            yield from page
            token = page.token
            if not token:
                return

    def register(
        self, run: Run, bundle_id: str, files: Mapping[str, bytes], tags: Mapping[str, str], about: str = ""
    ) -> int:
        """A new version of the registered model that points at a bundle.

        The version holds no model object: its artefacts are the small files given (recipe, manifest, verdict),
        and the tag `bundle_id` names the folder under `shop.bundles`.

        Args:
            run: the run that made it; the files are stored under its `bundle/`.
            bundle_id: name of the bundle.
            files: file name -> content.
            tags: further tags; `verdict` must be `accepted` or `refused`.
            about: what a person reads beside it.

        Returns:
            The version's number.
        """
        for name, content in files.items():
            run.log_file(f"bundle/{name}", content)
        made = self._client.create_model_version(
            self.shop.registered_model, source=f"{run.artifact_uri}/bundle", run_id=run.id,
            tags={"bundle_id": bundle_id, **tags}, description=about,
        )  # fmt: skip
        return int(made.version)

    def versions(self) -> list[Version]:
        """All versions, newest first."""
        name = self.shop.registered_model
        aliases = self._aliases()
        found = self._client.search_model_versions(f"name = '{name}'", max_results=1000)
        made = [
            Version(
                int(v.version), v.run_id, v.creation_timestamp * 1000, dict(v.tags),
                tuple(sorted(alias for alias, number in aliases.items() if number == int(v.version))),
            )
            for v in found
        ]  # fmt: skip
        return sorted(made, key=lambda v: -v.number)

    def version(self, number: int) -> Version:
        """One version.

        Raises:
            NotFoundError: there is none of that number.
        """
        for made in self.versions():
            if made.number == number:
                return made
        raise NotFoundError("no such model version", got=number, hint="kokyaku models lists them")

    def alias(self, alias: str) -> Version | None:
        """The version that an alias names, or None."""
        number = self._aliases().get(alias)
        return None if number is None else self.version(number)

    def set_alias(self, alias: str, number: int) -> None:
        """Let an alias name that version."""
        self._client.set_registered_model_alias(self.shop.registered_model, alias, str(number))

    def drop_alias(self, alias: str) -> None:
        """Let an alias name nothing."""
        self._client.delete_registered_model_alias(self.shop.registered_model, alias)

    def tag_version(self, number: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self.shop.registered_model, str(number), key, value)

    def read(self, made: Version, name: str) -> bytes:
        """A file that was registered with a version.

        Raises:
            NotFoundError: the file is gone.
        """
        path = self.artefact(made.run_id, f"bundle/{name}")
        if not path.exists():
            raise NotFoundError(f"version {made.number} has lost a file", where=str(path), hint="train again")
        return path.read_bytes()

    def _aliases(self) -> dict[str, int]:
        model = self._client.get_registered_model(self.shop.registered_model)
        return {alias: int(number) for alias, number in model.aliases.items()}


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MLflow's and its dependencies' own warnings and migration notes are nobody's to mend here."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(shop: Shop, *, monitor: bool) -> tuple[Any, str]:
    """The client and the experiment's id; database, experiment and registered model are made once."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    shop.root.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{shop.mlflow_db}"
    with (shop.root / ".mlflow.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that start at once must not both create the tables
        try:
            follow(shop)
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            name, about = (shop.monitor_experiment, _WATCHED) if monitor else (shop.experiment, _ABOUT)
            found = client.get_experiment_by_name(name)
        except (MlflowException, SQLAlchemyError, sqlite3.DatabaseError) as error:
            what, hint = "the tracking database cannot be read", f"if it is of another version: mlflow db upgrade {uri}"
            raise DataError(what, where=str(shop.mlflow_db), got=str(error).splitlines()[0], hint=hint) from None
        location = shop.mlflow_artifacts.as_uri()
        experiment = found.experiment_id if found else client.create_experiment(name, location, about)
        if not client.search_registered_models(f"name = '{shop.registered_model}'"):
            description = f"What {shop.id} serves: bundles that passed the gate."
            client.create_registered_model(shop.registered_model, description=description)
    return client, str(experiment)
