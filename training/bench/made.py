"""`kokyaku bench made`: a shop made for load, in the size that is asked for, without any training.

Everything has the shapes, the sizes and the skew of a published shop, and nothing in it means anything: whoever wants
to know how good lists are simulates a shop and trains. It is marked in the shop's name, the bundle's id and manifest.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from features.errors import ConfigError
from features.files import write_atomically
from features.moments import parse_instant
from features.shop import Shop
from serving.artifact import publish_live
from serving.bundle import write_bundle
from serving.clock import set_clock
from serving.histories import publish_history, write_history
from serving.store import Store
from serving.store_upkeep import store_id
from training.bench.made_items import made_bundle
from training.bench.made_people import made_histories, made_profiles
from training.commands.common import console

AS_OF = parse_instant("2026-01-01T12:00:00Z")
"""When the shop was made; its clock starts there, so that two runs of a bench see the same ages."""
_SIZE = re.compile(r"(\d+)x(\d+)")
_SLOTS = ("buy-again", "wishlist", "for-you", "related", "viewed", "goes-with-order", "for-you", "popular")
_CONFIG = """# Made for load: nothing in this shop means anything.
[shop]
name = "Made for load"
holdout = 0.02

[consent]
assumed = ["personalization"]
basis = "nobody lives here"

[actions.hello]
kind = "content"
texts = [{ title = "Made for load", locale = "en" }]

[channels.app]
actions = ["hello"]
medium = "app"
purpose = "personalization"
quiet = false
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a made shop is."""

    items: int
    customers: int
    events: int = 50
    """Of each customer, in the mean."""
    factors: int = 64


def command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the new shop.")],
    size: Annotated[str, typer.Option(help="Items x customers.")] = "100000x1000000",
    events: Annotated[int, typer.Option(min=1, max=1000, help="Events of each customer, in the mean.")] = 50,
    factors: Annotated[int, typer.Option(min=2, max=512, help="Latent factors of each item.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and size give the same shop.")] = 1,
) -> None:
    """Make a shop of any size in minutes, for load and memory alone: bundle, history, settings.

    Examples:

      kokyaku bench made --out shops/made --size 100000x1000000

      kokyaku bench serve --shop made
    """
    found = _SIZE.fullmatch(size)
    if found is None or min(map(int, found.groups())) < 100:
        hint = "such as 100000x1000000, at least 100 of each"
        raise ConfigError("not a size", where="--size", got=size, hint=hint)
    wanted = Size(int(found.group(1)), int(found.group(2)), events, factors)
    started = time.perf_counter()
    make(Shop("made", out.absolute()), wanted, seed)
    console.print(f"Made    {out} in {time.perf_counter() - started:.0f} s: {size}, {events} events each")


def make(shop: Shop, size: Size, seed: int = 1) -> None:
    """Make a shop and publish it.

    Raises:
        BundleError: one was made there already.
    """
    rng = np.random.default_rng(seed)
    bundle = made_bundle(rng, size.items, size.factors, AS_OF)
    write_bundle(shop.bundles / bundle.id, bundle)
    histories = made_histories(rng, bundle, size.customers, size.events, AS_OF)
    store = Store.open(shop.store, shop.secret)
    manifest = {"store_id": store_id(store), "store_seq": 0, "as_of": AS_OF, "dataset": None, "made_for": "load"}
    store.close()
    name = write_history(shop.histories, histories, [], manifest, made_profiles(histories.subjects))
    publish_history(shop.histories, name)
    publish_live(shop.bundles, bundle.id)
    slots = "".join(f'[[pages.full.slots]]\nname = "slot-{n}"\nmodules = ["{m}", "popular"]\n'
                    for n, m in enumerate(_SLOTS))  # fmt: skip
    write_atomically(shop.config, f"{_CONFIG}\n{slots}".encode())
    set_clock(shop, AS_OF)
