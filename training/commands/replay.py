"""`kokyaku replay`: what a policy would have been worth on the shop's logged decisions, or why nobody can say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import (
    DEFAULT_SHOP,
    LONGEST,
    JsonOption,
    RootOption,
    ShopOption,
    SlotOption,
    SurfaceOption,
    console,
    open_shop,
)

if TYPE_CHECKING:
    from rich.table import Table

    from features.shop import Shop
    from serving.config import ShopConfig
    from training.bench.rows import Row
    from training.console import Bars
    from training.offpolicy.inference import Estimate
    from training.offpolicy.models import RewardModel
    from training.offpolicy.pipeline import Other, Target
    from training.offpolicy.refusal import Reason, Refusal
    from training.offpolicy.replay import Replay, Settings, Valued
    from training.offpolicy.targets import Policy
    from training.uplift.log import DecisionLog

    Asked = tuple[str, DecisionLog, Policy, Sequence[Reason], Sequence[str]]


def command(
    reward: Annotated[str, typer.Option(help="Which reward is counted.")],
    policy: Annotated[
        list[str] | None,
        typer.Option(help="logging, uniform, null, always:ACTION, SHARES.json, a learned policy; repeatable."),
    ] = None,
    with_config: Annotated[
        Path | None, typer.Option(help="Value the serving pipeline under this shop.toml; needs --surface page.NAME.")
    ] = None,
    with_bundle: Annotated[str | None, typer.Option(help="... and with this bundle of the shop.", metavar="ID")] = None,
    logged_config: Annotated[
        list[Path] | None, typer.Option(help="An earlier shop.toml, which decided some of the pages; repeatable.")
    ] = None,
    pages: Annotated[int, typer.Option(min=1, help="Pages that are rebuilt at most, drawn at random.")] = 5000,
    against: Annotated[str, typer.Option(help="The policy that the others are compared with.")] = "logging",
    experiment: Annotated[str | None, typer.Option(help="Only decisions of this experiment.")] = None,
    surface: SurfaceOption = None,
    slot: SlotOption = None,
    window: Annotated[
        float, typer.Option(min=0, max=LONGEST, help="Days after a decision in which rewards count.")
    ] = 14,
    model: Annotated[str, typer.Option(help="Of the reward: trees, linear or none.")] = "trees",
    days: Annotated[bool, typer.Option("--days", help="Print the weights of each day too.")] = False,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    json: JsonOption = None,
) -> None:
    """Say what a policy would have brought, by every estimator, with intervals clustered by subject.

    Where the log cannot know (too little of it agrees with the policy, or it never tried what the policy does) the
    answer is the reason. Rewards are a decision; where pages have several slots also a page.

    With --with-config or --with-bundle the serving pipeline itself is valued: each logged page is rebuilt as of its
    moment and asked for the probabilities of its slots. It is refused where the rebuilt pipeline does not give the
    log again, and where what it would show inside a module was never shown: the order of items is not drawn.

    Examples:

      kokyaku replay --shop mine --surface page.home --reward click --policy uniform --policy null

      kokyaku replay --shop mine --surface page.home --reward click --slot hero --policy hero-2

      kokyaku replay --shop mine --surface page.home --reward click --with-config shop-bolder.toml

      kokyaku replay --shop mine --experiment hillstrom --reward visit --policy always:mens --against null
    """
    from features.dataset import Dataset
    from features.moments import DAY
    from serving.tombstones import erased_of
    from training.bench.rows import write_rows
    from training.console import Bars
    from training.offpolicy.replay import Settings, replay
    from training.offpolicy.targets import policy_of, reads_history
    from training.uplift.reading import read_log

    opened, names = open_shop(shop, root), policy or []
    pipeline = _pipeline(with_config, with_bundle, logged_config or [], surface, pages, alone=not names)
    targets = {each: policy_of(each, opened.policies) for each in names}
    base, settings = policy_of(against, opened.policies), Settings(model=_model(model))
    log = read_log(
        Dataset(opened.dataset), experiment=experiment, surface=surface, slot=slot, rewards=(reward,),
        window=int(window * DAY), erased=erased_of(opened).subject,
        history=True if any(reads_history(each, opened.policies) for each in (*names, against)) else None,
    )  # fmt: skip
    answers = []
    with Bars(console) as bars:
        asked: list[Asked] = [(name, log, target, (), ()) for name, target in targets.items()]
        if pipeline:
            made = _rebuilt(log, opened, pipeline, settings, bars)
            asked.insert(0, (_called(pipeline, with_config), made.log, made.policy, made.reasons, made.notes))
        for done, (name, rows, target, reasons, notes) in enumerate(asked, 1):
            found = replay(
                rows, target, reward, name=name, against=base, against_name=against, settings=settings, reasons=reasons
            )
            answers.append((found, notes))
            bars.tell("policies", done, len(asked))
    for found, notes in answers:
        show(found, days=days, notes=notes)
    if json:
        write_rows(json, [row for found, _ in answers for row in rows_of(found, experiment or surface or shop)])


def _pipeline(
    config: Path | None, bundle: str | None, known: Sequence[Path], surface: str | None, pages: int, *, alone: bool
) -> Other | None:
    """What the options say of another pipeline; None where they say nothing.

    Raises:
        ConfigError: nothing at all is to be valued, or it is no page.
        NotFoundError: no such file.
    """
    from features.errors import ConfigError
    from training.offpolicy.pipeline import Other

    if config is None and bundle is None:
        if alone:
            raise ConfigError("nothing to value", where="replay", hint="give --policy, --with-config or --with-bundle")
        return None
    if surface is None or not surface.startswith("page."):
        hint = "--surface page.home; plain lists of items are not drawn, so no log says what others are worth"
        raise ConfigError("the pipeline decides pages", where="--surface", got=surface, hint=hint)
    return Other(
        None if config is None else _config(config, "--with-config"), bundle,
        [_config(each, "--logged-config") for each in known], pages,
    )  # fmt: skip


def _config(file: Path, where: str) -> ShopConfig:
    from features.errors import NotFoundError
    from serving.config import load_config

    if not file.is_file():
        raise NotFoundError("there is no such file", where=where, got=str(file))
    return load_config(file)


def _rebuilt(log: DecisionLog, shop: Shop, other: Other, settings: Settings, bars: Bars) -> Target:
    from serving.config import load_config
    from training.offpolicy.pipeline import pipeline_target

    return pipeline_target(log, shop, load_config(shop.config), other, limits=settings.limits, tell=bars.tell)


def _called(other: Other, config: Path | None) -> str:
    parts = [*([config.name] if config else []), *([f"bundle {other.bundle}"] if other.bundle else [])]
    return f"pipeline({', '.join(parts)})"


def _model(name: str) -> RewardModel | None:
    from features.errors import ConfigError
    from training.offpolicy.models import Linear, Trees

    if name not in ("trees", "linear", "none"):
        raise ConfigError("no such reward model", where="--model", got=name, hint="trees, linear or none")
    return None if name == "none" else Trees() if name == "trees" else Linear()


def show(found: Replay, *, days: bool = False, notes: Sequence[str] = ()) -> None:
    """Print a policy's tables: estimates, or the refusal once; diagnostics, by day if wanted; cautions and notes."""
    whole = found.diagnosis.whole
    console.print(f"\n[bold]{_escaped(found.policy)}[/bold]: {found.reward}", highlight=False)
    for title, answers in (("a decision", found.estimates), ("a page", found.pages)):
        if answers:
            _show_answers(title, found.against, answers)
    console.print(_weights(found, days=days))
    console.print(
        f"{whole.n:,} decisions of {whole.clusters:,} subjects count; {found.unusable:,} more are not usable, and of"
        f" {found.unknown:,} the reward or the probability is not known.", highlight=False, soft_wrap=True,
    )  # fmt: skip
    for caution in (*notes, *found.cautions):
        console.print(f"  - {_escaped(caution)}", highlight=False, soft_wrap=True)


