"""A first `shop.toml`: samples that explain themselves, written where the shop has none yet."""

from __future__ import annotations

from pathlib import Path

from features.errors import ConfigError
from features.shop import Shop
from serving.strict import nearest

FOLDER = Path(__file__).parent / "samples"


def samples() -> list[str]:
    """Names of the samples."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def write_sample(shop: Shop, name: str, *, force: bool = False) -> Path:
    """Write a sample as the shop's file.

    Args:
        shop: whose file; its folder is made where there is none.
        name: of the sample.
        force: write over a file that is there.

    Returns:
        The file.

    Raises:
        ConfigError: no such sample, or the shop has a file already.
    """
    if name not in samples():
        raise ConfigError("no such sample", where="--sample", got=name, hint=nearest(name, samples()))
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    shop.root.mkdir(parents=True, exist_ok=True)
    try:
        with shop.config.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        hint = "keep it, or write over it with --force"
        raise ConfigError("the shop has a file already", where=str(shop.config), hint=hint) from None
    return shop.config
