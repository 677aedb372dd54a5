"""`kokyaku recommend CUSTOMER`: the service's own answer, without a service."""

from __future__ import annotations

from typing import Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(
    customer: Annotated[str, typer.Argument(help="Customer id.")],
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=200, help="How many items.")] = 10,
    new: Annotated[bool, typer.Option("--new", help="Only items that the customer never bought.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as the service gives it.")] = False,
) -> None:
    """Recommend to one customer, as the service would now. Nothing is logged: nobody sees it.

    Examples:

      kokyaku recommend 1

      kokyaku recommend 1 --new --num 5 --json
    """
    import orjson
    from rich.table import Table

    from serving import pipeline, wire
    from serving.engine import Engine
    from serving.live import item_card
    from serving.query import Filter

    engine = Engine(open_shop(shop, root), worker=None)
    wanted = Filter(exclude=("purchased",) if new else ())
    request = wire.RecommendationsRequest(user_id=customer, num_results=num, filter=wanted, explain=as_json)
    answer = pipeline.recommend(engine, request, engine.clock.now())
    if as_json:
        print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        return
    table = Table("rank", "item", "title", "score", "source", "why", title=f"For customer {customer}")
    for rank, entry in enumerate(answer["itemList"], start=1):
        card = item_card(engine.live, engine.live.bundle.items.row(entry["itemId"]))
        table.add_row(
            str(rank), entry["itemId"], card["title"], f"{entry['score']:.3f}", entry["source"], entry["reason"]
        )
    console.print(table)
    if answer.get("reason"):
        console.print(answer["reason"])
