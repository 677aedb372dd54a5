"""The main job, end to end: import, audit, train, publish, serve. What is there already is reused."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from features.dataset import Dataset
from features.errors import DataError
from features.moments import SECOND, format_instant
from features.shop import Shop
from serving.artifact import live_name
from training.commands.common import console
from training.first_file import write_first
from training.recipes import Preset

READY_SECONDS = 90.0
STUDY = "a published data set of people whose names nobody knows; this shop is a demonstration on one's own machine"
"""On what ground the demo answers personally."""


@dataclass(frozen=True)
class DemoOptions:
    """What to show.

    Args:
        source: `complete-journey`, `online-retail` or `simulated`.
        path: the file, where the source needs one.
        size, seed: of the simulated shop.
        preset: how much to train, `quick` or `full`.
        port, ui_port: where the service and the tracking UI listen, on 127.0.0.1.
        serve: False stops after the model is published.
    """

    source: str = "complete-journey"
    path: Path | None = None
    size: str = "s"
    seed: int = 1
    preset: Preset = "quick"
    port: int = 3000
    ui_port: int = 5000
    serve: bool = True


def demo(shop: Shop, options: DemoOptions) -> None:
    """The whole flow; each step says what it does and how long it took."""
    dataset = Dataset(shop.dataset)
    if options.serve:
        check_ports(options)
    with step("Import"):
        bring_in(shop, dataset, options)
    with step("Audit"):
        look_over(shop, dataset)
    with step("Train, evaluate, gate"):
        learn(shop, options)
    with step("Publish histories"):
        publish_histories(shop)
    if options.serve:
        serve(shop, options)


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Announce a step and say how long it took."""
    console.rule(f"[bold]{name}", align="left")
    started = time.perf_counter()
    yield
    console.print(f"[dim]{name}: {time.perf_counter() - started:.1f} s[/dim]")


def check_ports(options: DemoOptions) -> None:
    """Find out now, not after minutes of training, that a port is taken.

    Raises:
        DataError: naming the port and the option that changes it.
    """
    for port, option in ((options.port, "--port"), (options.ui_port, "--ui-port")):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                hint = f"stop what listens there, or choose another with {option}"
                raise DataError("the port is taken", where=option, got=port, hint=hint) from None


