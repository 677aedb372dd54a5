"""The command line: `kokyaku VERB`, also `python -m training VERB`.

Each verb is a module of `training/commands/`, holding a function `command` or a Typer `app`. Only the module of the
verb that was called is imported, so that `kokyaku --help` does not wait for machine learning libraries.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import typer

from features.errors import KokyakuError

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Import real purchases, train, promote and serve: everything, once."),
    "import": ("import_", "Bring a shop's exports into the dataset."),
    "simulate": ("simulate", "Make a complete shop with known truth."),
    "audit": ("audit", "Check the dataset and say what is odd in it."),
    "train": ("train", "Train, evaluate and put a new model before the gate."),
    "tune": ("tune", "Search for better parameters of a source or ranker."),
    "models": ("models", "List the registered models."),
    "shop": ("shop", "Begin a shop.toml, look through it, try a change of it on the last requests."),
    "policies": ("policies", "List the learned policies and the slots that they decide."),
    "promote": ("promote", "Let a model that passed the gate serve."),
    "rollback": ("rollback", "Let the previous model serve again."),
    "serve": ("serve", "Answer over HTTP."),
    "keys": ("keys", "Make, list and revoke API keys."),
    "sign": ("sign", "Sign what was published before there was a signing key."),
    "ui": ("ui", "Open the experiment-tracking UI."),
    "recommend": ("recommend", "Recommend to one customer."),
    "page": ("page", "Show one customer's page."),
    "batch": ("batch", "Recommend to many customers, into a file."),
    "value": ("value", "Say what each customer is expected to bring."),
    "experiment": ("experiment", "Say what the permanent holdout and other experiments show."),
    "power": ("power", "Say what an experiment can see, and what the holdout costs."),
    "report": ("report", "Say what personalisation brought in a month, and whom a mail should go to."),
    "journey": ("journey", "Say where people stand on their journey, and where they are lost."),
    "replay": ("replay", "Say what a policy would have been worth on the log."),
    "sync": ("sync", "Bring what the service received into the dataset."),
    "export": ("export", "Give out all that is kept of a customer."),
    "erase": ("erase", "Forget a customer."),
    "stop": ("stop", "Stop an item, action, module or campaign everywhere."),
    "doctor": ("doctor", "Check settings, limits, store, registry, bundle and clock."),
    "monitor": ("monitor", "Say whether data, answers and policies are still what was trained on, window by window."),
    "bench": ("bench", "Measure accuracy, visits, defaults, uplift, coverage, the oracle, import and serving."),
}
"""verb -> (module in training/commands, the line that the overview shows), in the order a new shop meets them."""

INTRODUCTION = """Kokyaku (個客): recommendations and landing pages for each customer as one person.

Three faces: this command line trains, [bold]kokyaku serve[/bold] answers over HTTP, [bold]kokyaku ui[/bold] shows the
experiments.

Examples:

  kokyaku demo                                  everything once, on a year of grocery purchases

  kokyaku import csv --path orders.csv --mapping orders.toml --shop mine

  kokyaku train --shop mine && kokyaku serve --shop mine
"""


def build_app(called: str | None) -> typer.Typer:
    """The app with the called verb loaded and the others as a line of the overview."""
    app = typer.Typer(
        help=INTRODUCTION, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False,
        add_completion=False, context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    for verb, (module_name, line) in VERBS.items():
        if verb != called:
            app.command(verb, short_help=line)(_placeholder(verb))
            continue
        module = importlib.import_module(f"training.commands.{module_name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb, short_help=line)
        else:
            app.command(verb, short_help=line)(module.command)
    return app


def _placeholder(verb: str) -> Callable[[], None]:
    def stand_in() -> None:
        raise AssertionError(f"{verb} is loaded when it is called")

    return stand_in


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb. Errors that are somebody's to mend are one line on stderr and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    called = next((word for word in given if not word.startswith("-")), None)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    try:
        build_app(called)(given, prog_name="kokyaku")
    except KokyakuError as error:
        _end(error)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except MemoryError as error:
        hint = "free some, or use a machine that has more"
        _end(KokyakuError("more memory is needed than there is", got=str(error) or None, hint=hint))
    except Exception as error:
        short = _short_of_memory(error)
        if short is None:
            raise
        _end(short)


def _end(error: KokyakuError) -> NoReturn:
    from training.commands.common import errors

    errors.print(f"[bold red]error[/bold red]: {_escaped(error.line())}", soft_wrap=True)
    raise SystemExit(2) from None


def _short_of_memory(error: Exception) -> KokyakuError | None:
    if "duckdb" not in sys.modules:
        return None
    from features.dataset import short_of_memory

    return short_of_memory(error)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
