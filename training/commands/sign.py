"""`kokyaku sign`: sign what was published before there was a signing key."""

from __future__ import annotations

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(shop: ShopOption = DEFAULT_SHOP, root: RootOption = None) -> None:
    """Sign the shop's bundles, histories and policies with the key that KOKYAKU_SIGNING_KEY_FILE names.

    What is published with that variable set is signed as it is published; a service that has it takes up nothing else.
    This is for what lay there before, and for a change of keys. Each file is compared with its checksum first.

    Examples:

      openssl rand -hex 32 > signing.key && chmod 600 signing.key

      KOKYAKU_SIGNING_KEY_FILE=signing.key kokyaku sign --shop mine
    """
    from serving.sign_published import sign_shop

    names = sign_shop(open_shop(shop, root))
    console.print(f"Signed: {', '.join(names)}." if names else "There is nothing to sign yet.", markup=False)