def bring_in(shop: Shop, dataset: Dataset, options: DemoOptions) -> None:
    """Import or simulate once, and set the shop's clock to the moment after the last event."""
    from training.commands.import_ import print_report, run_with_progress

    if dataset.exists():
        console.print(f"The dataset is there already: {shop.dataset}")
    elif options.source == "simulated":
        from training.commands.simulate import run_simulation

        run_simulation(shop, size=options.size, seed=options.seed)
        write_first(shop, "home")  # its customers have said what they agree to
    else:
        from features.importing import open_source

        source = open_source(options.source, options.path)
        print_report(run_with_progress(dataset, source, now=time.time_ns() // 1000))
        write_first(shop, "plain", STUDY)
    from serving.clock import set_clock

    clock = set_clock(shop, last_event(dataset) + SECOND)
    console.print(f"In this shop it is now {format_instant(clock.now() // SECOND * SECOND)}.")


def last_event(dataset: Dataset) -> int:
    """The instant of the latest event."""
    with dataset.connect() as duck:
        found = duck.execute("SELECT epoch_us(max(occurred_at)) FROM events").fetchone()
    if found is None or found[0] is None:
        raise DataError("the dataset holds no events", where=str(dataset.root), hint="import some first")
    return int(found[0])


def look_over(shop: Shop, dataset: Dataset) -> None:
    """Audit the dataset; the whole report lies beside it."""
    from features.audit import as_html, audit
    from features.files import write_atomically
    from serving.clock import shop_clock
    from training.commands.audit import log_report, print_report

    report = audit(dataset, shop_clock(shop).now())
    print_report(report)
    log_report(shop, report)
    path = shop.root / "audit.html"
    write_atomically(path, as_html(report).encode())
    console.print(f"The whole report: {path}")


def learn(shop: Shop, options: DemoOptions) -> None:
    """Train, unless a model serves already."""
    live = live_name(shop.bundles)
    if live is not None:
        console.print(f"A model serves already: {live}. Train again with: kokyaku train --shop {shop.id}")
        return
    from training.commands.train import run_training

    run_training(shop, preset=options.preset)


def publish_histories(shop: Shop) -> None:
    """Publish what each customer did, as far as the dataset and the store know it."""
    from serving.clock import shop_clock
    from serving.sync import sync

    report = sync(shop, now=shop_clock(shop).now())
    console.print(f"Histories: {report.history}")


def serve(shop: Shop, options: DemoOptions) -> None:
    """Run the service and the tracking UI until Ctrl-C, and stop both."""
    from training.commands.serve import service_command, service_environment
    from training.ui import start_ui, stop_ui

    console.rule("[bold]Serve", align="left")
    term_as_interrupt()
    environment = service_environment(shop, dev=True)
    log = (shop.root / "service.log").open("ab")
    service = subprocess.Popen(
        service_command("127.0.0.1", options.port), env=environment, start_new_session=True, stdout=log, stderr=log
    )
    ui = start_ui(shop, port=options.ui_port)
    try:
        wait_ready(f"http://127.0.0.1:{options.port}/readyz", service, "the service", shop.root / "service.log")
        wait_ready(f"http://127.0.0.1:{options.ui_port}/health", ui, "the tracking UI", shop.root / "mlflow-ui.log")
        tell(shop, options)
        service.wait()
    except KeyboardInterrupt:
        console.print("Stopping.")
    finally:
        stop(service)
        stop_ui(ui)
        log.close()


def term_as_interrupt() -> None:
    """Whoever ends the demo politely ends what it started as well, as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def tell(shop: Shop, options: DemoOptions) -> None:
    """What to open and what to try."""
    console.print(f"\n[bold]The shop[/bold]         http://127.0.0.1:{options.port}/")
    console.print(f"[bold]The experiments[/bold]  http://127.0.0.1:{options.ui_port}/")
    console.print("\nTry:")
    for line in example_requests(shop, options.port):
        console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)
    console.print("\nCtrl-C stops both.")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process group to finish what it accepted, and end it if it does not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def wait_ready(url: str, process: subprocess.Popen[bytes], what: str, log: Path) -> None:
    """Wait until something answers.

    Raises:
        DataError: it ended or did not answer in time.
    """
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise DataError(f"{what} ended before it was ready", got=process.returncode, hint=f"see {log}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310  (loopback)
            return
        time.sleep(0.2)
    raise DataError(f"{what} did not answer in {READY_SECONDS:.0f} s", where=url, hint=f"see {log}")


def example_requests(shop: Shop, port: int) -> list[str]:
    """Three curl lines that work as they stand."""
    customer, item = an_example(shop)
    bodies = {
        "recommendations": {"userId": customer, "numResults": 5},
        "events": {"events": [{"type": "wishlist", "userId": customer, "itemId": item}]},
        "pages": {"page": "home", "userId": customer},
    }
    return [
        f"curl -s http://127.0.0.1:{port}/v1/{path} -d '{orjson.dumps(body).decode()}'" for path, body in bodies.items()
    ]


def an_example(shop: Shop) -> tuple[str, str]:
    """A customer with a middling history, and an item of the catalogue that sells."""
    from serving.engine import Engine

    engine = Engine(shop, worker=None)
    live = engine.live
    customer = "1"
    if live.histories is not None:
        counts = np.diff(live.histories.offsets)
        known = [row for row, subject in enumerate(live.histories.subjects) if subject.startswith("c:")]
        middle = sorted(known, key=lambda row: int(counts[row]))[len(known) // 2]
        customer = live.histories.subjects[middle].removeprefix("c:")
    bought = np.where(live.bundle.catalogue, live.bundle.shared.buyers, 0)
    item = live.bundle.items[int(np.argmax(bought))]
    engine.close()
    return customer, item
