"""`kokyaku power`: what an experiment can see, and what the holdout costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from training.bench.rows import Row
    from training.experiments.power import Line


def command(
    effect: Annotated[
        float, typer.Option("--effect", help="Gain to find, as a share of what a customer brings.")
    ] = 0.05,
    holdout: Annotated[float | None, typer.Option("--holdout", help="Share held out; default: shop.toml's.")] = None,
    power: Annotated[float, typer.Option("--power", help="Chance to find the gain if it is there.")] = 0.8,
    as_of: Annotated[str | None, typer.Option("--as-of", help="From what was known then, e.g. 2017-12-01.")] = None,
    json: JsonOption = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Say how many weeks and customers an effect needs, and what holding customers out costs, from the shop's own past.

    The detectable gain is that of weekly reports that stay valid under peeking, with the weeks before taken into
    account. Money is margin where costs are known, else revenue.

    Examples:

      kokyaku power --shop mine

      kokyaku power --shop mine --effect 0.02 --holdout 0.1
    """
    from features.build import histories_as_of
    from features.dataset import Dataset
    from features.moments import parse_instant
    from serving.config import load_config
    from training.experiments.power import line_of, stretches
    from training.value.money import money_of

    opened = open_shop(shop, root)
    dataset, config = Dataset(opened.dataset), load_config(opened.config)
    dataset.manifest()
    histories = histories_as_of(dataset)
    end = int(histories.events.time.max(initial=0)) + 1 if as_of is None else parse_instant(as_of, where="--as-of")
    known = histories.as_of(end)
    money = money_of(dataset, known, end)
    share = config.shop.holdout if holdout is None else holdout
    lines = [
        line_of(each, holdout=share, effect=effect, power=power) for each in stretches(known, money.amount, end)
    ]  # fmt: skip
    console.print(table_of(lines, money.unit, share, effect, power))
    for sentence in told(lines, money.unit, share, effect, config.shop.currency):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    if json:
        from training.bench.rows import write_rows

        write_rows(json, rows_of(lines, shop))


def table_of(lines: Sequence[Line], unit: str, holdout: float, effect: float, power: float) -> Table:
    """A line a length."""
    from rich.box import SIMPLE
    from rich.table import Table

    title = f"With {holdout:.1%} held out, found {power:.0%} of the time; {unit} a customer"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("weeks", "customers", "mean", "deviation", "foretold", "detectable", f"for {effect:.1%}"):
        table.add_column(heading, justify="right")
    for line in lines:
        seen = line.stretch
        table.add_row(
            str(seen.weeks), f"{seen.customers:,}", f"{seen.mean:,.2f}", f"{seen.deviation:,.2f}",
            f"{seen.foretold:.0%}",
            f"{line.detectable:,.2f} ({line.relative:.1%})", f"{line.needed:,.0f} customers",
        )  # fmt: skip
    return table


def told(lines: Sequence[Line], unit: str, holdout: float, effect: float, currency: str) -> list[str]:
    """The answer, as sentences."""
    from training.experiments.power import enough

    found, longest = enough(lines, effect), lines[-1]
    best = min(lines, key=lambda line: line.relative)
    if found is not None:
        answer = f"A gain of {effect:.1%} is found in {found.stretch.weeks} weeks with the customers there are."
    else:
        answer = (
            f"A gain of {effect:.1%} is not found within {longest.stretch.weeks} weeks. The smallest that is found is "
            f"{best.relative:.1%}, in {best.stretch.weeks} weeks; {effect:.1%} would need {best.needed:,.0f} customers "
            f"then instead of {best.stretch.customers:,}."
        )
    cost = (
        f"If the gain is {effect:.1%}, holding out {holdout:.1%} costs {longest.cost:,.0f} {currency} of {unit} in "
        f"{longest.stretch.weeks} weeks."
    )
    return [answer, cost]


def rows_of(lines: Sequence[Line], shop: str) -> list[Row]:
    """The table as rows."""
    from training.bench.rows import Row

    return [
        Row("power", shop, "holdout", f"{line.stretch.weeks} weeks", metric, value)
        for line in lines
        for metric, value in {
            "detectable": line.detectable, "relative": line.relative, "needed": line.needed, "cost": line.cost,
        }.items()
    ]  # fmt: skip
