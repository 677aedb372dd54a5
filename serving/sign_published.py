"""Signing what a shop has already: for the day on which a signing key is configured, or changed."""

from __future__ import annotations

from pathlib import Path

from features.errors import ConfigError
from features.shop import Shop
from serving.artifact import MANIFEST, sign_again
from serving.artifact_signatures import MAKE, VARIABLE
from serving.histories import changed_files


def sign_shop(shop: Shop) -> list[str]:
    """Sign every bundle, history and policy of a shop; each is compared with its checksums first.

    Returns:
        What was signed, as folder/name.

    Raises:
        BundleError: one is damaged; those before it are signed.
        ConfigError: no signing key is configured, or it cannot be used.
    """
    signed = []
    for folder in _artefacts(shop):
        if not sign_again(folder, changed=changed_files(folder)):
            hint = f"name the file of one: {MAKE}"
            raise ConfigError("no signing key is configured", where=VARIABLE, hint=hint)
        signed.append(f"{folder.parent.name}/{folder.name}")
    return signed


def _artefacts(shop: Shop) -> list[Path]:
    parents = (shop.bundles, shop.histories, shop.policies)
    found = (path.parent for parent in parents for path in sorted(parent.glob(f"*/{MANIFEST}")))
    return [folder for folder in found if not folder.name.startswith(".")]
