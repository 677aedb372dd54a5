"""The mapped history that a worker serves with, and what stands in for one that is damaged.

A damaged history takes no read down: a worker that starts on it begins with the one before it, or with none. What the
store received since the one before it still holds, for it drops only what both hold. What an import brought since is in
the damaged one alone, and a refusal of consent may be among it. So the one before serves only where there was no such
import; else none does, and until a whole one is published nothing personal of customers is used.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.errors import BundleError, Unavailable
from features.history import Histories
from features.shop import Shop
from serving.artifact import MANIFEST, others, read_manifest
from serving.bundle import Bundle
from serving.disk import asked_again
from serving.erase import sweep_history
from serving.histories import IMPORTED, imported_by, open_history, open_people
from serving.live import translation_of
from serving.profiles import People
from serving.store import Store
from serving.store_upkeep import store_id


class Past(NamedTuple):
    """What was mapped of what people did and told; the fields are those of `Live`."""

    name: str | None
    histories: Histories | None
    translation: npt.NDArray[np.int32]
    seq: int
    people: People | None
    blind: bool = False


NO_PAST = Past(None, None, np.empty(0, np.int32), 0, None)
"""Before the first sync."""


def open_past(shop: Shop, name: str, store: str, bundle: Bundle) -> Past:
    """Map a history and its profiles.

    Args:
        shop: whose.
        name: of the history.
        store: id of the shop's store.
        bundle: whose item rows are wanted.

    Raises:
        BundleError: it is damaged, or of a newer program.
    """
    folder = shop.histories / name
    # Hashing gigabytes at every start would cost seconds; `kokyaku doctor` compares the checksums of all.
    histories, manifest = open_history(folder, verify=False)
    try:
        # Sequence numbers of another store mean nothing here: then all that this one holds is joined.
        seq = int(manifest["store_seq"]) if manifest.get("store_id") == store else 0
        people = open_people(folder, store)
    except (KeyError, TypeError, ValueError):
        raise BundleError("the manifest is damaged", where=str(folder / MANIFEST), hint="run kokyaku sync") from None
    return Past(name, histories, translation_of(histories, bundle), seq, people)


def stand_in(shop: Shop, live: str, store: Store, bundle: Bundle) -> Past:
    """What serves while the live history is refused: another that with the store knows as much, else none.

    Args:
        shop: whose.
        live: name of the history that is refused.
        store: the shop's.
        bundle: whose item rows are wanted.
    """
    wanted = store_id(store), imported_by(shop.histories)
    for name in [] if wanted[1] is None else others(shop.histories, live):
        with suppress(BundleError, Unavailable):
            manifest = read_manifest(shop.histories / name)
            if (manifest.get("store_id"), manifest.get(IMPORTED)) == wanted:
                swept(shop.histories / name, store)
                return open_past(shop, name, wanted[0], bundle)
    return NO_PAST._replace(blind=True)


def swept(folder: Path, store: Store) -> None:
    """Overwrite in a history who was erased: it may have been out of reach when that happened.

    Raises:
        BundleError: it is damaged.
        Unavailable: the disk or the store refuses.
    """
    if store.erased():
        with asked_again("run kokyaku sync"):
            sweep_history(folder, store)
