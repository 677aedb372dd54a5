"""`kokyaku bench`: measure accuracy, import, serving and distance from the best ranking: tables, and rows as JSON."""

from __future__ import annotations

import typer

from training.bench import accuracy, importing, oracle, serve

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
app.command("accuracy")(accuracy.command)
app.command("import")(importing.command)
app.command("oracle")(oracle.command)
app.command("serve")(serve.command)
