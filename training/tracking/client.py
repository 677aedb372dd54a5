"""Speaking to MLflow: quietly, over the shop's own file, and with its failures told in one sentence."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from features.errors import DataError, Unavailable
from features.shop import Shop
from training.moved import follow

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
_OF_THE_DATABASE = {"TEMPORARILY_UNAVAILABLE", "BAD_REQUEST", "INTERNAL_ERROR"}
"""Codes that MLflow gives to errors of its database; its other ones are of whoever calls it."""
_LOCKED = "locked"


class RegistryUnavailable(Unavailable):
    """The tracking database cannot be read or written now; what serves does not need it."""


class Client:
    """MLflow's client, whose failures are told as ours.

    Args:
        client: MLflow's.
        shop: whose store it speaks to.
    """

    def __init__(self, client: Any, shop: Shop) -> None:
        self._client, self._shop = client, shop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._client, name)

        def told(*given: Any, **named: Any) -> Any:
            from mlflow.exceptions import MlflowException
            from sqlalchemy.exc import SQLAlchemyError

            try:
                return call(*given, **named)
            except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
                if isinstance(error, MlflowException) and error.error_code not in _OF_THE_DATABASE:
                    raise
                raise _unavailable(self._shop, error) from None

        return told


def opened(shop: Shop, *, monitor: bool) -> tuple[Client, str]:
    """The client and the experiment's id; database, experiment and registered model are made once.

    Raises:
        DataError: what is there is no such database, or one of another version of MLflow.
        RegistryUnavailable: somebody holds it, or the disk refuses.
    """
    with _quiet():
        try:
            return _opened(shop, monitor=monitor)
        except OSError as error:
            raise _unavailable(shop, error) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MLflow's and its dependencies' own warnings and migration notes are nobody's to mend here."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _opened(shop: Shop, *, monitor: bool) -> tuple[Client, str]:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback of what is told here
    shop.root.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{shop.mlflow_db}"
    with (shop.root / ".mlflow.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that start at once must not both create the tables
        try:
            follow(shop)
            mlflow = MlflowClient(tracking_uri=uri, registry_uri=uri)
            name, about = (shop.monitor_experiment, _WATCHED) if monitor else (shop.experiment, _ABOUT)
            found = mlflow.get_experiment_by_name(name)
        except (MlflowException, SQLAlchemyError, sqlite3.DatabaseError) as error:
            if _LOCKED in str(error):
                raise _unavailable(shop, error) from None
            what, hint = "the tracking database cannot be read", f"if it is of another version: mlflow db upgrade {uri}"
            raise DataError(what, where=str(shop.mlflow_db), got=str(error).splitlines()[0], hint=hint) from None
        client, location = Client(mlflow, shop), shop.mlflow_artifacts.as_uri()
        experiment = found.experiment_id if found else client.create_experiment(name, location, about)
        if not client.search_registered_models(f"name = '{shop.registered_model}'"):
            description = f"What {shop.id} serves: bundles that passed the gate."
            client.create_registered_model(shop.registered_model, description=description)
    return client, str(experiment)


def _unavailable(shop: Shop, error: Exception) -> RegistryUnavailable:
    got = str(error).splitlines()[0]
    first = "another program holds it: wait or stop that" if _LOCKED in got else "see to its disk and permissions"
    what, hint = "the tracking store does not answer", f"{first}, then try again; what serves goes on without it"
    return RegistryUnavailable(what, where=str(shop.mlflow_db), got=got, hint=hint)
