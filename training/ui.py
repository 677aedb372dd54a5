"""The tracking UI as a child process: MLflow's server over one shop's store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.errors import ConfigError, NotFoundError, Unavailable
from features.shop import Shop
from training.tracking import ENVIRONMENT

_STOP_SECONDS = 10
_START_SECONDS = 90


def ui_arguments(shop: Shop, *, host: str, port: int) -> list[str]:
    """The program and its arguments."""
    store = f"sqlite:///{shop.mlflow_db}"
    return [
        sys.executable, "-W", "ignore", "-m", "mlflow", "server", "--backend-store-uri", store,
        "--registry-store-uri", store, "--default-artifact-root", shop.mlflow_artifacts.as_uri(),
        "--host", host, "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning",
    ]  # fmt: skip


def ui_log(shop: Shop) -> Path:
    """What the server prints."""
    return shop.root / "mlflow-ui.log"


def start_ui(shop: Shop, *, host: str = "127.0.0.1", port: int = 5000) -> subprocess.Popen[bytes]:
    """Start the server in a process group of its own; `stop_ui` ends it with all its children.

    Raises:
        NotFoundError: the shop has no experiments yet.
        ConfigError: something else listens there.
    """
    if not shop.mlflow_db.exists():
        hint = f"train first: kokyaku train --shop {shop.id}"
        raise NotFoundError("no experiments yet", where=str(shop.mlflow_db), hint=hint)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            hint = "stop what listens there or choose another --port"
            raise ConfigError("cannot listen", where=f"{host}:{port}", got=error.strerror, hint=hint) from None
    environment = {**os.environ, **ENVIRONMENT, "PYTHONWARNINGS": "ignore"}
    with ui_log(shop).open("wb") as log:
        arguments = ui_arguments(shop, host=host, port=port)
        return subprocess.Popen(arguments, env=environment, start_new_session=True, stdout=log, stderr=log)


def wait_for_ui(process: subprocess.Popen[bytes], shop: Shop, *, host: str = "127.0.0.1", port: int = 5000) -> None:
    """Return when the server answers.

    Raises:
        Unavailable: it ended, or gave no answer in time; the log says why.
    """
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise Unavailable("the tracking UI did not start", where=str(ui_log(shop)), hint="the log says why")


def stop_ui(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers; those that do not end in time are killed."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(_STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


@contextmanager
def running_ui(shop: Shop, *, host: str = "127.0.0.1", port: int = 5000) -> Iterator[subprocess.Popen[bytes]]:
    """The server, answering, for as long as the block runs; it ends with this process."""
    process = start_ui(shop, host=host, port=port)
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        wait_for_ui(process, shop, host=host, port=port)
        yield process
    finally:
        stop_ui(process)
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)
