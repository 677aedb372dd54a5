"""`kokyaku keys`: make, list and revoke API keys, while the service runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

app = typer.Typer(
    help="Make, list and revoke API keys. A running service takes changes up within a second.", no_args_is_help=True,
    rich_markup_mode="rich", pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
FileOption = Annotated[
    Path | None,
    typer.Option("--file", help="The key file.  [default: keys.json in the shop's folder]", envvar="KOKYAKU_KEY_FILE"),
]


@app.command("make")
def make(
    name: Annotated[str, typer.Argument(help="What you call it, e.g. who will use it.")],
    scopes: Annotated[str, typer.Option(help="What it may do: read, events, admin, metrics; or browser alone.")],
    days: Annotated[int, typer.Option(min=0, max=3_650, help="Days until it ends; 0: never.")] = 0,
    rate: Annotated[float, typer.Option(min=0, help="Requests a second, on the average; 0: no limit.")] = 0.0,
    burst: Annotated[int, typer.Option(min=0, help="Requests at once; 0: one second's worth.")] = 0,
    body: Annotated[int, typer.Option(min=0, help="Bytes of a body, at most; 0: the service's limit.")] = 0,
    file: FileOption = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Make a key. It is printed once, on stdout; the file keeps its hash only.

    To rotate a key, make a second one, give it to who used the first, and revoke that.

    Examples:

      kokyaku keys make backend --scopes read+events --shop mine

      kokyaku keys make page --scopes browser --days 365 --shop mine
    """
    from serving.key_file import asked, new_key

    path = file or open_shop(shop, root).keys
    key = new_key(path, asked(name, scopes, days=days, rate=rate, burst=burst, body=body, now=time.time()))
    typer.echo(f"The key {name} is in {path} as a hash. It is shown here and never again:", err=True)
    typer.echo(key)


@app.command("list")
def show(file: FileOption = None, shop: ShopOption = DEFAULT_SHOP, root: RootOption = None) -> None:
    """List the keys: names, scopes, ends and limits.

    Examples:

      kokyaku keys list --shop mine
    """
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from serving.key_file import told
    from serving.keys import read_keys

    path = file or open_shop(shop, root).keys
    table = Table(box=SIMPLE, title=f"Keys in {escape(str(path))}", title_justify="left")
    headings = ("name", "scopes", "created", "expires", "limits")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in told(read_keys(path), time.time()):
        table.add_row(*(escape(row[heading]) for heading in headings))
    console.print(table)


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Its name, or #2 for the second of the list.")],
    file: FileOption = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Revoke a key: a running service refuses it within a second, and studio sessions that began with it end.

    Examples:

      kokyaku keys revoke backend --shop mine
    """
    from serving.key_file import revoke_key

    gone = revoke_key(file or open_shop(shop, root).keys, name)
    typer.echo(f"Revoked: {gone.name or name} ({'+'.join(gone.scopes)}).")
