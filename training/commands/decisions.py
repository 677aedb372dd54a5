"""What the verbs about logged decisions share: which outcomes, actions and checks are meant, and how they are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from training.commands.common import LONGEST

WorthOption = Annotated[list[str] | None, typer.Option(help="OUTCOME=VALUE of one; repeatable.")]
CostOption = Annotated[list[str] | None, typer.Option(help="ACTION=COST of one; repeatable.")]
GuardOption = Annotated[
    list[str] | None, typer.Option(help="OUTCOME=LIMIT that may be added a decision, at most; repeatable.")
]
TierOption = Annotated[str, typer.Option(help="Column of loyalty tiers; a policy that harms one is refused.")]
OverrideOption = Annotated[
    list[str] | None, typer.Option(help="Name of a failed check to accept; it stands in the run; repeatable.")
]
WindowOption = Annotated[float, typer.Option(min=0, max=LONGEST, help="Days after a decision in which outcomes count.")]
FoldsOption = Annotated[int, typer.Option(min=3, max=20, help="Of cross-fitting.")]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Fits at a time; 0 is all processors.")]
AsOfOption = Annotated[str | None, typer.Option("--as-of", help="On what was known then, e.g. 2017-12-01.")]


def amounts(given: Sequence[str] | None, where: str) -> dict[str, float]:
    """NAME=NUMBER, each name once.

    Raises:
        ConfigError: it is another form, not a finite number, or a name is there twice.
    """
    from math import isfinite

    from features.errors import ConfigError

    found: dict[str, float] = {}
    for text in given or ():
        name, sign, number = text.rpartition("=")
        try:
            amount = float(number)
        except ValueError:
            amount = float("nan")
        if not sign or not name or not isfinite(amount) or name in found:
            raise ConfigError("not NAME=NUMBER, each name once", where=where, got=text, hint=f"e.g. {where} visit=1")
        found[name] = amount
    return found
