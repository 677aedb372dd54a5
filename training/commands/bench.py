"""`kokyaku bench`: measure accuracy, import and serving; each prints a table and writes the same rows as JSON."""

from __future__ import annotations

import typer

from training.bench import accuracy, importing, serve

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
app.command("accuracy")(accuracy.command)
app.command("import")(importing.command)
app.command("serve")(serve.command)
