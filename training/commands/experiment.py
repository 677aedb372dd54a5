"""`kokyaku experiment`: what the standing experiments say, above all the permanent holdout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from training.bench.rows import Row
    from training.experiments.answer import Answer

_STYLES = {"passed": "green", "warned": "yellow", "failed": "red"}
_ABOUT = "Say what the permanent holdout and other experiments show."
app = typer.Typer(help=_ABOUT, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command("report")
def report(
    experiment: Annotated[str | None, typer.Option(help="Its name; without it, the permanent holdout.")] = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            help="visits, orders, revenue, margin, or one that was imported; the first carries the verdict; repeatable."
        ),
    ] = None,
    days: Annotated[
        float | None, typer.Option(help="Days after entering that count; who is not that far is left out.")
    ] = None,
    before: Annotated[float, typer.Option(help="Days before entering that foretell outcomes.")] = 28,
    guard: Annotated[
        list[str] | None, typer.Option(help="OUTCOME=LIMIT that an arm may add a subject, at most; repeatable.")
    ] = None,
    control: Annotated[str | None, typer.Option(help="The arm that the others are compared with.")] = None,
    share: Annotated[
        list[str] | None, typer.Option(help="ARM=SHARE that was declared, where shop.toml does not say; repeatable.")
    ] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="On what was known then, e.g. 2017-12-01.")] = None,
    json: JsonOption = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Say what an experiment's arms change a subject, with intervals that stay valid however often you look.

    Subjects are checked against the declared shares first; a failed check stops the verdict. What was known before
    entering narrows the intervals. Every look is counted, in the shop's MLflow store (kokyaku ui), with report.html.

    Examples:

      kokyaku experiment report --shop mine

      kokyaku experiment report --shop mine --outcome margin --outcome orders --guard unsubscribe=0.001

      kokyaku experiment report --shop mine --experiment hero --days 28

      kokyaku experiment report --shop hillstrom --experiment hillstrom --outcome visit --outcome spend
    """
    from features.moments import parse_instant
    from training.bench.rows import write_rows
    from training.commands.decisions import amounts
    from training.console import Bars
    from training.experiments.cohort import Asked
    from training.experiments.standing import report as run_report

    asked = Asked(
        experiment, tuple(dict.fromkeys(outcome or ())), days, before,
        None if as_of is None else parse_instant(as_of, where="--as-of"), control,
        amounts(share, "--share"), amounts(guard, "--guard"),
    )  # fmt: skip
    with Bars(console) as bars:
        answer, run_id = run_report(open_shop(shop, root), asked, bars.tell)
    show(answer, run_id)
    if json:
        write_rows(json, rows_of(answer))


@app.command("list")
def list_experiments(json: JsonOption = None, shop: ShopOption = DEFAULT_SHOP, root: RootOption = None) -> None:
    """List the experiments of shop.toml and of the log, with how often each was looked at.

    Examples:

      kokyaku experiment list --shop mine
    """
    from rich.markup import escape

    from training.bench.rows import Row, write_rows
    from training.experiments.standing import listed

    found = listed(open_shop(shop, root))
    table = _table("Experiments", ("experiment", "from", "looks"))
    for name, kind, looks in found:
        table.add_row(escape(name), kind, str(looks))
    console.print(table)
    if json:
        write_rows(json, [Row("experiment", shop, name, kind, "looks", looks) for name, kind, looks in found])


def show(answer: Answer, run_id: str) -> None:
    """Print who was compared, the checks, the effects, the groups and the verdict."""
    from rich.markup import escape

    from training.experiments.answer import (
        effect_heads,
        effect_rows,
        facts,
        slice_heads,
        slice_note,
        slice_rows,
        verdicts,
    )

    def say(sentence: str, style: str = "") -> None:
        console.print(escape(sentence), style=style, highlight=False, soft_wrap=True)

    for sentence in facts(answer):
        say(sentence)
    checks = _table("Checks", ("check", "verdict", "what was found"))
    for check in answer.findings.checks:
        told = f"{check.sentence} {check.remedy}".strip()
        checks.add_row(check.name, f"[{_STYLES[check.verdict]}]{check.verdict}[/]", escape(told))
    console.print(checks)
    findings = answer.findings
    tables = (
        ("Differences a subject", effect_heads(answer.control), effect_rows(findings.effects)),
        ("By group", slice_heads(), slice_rows(findings.slices)),
    )
    for title, heads, rows in tables:
        if rows:
            table = _table(title, heads)
            for cells in rows:
                table.add_row(*map(escape, cells))
            console.print(table)
    if findings.slices:
        say(slice_note(findings))
    for sentence in verdicts(answer):
        say(sentence, "bold")
    say(f"report.html is in run {run_id} (kokyaku ui).")


def rows_of(answer: Answer) -> list[Row]:
    """Subjects, checks, effects and groups as rows."""
    from training.bench.rows import Row

    findings, name = answer.findings, answer.name
    rows = [Row("experiment", answer.shop, name, "all", "look", findings.look)]
    counts = [int((answer.entrants.arm == place).sum()) for place in range(len(answer.entrants.arms))]
    rows += [
        Row("experiment", answer.shop, name, arm, "subjects", many)
        for arm, many in zip(answer.entrants.arms, counts, strict=True)
    ]
    rows += [Row("experiment", answer.shop, name, check.name, check.verdict, check.figure) for check in findings.checks]
    for effect, where in [
        *((each, "") for each in findings.effects),
        *((each.effect, f" {each.column}={each.level}") for each in findings.slices),
    ]:
        found, relative = effect.found.found, effect.relative
        whom = f"{effect.arm}{where}"
        rows += [
            Row("experiment", answer.shop, name, whom, effect.outcome, found.value, found.low, found.high),
            Row("experiment", answer.shop, name, whom, f"{effect.outcome}-relative", relative.value, relative.low,
                relative.high),
            Row("experiment", answer.shop, name, whom, f"{effect.outcome}-p", effect.p),
            Row("experiment", answer.shop, name, whom, f"{effect.outcome}-variance-saved", effect.found.saved),
        ]  # fmt: skip
    return rows


def _table(title: str, heads: Sequence[str]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
