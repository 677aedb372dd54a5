"""The first `shop.toml` of a shop: a sample, with the ground on which its customers' data is used written into it.

What nobody told is no. Whoever imports data without consents can say here, for everybody to see, on what ground it may
be used all the same; nothing is assumed silently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import orjson

import serving
from features.files import write_atomically
from features.shop import Shop
from serving.config import ShopConfig, load_config, read_config
from serving.person import PERSONALIZATION, TRAINING

SAMPLES = Path(serving.__file__).parent / "samples"
PURPOSES = (PERSONALIZATION, TRAINING)
_CONSENT = re.compile(r"^assumed = \[[^\]]*\]\nbasis = \"[^\"]*\"$", re.MULTILINE)


def first_file(sample: str, basis: str = "", purposes: Sequence[str] = PURPOSES) -> str:
    """A sample's text with a basis.

    Args:
        sample: `plain` or `home`.
        basis: on what ground data may be used; empty: on none but consent.
        purposes: what it holds for.
    """
    text = (SAMPLES / f"{sample}.toml").read_text(encoding="utf-8")
    assumed = orjson.dumps(list(purposes) if basis else []).decode().replace(",", ", ")
    said = f"assumed = {assumed}\nbasis = {orjson.dumps(basis).decode()}"
    return _CONSENT.sub(lambda found: said, text, count=1)


def write_first(
    shop: Shop, sample: str, basis: str = "", purposes: Sequence[str] = (PERSONALIZATION, TRAINING)
) -> bool:
    """Write a shop's first file; one that is there stays as it is.

    Returns:
        Whether it was written.
    """
    if shop.config.exists():
        return False
    text = first_file(sample, basis, purposes)
    read_config(text, str(shop.config))
    write_atomically(shop.config, text.encode())
    return True


def without_ground(shop: Shop, recorded: int) -> str | None:
    """What to say to somebody whose customers' data may not be used; None where it may.

    Args:
        shop: whose file.
        recorded: customers of whom some consent is recorded.
    """
    config = load_config(shop.config) if shop.config.exists() else ShopConfig()
    if recorded or PERSONALIZATION in config.consent.assumed:
        return None
    return (
        "No consent to personalization is recorded, so every answer will be the same for all. Import consents, or say"
        ' on what ground the data may be used: kokyaku import ... --basis "...", or [consent] in shop.toml.'
    )
