"""`kokyaku bench`: measure accuracy, cold start, intervals, import, serving, distance from the best; with JSON rows."""

from __future__ import annotations

import typer

from training.bench import accuracy, cold, coverage, importing, oracle, serve

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
app.command("accuracy")(accuracy.command)
app.command("cold")(cold.command)
app.command("coverage")(coverage.command)
app.command("import")(importing.command)
app.command("oracle")(oracle.command)
app.command("serve")(serve.command)
