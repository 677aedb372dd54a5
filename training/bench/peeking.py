"""`kokyaku bench peeking`: how often an interval that is looked at every week is ever wrong, and how wide it is.

Simulated experiments without an effect, looked at 52 times. Three ways of answering: `plain`, each look at 95 %;
`looks`, the error shared out among looks, which is what `kokyaku experiment report` shows; and `mixture`, a confidence
sequence (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, "Time-uniform central limit theory and asymptotic
confidence sequences", Annals of Statistics 52), tightest at the look that it is told. Figures are of simulated worlds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import typer
from scipy.stats import norm

from features.errors import ConfigError
from training.bench.accuracy import bars
from training.bench.rows import Row, print_rows, write_rows
from training.commands.common import JsonOption, console
from training.experiments.looks import confidence_at
from training.intervals import share_interval
from training.meter import Tell
from training.session import silent

Doubles = npt.NDArray[np.float64]
LOOKS: Final = 52
ERROR: Final = 0.05
TUNED: Final = (4, 13)
"""Looks at which the confidence sequences are tightest."""
SHOWN: Final = (1, 2, 4, 8, 13, 26, 52)
"""Looks whose width is told."""
_Generator = np.random.Generator


def taste(random: _Generator, n: int) -> Doubles:
    """float64[n, LOOKS]: what customers bought so far, some always much and some always little."""
    found: Doubles = random.poisson(random.gamma(1.0, 1.0, (n, 1)), (n, LOOKS)).cumsum(axis=1).astype(np.float64)
    return found


def fresh(random: _Generator, n: int) -> Doubles:
    """What customers bought so far, each week unlike the one before."""
    found: Doubles = random.poisson(1.0, (n, LOOKS)).cumsum(axis=1).astype(np.float64)
    return found


def once(random: _Generator, n: int) -> Doubles:
    """Whether customers came back yet."""
    return (random.geometric(0.02, (n, 1)) <= np.arange(1, LOOKS + 1)).astype(np.float64)


def arrivals(random: _Generator, n: int) -> Doubles:
    """What customers bought at once; every week others enter, and NaN are those who have not yet."""
    entered = np.arange(n)[:, None] % LOOKS <= np.arange(LOOKS)
    return np.where(entered, random.gamma(1.0, 1.0, (n, 1)), np.nan)


WORLDS: Final[Mapping[str, Callable[[_Generator, int], Doubles]]] = {
    "taste": taste, "fresh": fresh, "once": once, "arrivals": arrivals,
}  # fmt: skip


def limits() -> dict[str, Doubles]:
    """Method -> float64[LOOKS]: how many standard errors from zero an estimate must lie to be called a difference.

    The sequence tuned for look m, with equal information between looks: z(t)^2 = (1 + r / t) log((t + r) / (r e^2)),
    r = m / (log(1 - 2 log e) - 2 log e) for the error e.
    """
    t = np.arange(1.0, LOOKS + 1)
    spent = -2 * np.log(ERROR)
    found = {
        "plain": np.full(LOOKS, norm.ppf(1 - ERROR / 2)),
        "looks": np.array([norm.ppf((1 + confidence_at(int(look), 1 - ERROR)) / 2) for look in t]),
    }
    for tuned in TUNED:
        r = tuned / (spent + np.log(1 + spent))
        found[f"mixture-{tuned}"] = np.sqrt((1 + r / t) * np.log((t + r) / (r * ERROR**2)))
    return found


def statistics(values: Doubles, treated: npt.NDArray[np.bool_]) -> Doubles:
    """float64[LOOKS]: |difference| in standard errors at each look; 0 where fewer than 30 stand in a group."""
    parts = []
    for side in (values[treated], values[~treated]):
        counts = np.isfinite(side).sum(axis=0)
        filled, size = np.where(np.isfinite(side), side, 0.0), np.maximum(counts, 1)
        means = filled.sum(axis=0) / size
        spread = np.maximum((filled**2).sum(axis=0) / size - means**2, 0.0) / np.maximum(size - 1, 1)
        parts.append((means, spread, counts))
    (one, v, a), (other, w, b) = parts
    known = (np.minimum(a, b) >= 30) & (v + w > 0)
    found: Doubles = np.where(known, np.abs(one - other) / np.sqrt(np.where(known, v + w, 1.0)), 0.0)
    return found


def run(runs: int, people: int, seed: int, tell: Tell = silent) -> list[Row]:
    """Draw, look, and count who was ever wrong.

    Args:
        runs: experiments of each world.
        people: in each.
        seed: of the draws.
        tell: hears the progress.
    """
    bounds = limits()
    rows = [
        Row("peeking", "simulated", "width", method, f"look-{look}", float(z[look - 1] / bounds["plain"][look - 1]))
        for method, z in bounds.items() for look in SHOWN
    ]  # fmt: skip
    for place, (world, draw) in enumerate(WORLDS.items()):
        random = np.random.default_rng([seed, place])
        right = {method: np.zeros(runs, bool) for method in bounds}
        for number in range(runs):
            seen = statistics(draw(random, people), random.random(people) < 0.5)
            for method, z in bounds.items():
                right[method][number] = (seen <= z).all()
            if number % 50 == 49:
                tell("experiments", place * runs + number + 1, runs * len(WORLDS))
        for method, hits in right.items():
            share = share_interval(hits, np.arange(runs))
            rows.append(Row("peeking", "simulated", world, method, "coverage", share.value, share.low, share.high))
    return rows


def command(
    runs: Annotated[int, typer.Option(help="Experiments of each world.")] = 2000,
    people: Annotated[int, typer.Option(help="Customers in each.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    json: JsonOption = None,
) -> None:
    """Look at simulated experiments without an effect 52 times, and count how often an interval was ever wrong.

    Widths are beside that of a plain 95 % interval. Figures are of simulated worlds.

    Examples:

      kokyaku bench peeking

      kokyaku bench peeking --runs 500 --json peeking.json
    """
    for name, value, least in (("--runs", runs, 10), ("--people", people, 100)):
        if value < least:
            raise ConfigError(f"at least {least}", where=name, got=value)
    with bars() as tell:
        rows = run(runs, people, seed, tell)
    print_rows(console, rows, "Looked at every week of a year; simulated, without an effect")
    if json:
        write_rows(json, rows)
