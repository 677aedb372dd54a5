"""What a training run leaves in MLflow: figures, tables, plots and the report. Never a customer's row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import orjson

from serving.config import ShopConfig
from serving.recipe import Recipe, as_json
from serving.settings.shop import GateSettings
from training import plots
from training.calibration import Calibration
from training.category_lists import OURS, Standing
from training.contest import Arena, repeat_items
from training.evaluate import Evaluation, Task, TaskResult
from training.gate import TASK_NAMES, Entrant, Row, Verdict
from training.intervals import Interval, compare, mean_interval
from training.material import Material
from training.meter import Meter, package_versions
from training.plots import Mark, Spot
from training.report import Report, describe, html, markdown, table_rows
from training.selection import Choice
from training.tracking import Run, Value
from training.variety import Point, TradeOff
from training.worth import Loss

TITLES: Mapping[Task, str] = {"all": "All purchases", "new": "Items never bought before"}
REPEAT = "repeat items"


@dataclass(frozen=True)
class Judged:
    """Everything that was judged on the last window.

    Args:
        arena: where; None when there was no window to judge on.
        evaluations: entrant -> its evaluation.
        recipes: entrant -> its recipe.
        entrants: as the gate saw them.
    """

    arena: Arena | None
    evaluations: Mapping[str, Evaluation]
    recipes: Mapping[str, Recipe]
    entrants: Sequence[Entrant]


def log_setup(run: Run, config: ShopConfig, material: Material, options: Mapping[str, Value]) -> None:
    """Parameters, input hashes and package versions: enough to do it again."""
    windows = {"tuned_window": material.tuned, "judged_window": material.judged}
    run.log_params({
        **options,
        "data_hash": material.data_hash,
        **{name: str(window) for name, window in windows.items()},
        **{f"model.{key}": str(value) for key, value in msgspec.to_builtins(config.model).items()},
        **{f"gate.{key}": value for key, value in msgspec.to_builtins(config.gate).items()},
        **{f"version.{name}": version for name, version in package_versions().items()},
    })  # fmt: skip
    run.log_metrics({f"data/{name}": float(count) for name, count in material.counts().items()})
    run.log_text("inputs.json", orjson.dumps(material.inputs, option=orjson.OPT_INDENT_2).decode())


def log_models(run: Run, judged: Judged, verdict: Verdict, settings: GateSettings) -> None:
    """One nested run a recipe: how it is made, every metric with its interval, slices, coverage."""
    roles = {row.recipe: row.role for row in verdict.table}
    for name, evaluation in judged.evaluations.items():
        recipe = judged.recipes[name]
        with run.child(name, {"role": roles.get(name, ""), "kokyaku.recipe": describe(recipe)}) as child:
            child.log_params({"made_of": describe(recipe), **_parameters(recipe)})
            child.log_text("recipe.json", orjson.dumps(as_json(recipe), option=orjson.OPT_INDENT_2).decode())
            child.log_metrics(figures_of(evaluation, settings))
            if judged.arena is not None:
                again = repeat_items(judged.arena, evaluation).by_customer[settings.metric]
                child.log_metrics({f"all/{settings.metric}/{REPEAT}": _interval(again, settings).value})


def figures_of(evaluation: Evaluation, settings: GateSettings) -> dict[str, float]:
    """`task/metric`, with `/low` and `/high` ends and `/slice` means."""
    found: dict[str, float] = {}
    for task, result in evaluation.tasks.items():
        for metric, scores in result.by_customer.items():
            interval = _interval(scores, settings)
            found[f"{task}/{metric}"] = interval.value
            found[f"{task}/{metric}/low"], found[f"{task}/{metric}/high"] = interval.low, interval.high
        found |= {f"{task}/{metric}": value for metric, value in result.overall.items()}
        own = result.by_customer[settings.metric]
        for name, mask in evaluation.slices.items():
            found[f"{task}/{settings.metric}/{name}"] = _interval(own[mask], settings).value
        found[f"{task}/customers"] = float(np.isfinite(own).sum())
    return found


def log_tables(run: Run, verdict: Verdict, choice: Choice, meter: Meter) -> None:
    """The tables behind the report, as CSV."""
    heads = ("recipe", "role", f"{verdict.metric} all", f"{verdict.metric} new")
    run.log_table("tables/recipes.csv", heads, table_rows(verdict.table))
    tried: list[list[Value]] = [
        [name, task, value] for name, means in choice.means.items() for task, value in means.items()
    ]
    run.log_table("tables/tuning.csv", ("entry", "task", f"{verdict.metric}, earlier window"), tried)
    if choice.losses:
        run.log_table("tables/voices.csv", *_lost(choice.losses))
    if choice.variety is not None:
        columns, rows = _tried(choice.variety)
        run.log_table("tables/variety.csv", columns, rows)
    compared: list[list[Value]] = [
        [c.recipe, c.against, c.task, c.rule, c.difference, c.low, c.high, c.customers, c.passed]
        for c in verdict.comparisons
    ]
    columns = ("recipe", "against", "task", "rule", "difference", "low", "high", "customers", "passed")
    run.log_table("tables/comparisons.csv", columns, compared)
    steps: list[list[Value]] = [[step.name, round(step.seconds, 3), round(step.peak_mb, 1)] for step in meter.steps]
    run.log_table("tables/steps.csv", ("step", "seconds", "peak_mb"), steps)
    costs = {"seconds/total": meter.seconds, "peak_mb/highest": meter.peak_mb}
    for step in meter.steps:
        costs |= {f"seconds/{step.name}": step.seconds, f"peak_mb/{step.name}": step.peak_mb}
    run.log_metrics(costs)
    run.log_text("verdict.json", msgspec.json.format(msgspec.json.encode(verdict), indent=2).decode())


def log_learned(run: Run, learned: Mapping[str, Mapping[str, float]]) -> None:
    """What the ranker's trees split on, as a table."""
    rows: list[list[Value]] = [
        [task, name, round(share, 6)]
        for task, shares in learned.items()
        for name, share in sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    run.log_table("tables/ranker.csv", ("task", "column", "share of the gain"), rows)


def log_calibration(run: Run, found: Mapping[Task, Calibration]) -> None:
    """The winner's score beside what was bought: figures, and a line a tenth of the scores."""
    rows: list[list[Value]] = [
        [task, tenth, part.low, part.high, part.count, part.observed.n, part.predicted, part.observed.value,
         part.observed.low, part.observed.high]
        for task, each in found.items()
        for tenth, part in enumerate(each.bins, start=1)
    ]  # fmt: skip
    columns = ("task", "tenth", "least score", "greatest score", "candidates", "customers", "predicted", "observed",
               "low", "high")  # fmt: skip
    run.log_table("tables/calibration.csv", columns, rows)
    for task, each in found.items():
        whole = {"error": each.error, "candidates": float(each.count), "predicted": each.predicted}
        for name, interval in (("observed", each.observed), ("slope", each.slope), ("intercept", each.intercept)):
            whole |= {name: interval.value, f"{name}/low": interval.low, f"{name}/high": interval.high}
        run.log_metrics({f"calibration/{task}/{name}": value for name, value in whole.items()})


def draw_calibration(found: Mapping[Task, Calibration]) -> bytes:
    """The reliability plot."""
    return plots.reliability({
        TITLES[task]: [(part.predicted, _named(task, part.observed)) for part in each.bins]
        for task, each in found.items()
    })  # fmt: skip


def log_category_lists(run: Run, found: Sequence[Standing]) -> None:
    """Where the bought item stood in its category's list, by order and slice."""
    rows: list[list[Value]] = [
        [each.slice, each.order, each.metric, each.value.value, each.value.low, each.value.high, each.value.n,
         each.value.undefined, each.gain.value, each.gain.low, each.gain.high]
        for each in found
    ]  # fmt: skip
    columns = ("slice", "order", "metric", "mean", "low", "high", "customers", "undefined purchases",
               "personalised minus it", "difference low", "difference high")  # fmt: skip
    run.log_table("tables/category-lists.csv", columns, rows)
    figures: dict[str, float] = {}
    for each in found:
        key = f"category-lists/{each.slice}/{each.order}/{each.metric}"
        figures |= {key: each.value.value, f"{key}/low": each.value.low, f"{key}/high": each.value.high}
    run.log_metrics(figures)


def draw_category_lists(found: Sequence[Standing], share: str) -> bytes:
    """Mean places of all orders, the first at the left."""
    roles = {OURS: "challenger"}
    return plots.places({
        name: [
            Mark(each.order, each.value.value, each.value.low, each.value.high, roles.get(each.order, "baseline"))
            for each in found
            if each.slice == name and each.metric == "place"
        ]
        for name in dict.fromkeys(each.slice for each in found)
    }, share=share)  # fmt: skip


def draw(
    judged: Judged, verdict: Verdict, material: Material, settings: GateSettings,
    learned: Mapping[str, Mapping[str, float]], choice: Choice,
) -> dict[str, bytes]:  # fmt: skip
    """The plots of the report, by name."""
    windows = {"tuned on": material.tuned, "judged on": material.judged}
    shaded = {name: (window.start, window.end) for name, window in windows.items() if window}
    drawn = {"months": plots.months(material.by_month(), shaded)}
    if learned:
        drawn["learned"] = plots.learned(learned)
    if choice.losses:
        drawn["voices"] = plots.forest(
            _losses(choice.losses), metric=settings.metric.upper(), share="68 %", beside="without"
        )
    if (variety := choice.variety) is not None:
        drawn["variety"] = plots.variety(
            _curves(variety), metric=variety.metric.upper(),
            margins={TITLES[task]: margin for task, margin in variety.margins.items()},
        )  # fmt: skip
    if judged.arena is None or not len(judged.arena.truth):
        return drawn
    metric, share = settings.metric.upper(), f"{settings.confidence:.0%}"
    tasks = {TITLES[task]: [_mark(row, task) for row in verdict.table] for task in TITLES}
    covered = [
        (_mark(row, "all"), judged.evaluations[row.recipe].tasks["all"].overall["coverage@20"]) for row in verdict.table
    ]  # fmt: skip
    return {
        "comparison": plots.comparison(tasks, metric=metric, share=share),
        "differences": plots.forest(_differences(judged, verdict, settings), metric=metric, share=share),
        "slices": plots.slices(_slices(judged, verdict, settings), metric=f"{metric} (all purchases unless said)"),
        "coverage": plots.coverage(covered, metric=f"{metric}, all purchases"),
        **drawn,
    }


def log_report(run: Run, report: Report) -> None:
    """The page, its pictures, and the short form at the top of the run."""
    for name, picture in report.plots.items():
        run.log_file(f"plots/{name}.png", picture)
    run.log_text("report.html", html(report))
    run.describe(markdown(report))


def _parameters(recipe: Recipe) -> dict[str, Value]:
    """`source.parameter` of all its sources, and `ranker.parameter`."""
    flat: dict[str, Value] = {
        f"ranker.{key}": value for key, value in (recipe.ranker.params if recipe.ranker else {}).items()
    }
    for spec in recipe.sources:
        for key, value in spec.params.items():
            flat[f"{spec.name}.{key}"] = value if isinstance(value, (int, float, str)) else _short(value)
    return flat


def _short(value: Any) -> str:
    return orjson.dumps(value).decode()


def _interval(scores: np.typing.NDArray[np.float64], settings: GateSettings) -> Interval:
    return mean_interval(scores, resamples=min(settings.resamples, 500), confidence=settings.confidence)


def _mark(row: Row, task: Task) -> Mark:
    value, low, high = (np.nan if v is None else v for v in (row.all if task == "all" else row.new))
    return Mark(row.recipe, value, low, high, row.role)


def _losses(losses: Mapping[str, Loss]) -> dict[str, list[Mark]]:
    """What the best lists so far change by without each source that was tried and those that left, per task."""
    return {
        f"{TITLES[task]} (earlier window)": [
            Mark(f"{name} (left out)" if loss.bearable else name, each.value, each.low, each.high)
            for name, loss in losses.items()
            for each in (loss.by_task[task],)
        ]
        for task in TITLES
    }


def _lost(losses: Mapping[str, Loss]) -> tuple[tuple[str, ...], list[list[Value]]]:
    """The same as a table."""
    rows: list[list[Value]] = [
        [name, task, each.value, each.low, each.high, loss.reached[task], each.n, loss.bearable]
        for name, loss in losses.items()
        for task, each in loss.by_task.items()
    ]
    return ("without", "task", "difference", "low", "high", "of the best", "customers", "left out"), rows


def _differences(judged: Judged, verdict: Verdict, settings: GateSettings) -> dict[str, list[Mark]]:
    """The challenger against the champion and the plain baselines, per task."""
    scores = {entrant.name: entrant.scores for entrant in judged.entrants}
    others = [row for row in verdict.table if row.role in ("champion", "baseline") and row.recipe != verdict.challenger]
    found: dict[str, list[Mark]] = {}
    for task in TITLES:
        block = found.setdefault(f"{verdict.challenger}: {TASK_NAMES[task]}", [])
        for row in others:
            paired = compare(scores[verdict.challenger][task], scores[row.recipe][task], resamples=settings.resamples,
                             confidence=settings.confidence)  # fmt: skip
            name = f"{row.recipe} (champion)" if row.role == "champion" else row.recipe
            block.append(Mark(name, paired.value, paired.low, paired.high))
    return found


def _slices(judged: Judged, verdict: Verdict, settings: GateSettings) -> dict[str, list[Mark]]:
    """Five recipes at most: the champion, the challenger, the baselines, and the best of the others."""
    assert judged.arena is not None
    important = [row.recipe for row in verdict.table if row.role != "candidate"]
    shown = [*important, *(row.recipe for row in verdict.table if row.role == "candidate")][:5]
    found: dict[str, list[Mark]] = {}
    for name in [row.recipe for row in verdict.table if row.recipe in shown]:
        evaluation = judged.evaluations[name]
        everything: TaskResult = evaluation.tasks["all"]
        own, new = everything.by_customer[settings.metric], evaluation.tasks["new"].by_customer[settings.metric]
        again = repeat_items(judged.arena, evaluation).by_customer[settings.metric]
        groups = {"all customers": own, **{group: own[mask] for group, mask in evaluation.slices.items()},
                  REPEAT: again, "items never bought before": new}  # fmt: skip
        found[name] = [_named(group, _interval(scores, settings)) for group, scores in groups.items()]
    return found


def _tried(found: TradeOff) -> tuple[tuple[str, ...], list[list[Value]]]:
    """All trade-offs that were tried, as a table: what they give and what they take."""
    ends = [f"{found.metric} {task}{what}" for task in TITLES for what in ("", " change", " low", " high")]
    rows: list[list[Value]] = []
    for point in found.points:
        row: list[Value] = [point.spec.diversity, point.spec.novelty, point.diversity, point.novelty]
        for task in TITLES:
            change = point.change[task]
            row += [point.means[task], change.value, change.low, change.high]
        rows.append([*row, point.passed, point.spec == found.chosen])
    heads = ("diversity", "novelty", "category diversity", "bits", *ends, "within the margins", "chosen")
    return heads, rows


def _curves(found: TradeOff) -> dict[str, dict[str, list[Spot]]]:
    """What variety brings against what it costs: axis -> task -> the points in the order of their weights."""
    axes: dict[str, tuple[Sequence[Point], Callable[[Point], float]]] = {
        "% of the pairs in a list that are of different categories": (
            found.diversities, lambda point: 100 * point.diversity,
        ),
        "mean self-information of an item in a list, bits": (found.novelties, lambda point: point.novelty),
    }  # fmt: skip
    return {
        axis: {title: [_spot(found, point, task, gain(point)) for point in points] for task, title in TITLES.items()}
        for axis, (points, gain) in axes.items()
        if len(points) > 1
    }


def _spot(found: TradeOff, point: Point, task: Task, gain: float) -> Spot:
    plain, change = found.points[0].means[task], point.change[task]
    value, low, high = (100 * part / plain if plain else np.nan for part in (change.value, change.low, change.high))
    return Spot(f"{point.spec.novelty or point.spec.diversity:g}", gain, value, low, high, point.spec == found.chosen)


def _named(name: str, interval: Interval) -> Mark:
    return Mark(name, interval.value, interval.low, interval.high)
