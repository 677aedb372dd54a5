"""A shop's copy for a bench that writes: the shop itself never sees made-up events."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from features.errors import ConfigError
from features.shop import Shop

_FOLDERS = ("bundles", "histories", "policies", "dataset")
_LOCKS = shutil.ignore_patterns("*.lock")
"""A linked lock would be the shop's own."""


@contextlib.contextmanager
def aside(shop: Shop) -> Iterator[Shop]:
    """A copy of all that a service or a sync reads, beside the shop's folder, until the block ends.

    What is mapped or part of a dataset is linked and costs no disk: nobody writes into it, save to erase, which no
    bench does.

    Raises:
        ConfigError: the shop's store is on a server, of which no copy is made: figures over an empty file beside it
            would be of another shop.
    """
    if shop.store_url is not None:
        hint = "unset it to measure over a file in the shop's folder; kokyaku bench store measures the server itself"
        raise ConfigError("this bench writes into a copy, and copies no server", where="KOKYAKU_STORE", hint=hint)
    copy = Shop(shop.id, shop.root.with_name(f".{shop.root.name}-bench-{secrets.token_hex(4)}"))
    copy.root.mkdir(mode=0o700)
    try:
        for name in _FOLDERS:
            if (shop.root / name).exists():
                shutil.copytree(shop.root / name, copy.root / name, copy_function=link, ignore=_LOCKS)
        for file, target in (
            (shop.config, copy.config),
            (shop.clock, copy.clock),
            (shop.secret_path, copy.secret_path),
        ):
            if file.exists():
                shutil.copy2(file, target)
        if shop.store.exists():
            _copy_store(shop.store, copy.store)
        yield copy
    finally:
        shutil.rmtree(copy.root, ignore_errors=True)


def link(source: str, target: str) -> None:
    """A hard link where the file system has them, else a copy."""
    # Pointers and manifests are replaced whole and never written into, so a link of them is safe as well.
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _copy_store(source: Path, target: Path) -> None:
    """With what its write-ahead log holds, also beside a running service."""
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
    target.chmod(0o600)
