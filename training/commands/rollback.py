"""`kokyaku rollback`: let the previous model serve again."""

from __future__ import annotations

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(shop: ShopOption = DEFAULT_SHOP, root: RootOption = None) -> None:
    """Let the model that served before this one serve again.

    Examples:

      kokyaku rollback

      kokyaku rollback --shop mine
    """
    from training.publish import rollback

    opened = open_shop(shop, root)
    version = rollback(opened)
    console.print(f"Version {version.number} serves {opened.id} again: bundle {version.bundle_id}.")
