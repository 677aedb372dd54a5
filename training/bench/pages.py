"""`kokyaku bench pages`: a landing page by the trained policy against the best static page, in shops of known truth.

Every seed is a simulated shop of its own. From what it logged in its first months the policy of each slot is learned by
the very code of `kokyaku train slots`, and its gate decides; a slot that it refuses shows the best action of the log.
The next four weeks are for valuing the learned page against the static one before it is launched. Then it is launched
for four weeks, with its exploring on, outside of the permanent holdout; what it truly brings is a sum over the frozen
effects. Shares are of what an oracle that knows all effects on everybody adds to the truly best static page.
`--constant` takes the effects away: a policy that the gate lets through then passed by chance. All figures are of the
simulated shop: for tests, never evidence about real ones.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import typer

from features.files import file_sha256, write_atomically
from serving import policies
from training.bench import page_launch, page_served, page_static, page_truth, page_world
from training.bench.accuracy import bars
from training.bench.page_launch import Launched, launched
from training.bench.page_report import rows_of, table_of
from training.bench.page_truth import Truth
from training.bench.page_world import visits_of
from training.bench.rows import write_rows
from training.bench.shops import default_cache
from training.commands.common import JsonOption, console
from training.meter import Tell
from training.offpolicy import estimators, inference, models
from training.offpolicy import slots as page_estimators
from training.session import silent
from training.simulation.world import WORLD_VERSION
from training.slots import judging, kinds, places, sizes, study
from training.uplift import boosting, crossfit, gate, learners, nuisance, unexplained

_STREAM: Final = 31
_CODE: Final = (
    policies, page_launch, page_served, page_static, page_truth, page_world, estimators, inference, models,
    page_estimators, judging, kinds, places, sizes, study, boosting, crossfit, gate, learners, nuisance, unexplained,
)  # fmt: skip
"""Beside this module, what decides what comes of a shop."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Args:
        size: of the simulated shops.
        outcome: what the policy is learned for.
        constant: no action does more than another.
    """

    size: str = "m"
    outcome: Literal["click", "purchase"] = "click"
    constant: bool = False


def command(
    size: Annotated[str, typer.Option(help="Of the simulated shops: tiny, s, m or l.")] = "m",
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="Shops.")] = 20,
    decisions: Annotated[
        list[int] | None, typer.Option(min=1000, help="Learned from; may be repeated. Default: all that were logged.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first shop.")] = 0,
    outcome: Annotated[Literal["click", "purchase"], typer.Option(help="What the policy is learned for.")] = "click",
    constant: Annotated[bool, typer.Option("--constant", help="No action does anything: count false passes.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder where finished shops stay; a second call goes on.")] = None,
    json: JsonOption = None,
) -> None:
    """Learn landing pages from logs, value them, launch them, and compare them with the best static page by the truth.

    Examples:

      kokyaku bench pages

      kokyaku bench pages --size s --seeds 5 --decisions 5000 --decisions 10000 --json pages.json
    """
    plan = Plan(size, outcome, constant)
    with bars() as tell:
        found = run(plan, range(seed, seed + seeds), decisions or [0], cache or default_cache(), tell)
    console.print("The simulated shop: never evidence about real shops.", highlight=False)
    for some in found:
        console.print(table_of(size, outcome, some))
    if json:
        write_rows(json, [row for some in found for row in rows_of(size, outcome, some)])


def run(
    plan: Plan, seeds: Sequence[int], decisions: Sequence[int], cache: Path, tell: Tell = silent
) -> list[list[Launched]]:  # fmt: skip
    """Shops, logs of each size, policies, launches.

    Args:
        plan: what is run.
        seeds: of the shops.
        decisions: sizes of the logs; 0: everything that was logged.
        cache: folder of finished shops; they are used again as long as neither plan nor code changes.
        tell: hears `(what, done, total)`.

    Returns:
        For each size of the log one a seed.

    Raises:
        ConfigError: an unknown size of the shop.
        DataError: too few decisions to learn from.
    """
    home = cache / f"pages-{_fingerprint(plan)}"
    found: list[list[Launched]] = [[] for _ in decisions]
    for done, seed in enumerate(seeds):
        tell("shops", done, len(seeds))
        files = [home / f"{seed:06d}-{count}.json" for count in decisions]
        missing = [(file, count) for file, count in zip(files, decisions, strict=True) if not file.exists()]
        if missing:
            _make(plan, seed, missing, tell)
        for some, file in zip(found, files, strict=True):
            some.append(msgspec.json.decode(file.read_bytes(), type=Launched))
    tell("shops", len(seeds), len(seeds))
    return found


def _make(plan: Plan, seed: int, missing: Sequence[tuple[Path, int]], tell: Tell) -> None:
    """One shop, and what comes of it with logs of some sizes."""
    visits = visits_of(plan.size, seed)
    truth = Truth.nothing() if plan.constant else Truth.frozen()
    if plan.constant:
        visits = truth.redrawn(visits, np.random.default_rng((_STREAM, seed)))
    for file, count in missing:
        random = np.random.default_rng((_STREAM, seed, count))
        made = launched(visits, truth, random, plan.outcome, seed=seed, decisions=count, tell=tell)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, msgspec.json.encode(made))


def _fingerprint(plan: Plan) -> str:
    """Of all that decides what comes of a shop: the plan, the world and the code."""
    code = [file_sha256(Path(str(module.__file__))) for module in (*_CODE, sys.modules[__name__])]
    said = {**asdict(plan), "world": WORLD_VERSION, "code": code}
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]
