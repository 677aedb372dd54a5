"""The Bento holds serving/ and features/ only, and answers from a folder that knows nothing of the repository."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import orjson
import pytest

from serving.clock import set_clock
from tests.test_serving.recipe import environment, words

PROJECT = Path(__file__).parents[2]
AS_OF = 20_000 * 86_400 * 1_000_000


@pytest.fixture(scope="module")
def bento(tmp_path_factory) -> Path:
    """The source folder of a freshly built Bento."""
    home = tmp_path_factory.mktemp("bentoml")
    env = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    env.pop("KOKYAKU_DEV", None)
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (source,) = (home / "bentos" / "kokyaku").glob("*/src")
    return source


def test_it_carries_two_packages_and_nothing_else(bento):
    """No training code, no tests, no notebooks, no environment file, no data."""
    top = {path.name for path in bento.iterdir()}
    assert top == {"features", "serving", "bentofile.yaml"}
    kinds = {path.suffix for path in bento.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert kinds <= {".py", ".html", ".css", ".js", ".svg", ".toml", ".yaml"}
    assert (bento / "serving" / "web" / "templates" / "base.html").exists()


def test_the_images_own_command_serves_from_elsewhere(bento, toy_shop, tmp_path):
    """What the Containerfile sets and starts, with this machine's folders and a loopback address for its own."""
    set_clock(toy_shop, AS_OF)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = {"3000": str(port), "/bento": str(bento.parent), "python": sys.executable}
    env = {**os.environ, **environment(), "PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1", "KOKYAKU_DEV": "1"}
    env |= {"BENTOML_HOME": str(tmp_path / "home"), "KOKYAKU_ROOT": str(toy_shop.root), "KOKYAKU_SHOP": toy_shop.id}
    env["PYTHONPATH"] = environment()["PYTHONPATH"].replace("/bento", str(bento.parent))
    env["KOKYAKU_LISTEN"] = "127.0.0.1"
    env["KOKYAKU_COMPILED"] = str(tmp_path / "kernels")
    compiling = [sys.executable, "-m", "serving", "compile"]
    built = {**env, "NUMBA_CACHE_DIR": env["KOKYAKU_COMPILED"]}
    subprocess.run(compiling, cwd=bento, env=built, check=True, capture_output=True)  # as the image was built
    command = [moved.get(word, word) for word in words("CMD")]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=elsewhere, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        answer = ask(port, process, log)
        health = [moved.get(word, word).replace(":3000/", f":{port}/") for word in words("HEALTHCHECK")]
        assert subprocess.run(health, cwd=elsewhere, env=env, check=False).returncode == 0
        doctor = [sys.executable, "-m", "serving", "doctor", "--json"]
        looked = subprocess.run(doctor, cwd=elsewhere, env=env, capture_output=True, text=True, check=False)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
    assert [entry["itemId"] for entry in answer["itemList"]] == ["a0", "a1"]
    assert subprocess.run(health, cwd=elsewhere, env=env, capture_output=True, check=False).returncode == 1
    assert (looked.returncode, orjson.loads(looked.stdout)["ok"]) == (0, True), looked.stderr
    said = [orjson.loads(line) for line in log.read_text().splitlines()]
    assert said and all({"time", "level", "message"} <= line.keys() for line in said)


def ask(port: int, process: subprocess.Popen[bytes], log: Path) -> dict:
    body = orjson.dumps({"userId": "ann", "numResults": 2})
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/recommendations", body)
            with urllib.request.urlopen(request, timeout=2) as answer:
                return orjson.loads(answer.read())
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])
