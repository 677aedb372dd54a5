"""`kokyaku serve`: the BentoML service of one shop, as a process of its own."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from features.errors import ConfigError
from features.shop import Shop
from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3000,
    dev: Annotated[bool, typer.Option("--dev", help="Answer without API keys, to this machine only.")] = False,
) -> None:
    """Answer over HTTP until Ctrl-C.

    Needs API keys (kokyaku keys make; or KOKYAKU_KEYS, KOKYAKU_KEY_FILE), or --dev on your own machine. Keys that are
    made or revoked while it runs count within a second.

    Examples:

      kokyaku serve --dev

      kokyaku keys make backend --scopes read+events --shop mine && kokyaku serve --shop mine --host 0.0.0.0
    """
    opened = open_shop(shop, root)
    environment = service_environment(opened, dev=dev, host=host)
    from serving.engine import Engine
    from serving.memory import admit

    console.print(f"Memory  {admit(opened)}", highlight=False, soft_wrap=True)
    engine = Engine(opened, worker=None, whole=False)  # a missing or damaged bundle is told here, in one line
    for what, why in engine.refusals.items():
        console.print(f"Refused {what}: {why}", highlight=False, soft_wrap=True, markup=False)
    engine.close()
    command_line = service_command(host, port)
    os.execve(command_line[0], command_line, environment)  # signals reach the service itself, not a parent of it


def service_command(host: str, port: int, target: str | None = None) -> list[str]:
    """The command line that starts the service, or another one that a bench compares it with.

    Args:
        host, port: where it listens.
        target: started with BentoML's supervisor; default: the product's own service, with `serving.keeper`.
    """
    start = ["serving.keeper"] if target is None else ["bentoml", "serve", target]
    return [
        sys.executable, "-m", *start, "--host", host, "--port", str(port), "--timeout-graceful-shutdown", "10",
    ]  # fmt: skip


def service_environment(shop: Shop, *, dev: bool, host: str = "127.0.0.1") -> dict[str, str]:
    """The environment that names the shop and keeps numeric libraries to one thread a worker.

    Raises:
        ConfigError: development beyond loopback, or no key.
    """
    from serving.access import Access

    if dev and host not in LOOPBACK:
        hint = "drop --host, or make a key (kokyaku keys make) instead of --dev"
        raise ConfigError("--dev answers to this machine only", where="--host", got=host, hint=hint)
    environment = dict(os.environ)
    environment |= {**shop.environment, "BENTOML_DO_NOT_TRACK": "True"}
    environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if dev:
        environment["KOKYAKU_DEV"] = "1"
    elif shop.keys.exists():
        environment.setdefault("KOKYAKU_KEY_FILE", str(shop.keys))
    Access.from_environment(environment)
    return environment
