"""`kokyaku bench`: accuracy, strangers, visits, uplift, coverage, pages, import, serving, its size; look for faults."""

from __future__ import annotations

import typer

from training.bench import (
    accuracy,
    candidates,
    cold,
    context,
    coverage,
    defaults,
    delivery,
    importing,
    intake,
    invariants,
    learning,
    made,
    memory,
    oracle,
    pages,
    peeking,
    policy,
    serve,
    slots,
    store,
    swap,
    uplift,
    visits,
    year,
)

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
app.command("accuracy")(accuracy.command)
app.command("candidates")(candidates.command)
app.command("cold")(cold.command)
app.command("context")(context.command)
app.command("coverage")(coverage.command)
app.command("defaults")(defaults.command)
app.command("delivery")(delivery.command)
app.command("import")(importing.command)
app.command("intake")(intake.command)
app.command("invariants")(invariants.command)
app.command("learning")(learning.command)
app.command("made")(made.command)
app.command("memory")(memory.command)
app.command("oracle")(oracle.command)
app.command("pages")(pages.command)
app.command("peeking")(peeking.command)
app.command("policy")(policy.command)
app.command("serve")(serve.command)
app.command("slots")(slots.command)
app.command("store")(store.command)
app.command("swap")(swap.command)
app.command("uplift")(uplift.command)
app.command("visits")(visits.command)
app.command("year")(year.command)
