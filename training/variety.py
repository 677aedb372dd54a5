"""How varied a recipe's lists may be before they find less of what is bought: tuned, not fixed.

On the earlier window the recipe's own scores are selected from by several weights of diversity, then, at the weight
chosen, of novelty. Of the weights that cost next to nothing the one with the most varied lists is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.business import PLAIN
from serving.recipe import Recipe, SelectionSpec
from serving.settings.shop import GateSettings
from training.contest import Arena, contest, voices_of
from training.evaluate import TASKS, Evaluation, Task
from training.gate import TASK_NAMES
from training.intervals import Interval, compare, mean
from training.metrics import intra_list_diversity
from training.recipes import is_same_but_for_lists
from training.report import traded_off

DIVERSITIES = (0.02, 0.05, 0.1, 0.2, 0.35)
NOVELTIES = (0.02, 0.05, 0.1, 0.2)
LEAST_GAIN = 0.01
"""What a trade-off brings must be more by this share, else nobody would notice it and nothing is changed for it."""


@dataclass(frozen=True, slots=True)
class Point:
    """One trade-off as tried.

    Args:
        spec: its weights.
        diversity: mean share of the pairs in a list that are of different categories; NaN where none is known.
        novelty: mean self-information of an item in a list, bits.
        means: task -> mean of the gate's metric.
        change: task -> (this - nothing traded off), paired by customer.
        passed: whether that is within the margin on every task.
    """

    spec: SelectionSpec
    diversity: float
    novelty: float
    means: Mapping[Task, float]
    change: Mapping[Task, Interval]
    passed: bool


@dataclass(frozen=True, slots=True)
class TradeOff:
    """All that was tried and what was chosen.

    Args:
        recipe: whose lists.
        metric: the gate's, e.g. `ndcg@20`.
        diversities: nothing traded off, then weights of diversity alone; only the first where no category is known.
        novelties: the chosen diversity alone, then with weights of novelty.
        chosen: the weights taken.
        margins: task -> share of the metric that the lower end of the paired interval may lose.
    """

    recipe: str
    metric: str
    diversities: Sequence[Point]
    novelties: Sequence[Point]
    chosen: SelectionSpec
    margins: Mapping[Task, float]

    @property
    def points(self) -> list[Point]:
        """Every point once, nothing traded off first."""
        return [*self.diversities, *self.novelties[1:]]

    def more_varied(self, than: SelectionSpec) -> bool:
        """Whether the chosen lists were more varied than those of other weights, by `LEAST_GAIN` at least.

        More of their pairs are of different categories, or no fewer are and an item is worth more bits. False where
        the other weights were not tried: then nothing is known of them.
        """
        tried = {point.spec: point for point in self.points}
        if than not in tried:
            return False
        mine, other = tried[self.chosen], tried[than]
        if _gains(mine.diversity, other.diversity):
            return True
        return not mine.diversity < other.diversity and _gains(mine.novelty, other.novelty)


def trade_off(
    arena: Arena, recipe: Recipe, settings: GateSettings, progress: Callable[[int], None] = lambda done: None
) -> TradeOff:
    """Try weights of diversity, then of novelty, and choose.

    Args:
        arena: of the earlier window; its bundle holds all that the recipe needs.
        recipe: whose voices score; its own trade-off does not count.
        settings: the metric, and how intervals are made.
        progress: told how many customers were done, once a task and axis.
    """
    known = bool((arena.bundle.shared.category >= 0).any())
    specs = [PLAIN, *(SelectionSpec(weight) for weight in (DIVERSITIES if known else ()))]
    found = _try(arena, recipe, specs, progress)
    plain = found[PLAIN]
    diversities = [_point(spec, found[spec], plain, arena, settings) for spec in specs]
    varied = _most(diversities, lambda point: point.diversity)
    more = [SelectionSpec(varied.spec.diversity, weight) for weight in NOVELTIES]
    found = _try(arena, recipe, more, progress)
    novelties = [varied, *(_point(spec, found[spec], plain, arena, settings) for spec in more)]
    chosen = _most(novelties, lambda point: point.novelty)
    return TradeOff(recipe.name, settings.metric, diversities, novelties, chosen.spec, _margins(settings))


def _margins(settings: GateSettings) -> dict[Task, float]:
    return {"all": settings.variety_margin, "new": settings.guard_margin}


def only_more_varied(found: TradeOff | None, recipes: Mapping[str, Recipe], champion: str | None) -> str | None:
    """The name of the recipe that is the champion with more varied lists and nothing else, where there is one.

    Args:
        found: what was chosen on the earlier window; None where nothing was tried.
        recipes: all that are judged, by name, with what their lists trade off.
        champion: the name under which what serves is judged, or None.
    """
    if found is None or champion is None or found.recipe not in recipes:
        return None
    recipe, serving = recipes[found.recipe], recipes[champion]
    alike = is_same_but_for_lists(recipe, serving) and found.more_varied(serving.selection)
    return found.recipe if alike else None


def told(found: TradeOff | None) -> list[str]:
    """What was chosen, for the report; nothing where nothing was tried."""
    if found is None:
        return []
    plain, taken = found.points[0], next(point for point in found.points if point.spec == found.chosen)
    said = ["Diversity is not tuned: no item has a category."] if len(found.diversities) == 1 else []
    if found.chosen == PLAIN:
        limits = " and ".join(f"{margin:.1%} on {TASK_NAMES[task]}" for task, margin in found.margins.items())
        why = f"brings noticeably more variety and surely costs less {found.metric} than {limits}"
        return [*said, f"Lists of {found.recipe} are ordered by relevance alone: no trade-off that was tried {why}."]
    gains = []
    if found.chosen.diversity:
        before = f"instead of {plain.diversity:.1%}"
        gains.append(f"{taken.diversity:.1%} of the pairs in a list are of different categories {before}")
    if found.chosen.novelty:
        gains.append(f"an item of a list is worth {taken.novelty:.2f} bits instead of {plain.novelty:.2f}")
    costs = [
        f"{change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}] on {TASK_NAMES[task]}"
        for task, change in taken.change.items()
        if change.n
    ]
    return [*said, (
        f"Lists of {found.recipe} are varied: {traded_off(found.chosen)}. So {' and '.join(gains)}, and {found.metric} "
        f"changes by {' and '.join(costs)} (earlier window)."
    )]  # fmt: skip


def _try(
    arena: Arena, recipe: Recipe, specs: Sequence[SelectionSpec], progress: Callable[[int], None]
) -> dict[SelectionSpec, Evaluation]:
    """One contest of the same voices under several trade-offs: what a customer's candidates score is asked once."""
    voices, named = voices_of(recipe), {str(number): spec for number, spec in enumerate(specs)}
    found = contest(arena, dict.fromkeys(named, voices), progress, named)
    return {spec: found[name] for name, spec in named.items()}


