"""`kokyaku train slots`: what each slot of a page should show to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop
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
    from rich.table import Table

    from training.slots.judging import SlotFound
    from training.slots.training import SlotsTrained


def command(
    outcome: Annotated[str, typer.Option(help="What should come of it; one is worth 1 unless --worth says otherwise.")],
    surface: Annotated[str, typer.Option(help="The page, such as page.home.")] = "page.home",
    slot: Annotated[str | None, typer.Option(help="Only this slot of it.")] = None,
    explore: Annotated[
        Literal["thompson", "inverse-gap", "none"], typer.Option(help="How the policies go on trying.")
    ] = "thompson",
    floor: Annotated[float, typer.Option(min=0, max=0.5, help="Least probability of every possible action.")] = 0.01,
    learner: Annotated[str, typer.Option(help="S, T, X, DR or R.")] = "T",
    kind: Annotated[list[str] | None, typer.Option(help="ACTION=KIND of one; repeatable.")] = None,
    worth: WorthOption = None,
    cost: CostOption = None,
    guard: GuardOption = None,
    tier: TierOption = "",
    override: OverrideOption = None,
    window: WindowOption = 14,
    folds: FoldsOption = 5,
    seed: Annotated[int, typer.Option(help="Of folds and draws.")] = 0,
    threads: ThreadsOption = 0,
    as_of: AsOfOption = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Learn from a page's drawn slots what each should show to whom, and write the policies that the gate lets through.

    Effects are learned with slot and position beside what is known of the customer; actions are compared in one place.
    New actions and rare ones lean on others of their kind, and are tried. The gate judges each slot with its exploring
    against the best single action. Nothing serves before shop.toml names it: the line to write is printed.

    Examples:

      kokyaku train slots --surface page.home --outcome click --shop mine

      kokyaku train slots --outcome purchase --worth purchase=12 --explore inverse-gap --floor 0.02 --shop mine

      kokyaku train slots --outcome click --slot hero --kind spring-video=video --shop mine
    """
    from features.moments import DAY, parse_instant
    from training.console import Bars
    from training.slots.judging import SlotOptions
    from training.slots.training import SlotsWanted, train_slots
    from training.uplift.options import StudyOptions

    study = StudyOptions(
        worth={outcome: 1.0, **amounts(worth, "--worth")}, costs=amounts(cost, "--cost"),
        guards=amounts(guard, "--guard"), tier=tier, overridden=tuple(override or ()), floor=floor, folds=folds,
        seed=seed, threads=threads,
    )  # fmt: skip
    options = SlotOptions(study, "greedy" if explore == "none" else explore, learner, kinds=_kinds(kind))
    moment = None if as_of is None else parse_instant(as_of, where="--as-of")
    wanted = SlotsWanted(surface, options, slot, int(window * DAY), moment)
    with Bars(console) as bars:
        trained = train_slots(open_shop(shop, root), wanted, bars.tell)
    show(trained)


def _kinds(given: list[str] | None) -> dict[str, str]:
    """ACTION=KIND.

    Raises:
        ConfigError: it is another form, or an action is there twice.
    """
    from features.errors import ConfigError

    found: dict[str, str] = {}
    for text in given or ():
        action, sign, kind = text.rpartition("=")
        if not sign or not action or not kind or action in found:
            hint = "e.g. --kind spring-video=video"
            raise ConfigError("not ACTION=KIND, each action once", where="--kind", got=text, hint=hint)
        found[action] = kind
    return found


def show(trained: SlotsTrained) -> None:
    """Print what each slot's actions do, the rulings, the whole page, and the lines for `shop.toml`."""
    from rich.markup import escape

    from training.slots.shown import headline, looked_sentence, page_sentences, toml_lines

    def say(sentence: str) -> None:
        console.print(escape(sentence), highlight=False, soft_wrap=True)

    found = trained.found
    failed = [check for check in found.checks if check.verdict != "passed"]
    for check in failed:
        say(f"Check {check.name} {check.verdict}: {check.sentence} {check.remedy}".strip())
    for slot in found.slots:
        for reward in slot.spec.worth:
            console.print(_actions(trained, slot, reward))
        for claim in slot.ruling.claims:
            say(f"  {'holds' if claim.passed else 'does not hold'}: {claim.sentence}")
        console.print(f"[bold]{escape(headline(slot))}[/bold]", highlight=False, soft_wrap=True)
    for sentence in [looked_sentence(found, reward) for reward in found.sized] + list(found.notes):
        if sentence:
            say(sentence)
    for sentence in page_sentences(trained.page):
        say(f"Whole page, {sentence}")
    if trained.written:
        say("To let them decide, write into shop.toml under [pages]:")
        for line in toml_lines(trained.written):
            say(f"  {line}")
    else:
        say("No policy was written.")
    say(f"All tables are in run {trained.run_id} (kokyaku ui).")


def _actions(trained: SlotsTrained, slot: SlotFound, reward: str) -> Table:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from training.slots.shown import action_rows

    title = f"{slot.place.slot}, position {slot.place.position}: effect on {reward}, with standard errors"
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("action", "shown", "own", "elsewhere", "used", "varies", "taken"):
        table.add_column(head, justify="left" if head == "action" else "right", no_wrap=True)
    for row in action_rows(trained.found, slot, reward):
        table.add_row(
            escape(row.action), f"{row.decisions:,}", _with_error(row.own, row.own_error),
            _with_error(row.other, row.other_error), _with_error(row.used, row.error), f"{row.differs:.3f}",
            f"{row.taken:.0%}",
        )  # fmt: skip
    return table


def _with_error(value: float, error: float) -> str:
    """Both, or nothing where the value is not known."""
    return "" if value != value else f"{value:.3f} {error:.3f}"
