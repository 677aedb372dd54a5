"""Which voices of a ranker are worth their time: those without which its lists may be worse, on the earlier window.

`training.voices` asks what a source finds. A source may find what no other does and still change no list, because what
it finds lies behind what customers see. So voices are left out in turn, the trees are fitted anew without them, and the
lists are judged beside the best so far, on the same customers (backward elimination; Guyon & Elisseeff 2003, 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.ids import Array
from serving.recipe import RankerSpec, Recipe
from serving.settings.shop import GateSettings
from training.contest import Arena, contest, voices_of
from training.evaluate import TASKS, Task
from training.gate import TASK_NAMES
from training.intervals import Interval, compare, mean
from training.meter import counted
from training.rankers import Rankers, seeded
from training.recipes import BASELINES

Scores = Mapping[Task, npt.NDArray[np.float64]]
JUDGED = 8000
"""Customers of the earlier window that are looked at, at most; always the same ones. With the hundreds that weights are
chosen on, one standard error would be a tenth of what there is to find of new items."""
ONE_ERROR = 0.6827
"""Confidence of an interval that reaches one standard error to each side."""
SEEDS = 3
"""Of trees: a trial's figures are the mean of theirs, which makes one standard error a quarter smaller and more."""
DOUBT = 2
"""Margins that the lower end may reach. Where one standard error is within the margin, it asks next to nothing."""


@dataclass(frozen=True)
class Loss:
    """What lists lose without a voice, and without those that left before it.

    Args:
        by_task: (lists without - the best lists before), paired, within one standard error.
        reached: by the best lists before.
        margin: the share of it that may be lost in the mean.
    """

    by_task: Mapping[Task, Interval]
    reached: Mapping[Task, float]
    margin: float

    @property
    def bearable(self) -> bool:
        """Whether no task loses more than one standard error, nor more than the margin; nobody can lose nothing.

        Nor may the loss reach `DOUBT` margins within one standard error: an interval that wide, as few customers have
        it, holds anything, and says nothing for leaving.
        """
        return all(not each.n or self._borne(task, each) for task, each in self.by_task.items())

    def _borne(self, task: Task, loss: Interval) -> bool:
        margin = self.margin * self.reached[task]
        return loss.high >= 0 and loss.value >= -margin and loss.low >= -DOUBT * margin

    def __str__(self) -> str:
        """E.g. `-0.0002 [-0.0006, +0.0002] of 0.2315 on all purchases`."""
        return "; ".join(
            f"{each.value:+.4f} [{each.low:+.4f}, {each.high:+.4f}] of {self.reached[task]:.4f} on {TASK_NAMES[task]}"
            for task, each in self.by_task.items()
        )


def worth_hearing(
    recipe: Recipe, arena: Arena, rankers: Rankers, settings: GateSettings
) -> tuple[list[str], dict[str, Loss]]:
    """The voices of a recipe's ranker without those that its lists do not need, and the loss of each that was tried.

    The one whose columns the trees use least is tried first. It stays away where lists without it, and without those
    that went before, lose no more than one standard error beside the best so far (of models that cannot be told apart
    so, the simplest: Breiman et al. 1984, 3.4.3), in the mean no more than the gate's guard, and within one standard
    error no more than twice that, on both tasks. The best so far, of each task, are those of all voices or of any that
    were left: small losses do not add up, and what one voice's leaving gains is no allowance for the next. Plain
    baselines stay.

    Args:
        recipe: with a ranker.
        arena: of the earlier window, with all the sources.
        rankers: know the windows before it.
        settings: the metric, the margin, and how intervals are made.

    Raises:
        DataError: the ranker cannot be fitted with all of them.
    """
    spec, arena = _spec(recipe), arena.crowded(JUDGED)
    voices, losses = list(spec.voices), {}
    best = _scores(recipe, arena, rankers, settings.metric, "hear all voices")
    for name in _least_used(recipe, rankers, arena.window.start):
        rest = tuple(voice for voice in voices if voice != name)
        fewer = msgspec.structs.replace(recipe, ranker=msgspec.structs.replace(spec, voices=rest))
        try:
            mine = _scores(fewer, arena, rankers, settings.metric, f"leave out {name}")
        except DataError:  # without it there is too little to learn an order from: it stays
            continue
        losses[name] = _loss(mine, best, settings)
        if losses[name].bearable:
            voices.remove(name)
            best = {task: max(best[task], mine[task], key=mean) for task in TASKS}
    return voices, losses


def told(losses: Mapping[str, Loss]) -> list[str]:
    """Who stays, who leaves and why, as sentences."""
    return [
        f"{'No ranker listens' if loss.bearable else 'Rankers listen'} to {name}: without it lists change by {loss} "
        "(beside the best lists so far; one standard error to each side)."
        for name, loss in losses.items()
    ]


def _scores(recipe: Recipe, arena: Arena, rankers: Rankers, metric: str, what: str) -> Scores:
    """task -> float64[customers]: the metric of lists by trees that know the recipe's voices, of several seeds."""
    # Aside: examples of one trial are of no use for the next, whose voices are others.
    aside, several, trees = rankers.aside(), seeded(recipe, SEEDS), dict[str, Array]()
    for each in several:
        trees |= aside.fit(_spec(each), each.sources, arena.window.start, each.breadth)
    entries = {each.name: voices_of(each) for each in several}
    progress = counted(rankers.tell, f"{what} (earlier window)", 2 * len(arena.truth))
    found = contest(arena.seeing(trees).broad(recipe.breadth), entries, progress).values()
    return {task: np.mean([each.tasks[task].by_customer[metric] for each in found], axis=0) for task in TASKS}


def _loss(mine: Scores, best: Scores, settings: GateSettings) -> Loss:
    by_task = {
        task: compare(mine[task], best[task], resamples=settings.resamples, confidence=ONE_ERROR)
        for task in TASKS
    }  # fmt: skip
    return Loss(by_task, {task: mean(best[task]) for task in TASKS}, settings.guard_margin)


def _least_used(recipe: Recipe, rankers: Rankers, as_of: int) -> Sequence[str]:
    """The voices that may leave, by the share of the trees' gain that their columns have, the larger of both tasks."""
    spec = _spec(recipe)
    fitted = rankers.fitted(spec, recipe.sources, as_of, recipe.breadth).values()

    def used(name: str) -> float:
        return max(each.figures[f"{name}_score"] + each.figures[f"{name}_rank"] for each in fitted)

    return sorted((name for name in spec.voices if name not in BASELINES), key=used)


def _spec(recipe: Recipe) -> RankerSpec:
    assert recipe.ranker is not None  # a blend has no trees
    return recipe.ranker
