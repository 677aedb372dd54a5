"""The tracking UI as a child process: it answers, and nothing of it is left when it is stopped."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from features.errors import ConfigError, NotFoundError, Unavailable
from features.shop import Shop
from training import ui


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_serves_the_shop_and_stops_whole(tmp_path: Path, make_shop: Callable[[Path], Shop]) -> None:
    """It answers on loopback once the block is entered; after it the whole process group is gone."""
    shop, port = make_shop(tmp_path), free_port()
    with ui.running_ui(shop, port=port) as process:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.status == 200
        assert process.poll() is None
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_before_the_first_training_it_says_what_to_do(tmp_path: Path) -> None:
    """No empty store is made by looking."""
    with pytest.raises(NotFoundError, match="kokyaku train --shop toy"):
        ui.start_ui(Shop("toy", tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_named(tmp_path: Path, make_shop: Callable[[Path], Shop]) -> None:
    """With the option that changes it."""
    shop = make_shop(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*--port"):
            ui.start_ui(shop, port=port)


def test_a_server_that_ends_is_not_waited_for(
    tmp_path: Path, make_shop: Callable[[Path], Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the log that says why."""
    monkeypatch.setattr(ui, "ui_arguments", lambda *_, **__: ["sh", "-c", "echo no such thing; exit 3"])
    shop = make_shop(tmp_path)
    with pytest.raises(Unavailable, match=r"mlflow-ui\.log"), ui.running_ui(shop, port=free_port()):
        pass
    assert ui.ui_log(shop).read_text() == "no such thing\n"
