"""`kokyaku train uplift`: whom an action moves, and whether one may personalise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, SlotOption, SurfaceOption, console, open_shop
from training.commands.decisions import (
    AsOfOption,
    CostOption,
    FoldsOption,
    GuardOption,
    OverrideOption,
    ThreadsOption,
    TierOption,
    WindowOption,
    WorthOption,
    amounts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from training.uplift.study import Study
    from training.uplift.training import Trained

_STYLES = {"passed": "green", "warned": "yellow", "failed": "red"}


def command(
    outcome: Annotated[str, typer.Option(help="What should change; one is worth 1 unless --worth says otherwise.")],
    experiment: Annotated[str | None, typer.Option(help="The experiment or kind of campaign.")] = None,
    surface: SurfaceOption = None,
    slot: SlotOption = None,
    worth: WorthOption = None,
    cost: CostOption = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Mean cost a decision that may be spent.")] = None,
    guard: GuardOption = None,
    tier: TierOption = "",
    override: OverrideOption = None,
    monotone: Annotated[
        list[str] | None, typer.Option(help="COLUMN=1: outcomes never fall with it, -1: never rise; repeatable.")
    ] = None,
    effect_monotone: Annotated[
        list[str] | None, typer.Option(help="The same for effects (of X, DR and R); repeatable.")
    ] = None,
    window: WindowOption = 14,
    cautious: Annotated[
        bool, typer.Option("--cautious", help="Act only where the lower bound of the value is above 0.")
    ] = False,
    floor: Annotated[float, typer.Option(min=0, max=0.5, help="Least probability of every possible action.")] = 0.0,
    folds: FoldsOption = 5,
    permutations: Annotated[int, typer.Option(min=20, max=10_000, help="Of the placebo.")] = 200,
    seed: Annotated[int, typer.Option(help="Of folds and permutations.")] = 0,
    threads: ThreadsOption = 0,
    as_of: AsOfOption = None,
    write: Annotated[bool, typer.Option("--write/--no-write", help="Write what is let through as a policy.")] = True,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Check a log of decisions, learn whom its actions move, and rule what may serve: a policy, one action, or nothing.

    Everything goes to the shop's MLflow store (kokyaku ui): report.html, and a card in English and Japanese. A failed
    check ends it unless it is overridden by name. What is let through is written as a policy under a name of its own;
    it serves when a slot of shop.toml names it, and not before.

    Examples:

      kokyaku train uplift --experiment hillstrom --outcome visit --shop hillstrom

      kokyaku train uplift --experiment hillstrom --outcome visit --cost mens=0.06 --cost womens=0.06 --budget 0.02

      kokyaku train uplift --surface email --outcome purchase --guard unsubscribe=0.001 --tier tier --shop mine
    """
    from features.moments import DAY, parse_instant
    from training.console import Bars
    from training.uplift.options import StudyOptions
    from training.uplift.training import Wanted, train_uplift

    options = StudyOptions(
        worth={outcome: 1.0, **amounts(worth, "--worth")}, costs=amounts(cost, "--cost"), budget=budget,
        guards=amounts(guard, "--guard"), tier=tier, overridden=tuple(override or ()), floor=floor,
        cautious=cautious, folds=folds, seed=seed, permutations=permutations, threads=threads,
        outcome_monotone=_directions(monotone, "--monotone"),
        effect_monotone=_directions(effect_monotone, "--effect-monotone"),
    )  # fmt: skip
    moment = None if as_of is None else parse_instant(as_of, where="--as-of")
    wanted = Wanted(options, experiment, surface, slot, int(window * DAY), moment)
    with Bars(console) as bars:
        trained = train_uplift(open_shop(shop, root), wanted, bars.tell, write=write)
    show(trained)


def _directions(given: Sequence[str] | None, where: str) -> dict[str, Literal[-1, 1]]:
    """COLUMN=1 or COLUMN=-1.

    Raises:
        ConfigError: as `amounts`, or another number.
    """
    from features.errors import ConfigError

    found: dict[str, Literal[-1, 1]] = {}
    for name, amount in amounts(given, where).items():
        if amount not in (-1, 1):
            raise ConfigError(
                "neither 1 nor -1", where=f"{where} {name}", got=amount, hint="1: never falls; -1: never rises"
            )
        found[name] = 1 if amount > 0 else -1
    return found


def show(trained: Trained) -> None:
    """Print the checks, the learners, what had to hold, the values and the verdict."""
    from rich.markup import escape

    from training.uplift.report import blocked_sentence, by_blocks, cautions, facts, headline

    report, found = trained.report, trained.found
    for sentence in facts(report):
        console.print(escape(sentence), highlight=False, soft_wrap=True)
    for table in (_checks(found), _learners(found), _values(found), _claims(found)):
        console.print(table)
    alone = [*map(blocked_sentence, report.blocked), by_blocks(found)] if report.blocked else []
    for title, sentences in (("Better left alone", alone), ("To know", found.notes)):
        if sentences:
            console.print(f"{title}:")
        for sentence in sentences:
            console.print(f"  - {escape(sentence)}", highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(headline(found))}[/bold]", highlight=False, soft_wrap=True)
    for sentence in ("Nothing was put into service by this run.", *report.policy.sentences):
        console.print(escape(sentence), highlight=False, soft_wrap=True)
    for sentence in cautions(found):
        console.print(f"[yellow]{escape(sentence)}[/yellow]", highlight=False, soft_wrap=True)
    console.print(f"report.html, card.md and card.ja.md are in run {trained.run_id} (kokyaku ui).", highlight=False,
                  soft_wrap=True)  # fmt: skip


def _checks(found: Study) -> Table:
    from rich.markup import escape

    from training.uplift.report import check_rows

    table = _table("Checks before any fit", ("check", "verdict", "what was found"))
    for check, said in check_rows(found):
        told = f"{check.sentence} {check.remedy}".strip()
        table.add_row(check.name, f"[{_STYLES[check.verdict]}]{said}[/]", escape(told))
    return table


def _learners(found: Study) -> Table:
    from rich.markup import escape

    from training.uplift.report import learner_heads, learner_rows

    heads = learner_heads()
    table = _table("Learners, beyond reaching customers at random", heads)
    for cells in learner_rows(found.measured):
        table.add_row(*map(escape, cells))
    return table


def _values(found: Study) -> Table:
    from rich.markup import escape

    from training.intervals import Interval
    from training.uplift.shown import interval_text, unit, value_marks

    table = _table(f"Values: {unit(found)}", ("way of deciding", "value and 95 % interval"))
    for marks in value_marks(found).values():
        for mark in marks:
            table.add_row(escape(mark.name), escape(interval_text(Interval(mark.value, mark.low, mark.high, 0, 0))))
        table.add_section()
    return table


def _claims(found: Study) -> Table:
    from rich.markup import escape

    table = _table("What had to hold", ("holds", "what was found"))
    for claim in found.ruling.claims:
        holds = "[green]yes[/]" if claim.passed else "[red]no[/]"
        table.add_row(holds, escape(claim.sentence))
    return table


def _table(title: str, heads: Sequence[str]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    return Table(*heads, title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
