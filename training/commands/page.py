"""`kokyaku page CUSTOMER`: a customer's page in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(
    customer: Annotated[str, typer.Argument(help="Customer id.")],
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    page: Annotated[str, typer.Option(help="Page of shop.toml.")] = "home",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as the service gives it.")] = False,
) -> None:
    """Show one customer's page, as the service would now. Nothing is logged: nobody sees it.

    Examples:

      kokyaku page 1

      kokyaku page 1 --page home --json
    """
    import orjson
    from rich.panel import Panel

    from serving import pages, wire
    from serving.engine import Engine

    engine = Engine(open_shop(shop, root), worker=None)
    request = wire.PageRequest(page=page, user_id=customer, explain=as_json)
    answer = pages.page(engine, request, engine.clock.now())
    if as_json:
        print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        return
    console.print(f"[bold]{answer['greeting']['text']}[/bold]")
    for slot in answer["slots"]:
        if not slot["items"]:
            continue
        lines = [f"{item['title']}  [dim]{item['reason']}[/dim]" for item in slot["items"]]
        console.print(Panel("\n".join(lines), title=f"{slot['title']}  [dim]{slot['slot']}: {slot['actionId']}[/dim]"))