def _point(
    spec: SelectionSpec, found: Evaluation, plain: Evaluation, arena: Arena, settings: GateSettings
) -> Point:  # fmt: skip
    metric, k = settings.metric, int(settings.metric.partition("@")[2])
    categories = arena.bundle.shared.category
    lists = [result.lists for result in found.tasks.values()]
    varied = np.concatenate([intra_list_diversity(each, categories, k) for each in lists])
    bits = np.concatenate([result.by_customer[f"novelty@{k}"] for result in found.tasks.values()])
    scores, before = ({task: each.tasks[task].by_customer[metric] for task in TASKS} for each in (found, plain))
    change = {
        task: compare(scores[task], before[task], resamples=settings.resamples, confidence=settings.confidence)
        for task in TASKS
    }
    worth = {task: mean(before[task]) for task in TASKS}
    judged = [task for task in TASKS if change[task].n]
    margins = _margins(settings)
    passed = bool(judged) and all(_cheap(change[task], margins[task] * worth[task]) for task in judged)
    return Point(spec, mean(varied), mean(bits), {task: mean(scores[task]) for task in TASKS}, change, passed)


def _cheap(change: Interval, margin: float) -> bool:
    """Whether the lower end is above minus the margin; one customer has no interval and shows nothing."""
    return bool(change.low >= 0 or change.low > -margin)


def _most(points: Sequence[Point], gain: Callable[[Point], float]) -> Point:
    """The largest gain among those that are cheap; the first point where none gains enough."""
    cheap = [point for point in points[1:] if point.passed and _gains(gain(point), gain(points[0]))]
    return max(cheap, key=gain, default=points[0])


def _gains(value: float, before: float) -> bool:
    return value > (1 + LEAST_GAIN) * before
