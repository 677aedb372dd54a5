"""`kokyaku page CUSTOMER`: a customer's page in the terminal."""

from __future__ import annotations

from typing import Annotated, Any

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
    from rich.markup import escape
    from rich.panel import Panel

    from serving import pages, wire
    from serving.engine import Engine

    engine = Engine(open_shop(shop, root), worker=None)
    request = wire.PageRequest(page=page, user_id=customer, explain=as_json)
    answer = pages.page(engine, request, engine.clock.now())
    if as_json:
        print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        return
    console.print(f"[bold]{escape(answer['greeting']['text'])}[/bold]  [dim]{answer['basis']['text']}[/dim]")
    for slot in answer["slots"]:
        title = f"{escape(slot['title'] or 'nothing')}  [dim]{slot['slot']}: {slot['actionId']}[/dim]"
        console.print(Panel("\n".join(_lines(slot)), title=title, title_align="left"))


def _lines(slot: dict[str, Any]) -> list[str]:
    """What stands in a slot: words, orders, a question, products."""
    from rich.markup import escape

    lines = [escape(slot["text"])] if slot.get("text") else []
    lines += [f"{escape(order['title'])}  [dim]{_when(order)}[/dim]" for order in slot.get("orders", ())]
    if "question" in slot:
        options = ", ".join(escape(option["label"]) for option in slot["question"]["options"])
        lines.append(f"{escape(slot['question']['text'])}  [dim]{options or 'free text'}[/dim]")
    lines += [f"{escape(item['title'])}  [dim]{escape(item['reason'])}[/dim]" for item in slot["items"]]
    return lines or [f"[dim]{escape(slot.get('reason') or '')}[/dim]"]


def _when(order: dict[str, Any]) -> str:
    state = order["state"].replace("_", " ")
    return state if order["expected"] is None else f"{state}, {order['expected']['text']}"
