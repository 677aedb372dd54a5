"""`kokyaku bench slots`: what learning page slots from one's own draws brings, round after round, and what it costs.

A simulated shop logs pages with its own drawing, learns a policy for each slot, serves it with its exploration on,
logs again, and learns again from all that it drew. Values are true ones, as a share of what the best pair of actions
for each page, hidden tastes included, would add to the shop's own drawing. The last column says how often 90 %
intervals of the effect on one person hold the truth. All figures are of the simulated shop, never of real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import typer
from rich.box import SIMPLE
from rich.table import Table
from scipy.special import ndtri

from serving.policies import Explore, net_values, probabilities
from training.bench.accuracy import bars
from training.bench.bandit_world import world_of
from training.bench.rows import Row, write_rows
from training.bench.slot_world import CLICK, SLOTS, WIDTH, Pages, Policy, joined
from training.commands.common import JsonOption, SizeOption, console
from training.intervals import mean_interval
from training.meter import Tell
from training.session import silent
from training.simulation.effects import PAGE_ACTIONS
from training.slots.judging import LEARNER, SlotOptions, gap_of, spec_of
from training.slots.places import Place, places_of
from training.slots.shipping import effects_in
from training.slots.sizes import Evidence, Sized, sized
from training.slots.study import arms_of, learned, placed
from training.uplift.log import DecisionLog, Doubles, Mask
from training.uplift.options import StudyOptions

CONFIDENCE: Final = 0.90
FLOOR: Final = 0.01
FOLDS: Final = 3
_STREAM: Final = 29
WAYS: Final[dict[str, tuple[Explore, float]]] = {
    "thompson": ("thompson", FLOOR), "inverse-gap": ("inverse-gap", FLOOR), "greedy with a floor": ("greedy", FLOOR),
    "greedy": ("greedy", 0.0),
}  # fmt: skip
"""Way of exploring and floor. Greedy without a floor never learns again: what it does was never drawn."""


def command(
    pages: Annotated[int, typer.Option(min=500, help="Pages logged in each round.")] = 3_000,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Of learning; the shop's own drawing comes first.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Shops that do it all again.")] = 2,
    learner: Annotated[str, typer.Option(help="S, T, X, DR or R.")] = LEARNER,
    size: SizeOption = "s",
    json: JsonOption = None,
) -> None:
    """Learn a page's slots again and again from what they drew, and compare ways of exploring by their true value.

    Examples:

      kokyaku bench slots

      kokyaku bench slots --pages 10000 --rounds 6 --seeds 5 --json slots.json
    """
    with bars() as tell:
        rows = run(size, pages, rounds, seeds, learner=learner, tell=tell)
    console.print("The simulated shop: never evidence about real shops.", highlight=False)
    console.print(table_of(rows))
    if json:
        write_rows(json, rows)


@dataclass(frozen=True)
class Told:
    """One seed's round.

    Args:
        way: of exploring.
        number: of the round, from 1.
        share: of the best gain, by the policy as it is served.
        covered: share of people whose effects lie in their intervals, over actions and slots.
    """

    way: str
    number: int
    share: float
    covered: float


def run(
    size: str, pages: int, rounds: int, seeds: int, *, learner: str = LEARNER, tell: Tell = silent
) -> list[Row]:  # fmt: skip
    """Rounds of logging, learning and serving, by every way of exploring.

    Raises:
        ConfigError: an unknown size.
    """
    world = Pages.of(world_of(size, 0))
    start, best = world.value(world.logging()), world.best(world.click)
    steps, done = seeds * (1 + (rounds - 1) * 3), 0
    found: list[Told] = []
    for seed in range(seeds):
        random = np.random.default_rng((_STREAM, pages, seed))
        first = world.draw(world.logging(), random, pages)
        begun = learn(first, learner)
        covered_first = coverage(world, begun)
        tell("learning", done := done + 1, steps)
        for way, (_, floor) in WAYS.items():
            logs, sizes, covered = [first], begun, covered_first
            for number in range(1, rounds + 1):
                if number == 1 or floor > 0:
                    tables = world.tables(policy_of(world, sizes, way))
                share = (world.value(tables) - start) / (best - start)
                found.append(Told(way, number, share, covered))
                if number < rounds and floor > 0:
                    logs.append(world.draw(tables, random, pages))
                    sizes = learn(joined(logs), learner)
                    covered = coverage(world, sizes)
                    tell("learning", done := done + 1, steps)
    known = (world.best(world.known) - start) / (best - start)
    return [
        *_rows(f"simulated-{size}-0", found),
        Row("slots", f"simulated-{size}-0", "any", "features", "share", known),
    ]


def learn(log: DecisionLog, learner: str) -> Sized:
    """Effects on clicks, brought to size, in both slots."""
    kinds = {action.id: action.kind for action in PAGE_ACTIONS}
    options = SlotOptions(StudyOptions({CLICK: 1.0}, folds=FOLDS, threads=1), learner=learner, kinds=kinds)
    log, fits = learned(placed(log), options, silent)
    places, place = places_of(log)
    return sized(Evidence(fits[CLICK], learner, places, place, arms_of(log, places, place, options)))


def policy_of(world: Pages, sizes: Sized, way: str) -> Policy:
    """What serving would draw with, in every context."""
    explore, floor = WAYS[way]
    options = SlotOptions(StudyOptions({CLICK: 1.0}, floor=floor), explore=explore)
    parts = []
    for at, name in enumerate(SLOTS):
        spread = spread_in(sizes, Place(at, name), len(world.features))
        spec = spec_of(name, sizes.evidence.arms.actions, options, gap=gap_of(spread[:1]), nothing=True)
        values = net_values(spec, {CLICK: effects_in(sizes, Place(at, name), world.features)})
        parts.append((spec, values, spread))

    def policy(slot: int, eligible: Mask) -> Doubles:
        spec, values, spread = parts[slot]
        return probabilities(spec, values, eligible, spread)

    return policy


def spread_in(sizes: Sized, place: Place, n: int) -> Doubles:
    """float64[n, WIDTH]: spreads of the effects of a place; NaN where it cannot show an action."""
    told = [0.0, *(size.spread for size in sizes.sizes[sizes.evidence.places.index(place)])]
    return np.broadcast_to(np.array(told), (n, WIDTH))


def coverage(world: Pages, sizes: Sized) -> float:
    """How often the interval of a page's effect holds the mean of all pages that the shop cannot tell from it."""
    half, known, hits = float(ndtri((1 + CONFIDENCE) / 2)), world.known, []
    for slot, name in enumerate(SLOTS):
        place = Place(slot, name)
        said = effects_in(sizes, place, world.features)[world.context]
        wide = spread_in(sizes, place, len(said))[:, 1:]
        inside = np.abs(said - known[slot, :, 1:]) <= half * wide
        hits.append(inside[:, np.isfinite(wide[0])].ravel())
    return float(np.concatenate(hits).mean())


def _rows(data: str, found: Sequence[Told]) -> list[Row]:
    rows = []
    for way in WAYS:
        for number in sorted({each.number for each in found}):
            some = [each for each in found if each.way == way and each.number == number]
            for metric in ("share", "covered"):
                of = mean_interval(np.array([getattr(each, metric) for each in some]))
                rows.append(Row("slots", data, f"round {number}", way, metric, of.value, of.low, of.high))
    return rows


def table_of(rows: Sequence[Row]) -> Table:
    """A line a way of exploring, a column a round."""
    value = {(row.subject, row.task, row.metric): row.value for row in rows}
    tasks = list(dict.fromkeys(row.task for row in rows if row.task != "any"))
    title = f"Share of the best gain; {value['features', 'any', 'share']:.1%} for who knows all that the features tell"
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("exploring", *tasks, "all rounds", f"{CONFIDENCE:.0%} intervals hold"):
        table.add_column(column, justify="left" if column == "exploring" else "right")
    for way in WAYS:
        shares = [value[way, task, "share"] for task in tasks]
        held = np.mean([value[way, task, "covered"] for task in tasks])
        table.add_row(way, *(f"{share:.1%}" for share in [*shares, float(np.mean(shares))]), f"{held:.1%}")
    return table
