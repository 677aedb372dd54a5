"""`kokyaku erase CUSTOMER`: forget a customer."""

from __future__ import annotations

from typing import Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(
    customer: Annotated[str, typer.Argument(help="The customer's id, or with --receipt the receipt's.")],
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    receipt: Annotated[bool, typer.Option("--receipt", help="Only show how far an earlier erasure is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
) -> None:
    """Forget a customer and the visitors linked to them, for good; prints a receipt.

    It works beside a running service, whose next answer does not know the customer any more. The dataset follows with
    the next `kokyaku sync`.

    Examples:

      kokyaku erase 1071

      kokyaku erase --receipt 0f3a55d2c1...
    """
    import orjson

    from serving import ops

    opened = open_shop(shop, root)
    found = ops.read_receipt(opened, customer) if receipt else ops.erase_customer(opened, customer)
    if as_json:
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    counts = ", ".join(f"{count:,} {name}" for name, count in found["removed"].items() if count)
    console.print(f"Receipt {found['receiptId']}: {found['state']} ({counts or 'nothing was known'}).")
    for sentence in found["says"].values():
        console.print(f"- {sentence}", highlight=False)