def _show_answers(title: str, against: str, answers: Mapping[str, Valued]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from training.offpolicy.refusal import Refusal

    first = next(iter(answers.values()))
    if isinstance(first.value, Refusal):
        console.print(f"[yellow]No value of {title}.[/yellow] {_escaped(first.value.text)}", soft_wrap=True)
        return
    table = Table("estimator", title=f"value of {title}", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("value", "95 %", f"less {against}", "95 %", f"over {against}", "95 %"):
        table.add_column(heading, justify="right")
    for name, each in answers.items():
        table.add_row(name, *_cells(each.value), *_cells(each.gain), *_cells(each.ratio))
    console.print(table)


def _cells(answer: Estimate | Refusal) -> tuple[str, str]:
    from training.offpolicy.refusal import Refusal

    if isinstance(answer, Refusal):
        return "refused", ", ".join(answer.codes)
    return f"{answer.value:.5g}", f"{answer.low:.5g} to {answer.high:.5g}"


def _weights(found: Replay, *, days: bool) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table("weights", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("n", "effective", "largest", "tail", "unsupported", "mean", "z", "p"):
        table.add_column(heading, justify="right")
    pages = [found.page_weights] if found.page_weights else []
    by_day = found.diagnosis.days if days else ()
    for each in (found.diagnosis.whole, *found.diagnosis.slots, *pages, *by_day):
        table.add_row(
            each.of, f"{each.n:,}", f"{each.effective:,.0f}", f"{each.largest:.1%}", f"{each.tail:.1f}",
            f"{each.unsupported:.1%}", f"{each.mean_weight:.3f}", f"{each.z:+.1f}", f"{each.p:.2g}",
        )  # fmt: skip
    return table


def rows_of(found: Replay, data: str) -> list[Row]:
    """The same as rows for programs: NaN and `refused` 1 where there is no value."""
    from training.bench.rows import Row
    from training.offpolicy.refusal import Refusal

    def row(metric: str, answer: Estimate | Refusal | float) -> Row:
        if isinstance(answer, Refusal):
            return Row("replay", data, found.reward, found.policy, metric, float("nan"))
        if isinstance(answer, float):
            return Row("replay", data, found.reward, found.policy, metric, answer)
        return Row("replay", data, found.reward, found.policy, metric, answer.value, answer.low, answer.high)

    rows = [row("effective-sample-size", found.diagnosis.whole.effective)]
    for start, answers in (("", found.estimates), ("page-", found.pages)):
        for name, each in answers.items():
            rows += [
                row(f"{start}{what}-{name}", answer)
                for what, answer in (("value", each.value), ("gain", each.gain), ("ratio", each.ratio))
            ]
            rows.append(row(f"{start}refused-{name}", float(isinstance(each.value, Refusal))))
    return rows


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
