"""`kokyaku models`: the registered versions and what became of them."""

from __future__ import annotations

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(shop: ShopOption = DEFAULT_SHOP, root: RootOption = None) -> None:
    """List the registered models: recipe, figures, verdict, which one serves.

    Examples:

      kokyaku models

      kokyaku models --shop mine
    """
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from features.moments import format_instant
    from training.publish import models

    opened = open_shop(shop, root)
    found = models(opened) if opened.mlflow_db.exists() else []
    if not found:
        console.print(f"No models yet. Train one: kokyaku train --shop {opened.id}")
        return
    table = Table("version", "recipe", "state", title=f"Models of {opened.id}", title_justify="left", box=SIMPLE)
    for heading in ("all", "new", "made"):
        table.add_column(heading, no_wrap=True)
    for line in found:
        figures = [f"{line.figures[task]:.3f}" if task in line.figures else "" for task in ("all", "new")]
        made = format_instant(line.version.created_at)[:16].replace("T", " ")
        style = "bold" if line.state.startswith(("serves", "champion")) else "dim" if line.state == "refused" else ""
        cells = (str(line.version.number), line.recipe, line.state, *figures, made)
        table.add_row(*map(escape, cells), style=style)
    console.print(table)
    live = next((line.version.bundle_id for line in found if line.state == "serves"), None)
    console.print(f"Bundle that serves: {live or 'none'}", highlight=False, soft_wrap=True)
    console.print(
        "all, new: the gate's metric on all purchases and on items never bought before, in the judged window."
    )
