"""`kokyaku bench`: measure accuracy, cold start, visits, import, serving and distance from the best: tables, JSON."""

from __future__ import annotations

import typer

from training.bench import accuracy, cold, importing, oracle, serve, visits

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
app.command("accuracy")(accuracy.command)
app.command("cold")(cold.command)
app.command("import")(importing.command)
app.command("oracle")(oracle.command)
app.command("serve")(serve.command)
app.command("visits")(visits.command)
