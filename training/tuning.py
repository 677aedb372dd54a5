"""Tuning: a search over the parameters of one source or ranker, on the earlier window only.

`tune` is the whole flow; its steps are the functions below it, in their order. Customers of the window are split in
two: trials are judged on one half, and whether the best is better than the default is said by the other half, which
nothing was picked from. The judged window is not looked at, so the gate later judges on what no parameter has seen.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt

from features.assemble import FINGERPRINT
from features.errors import ConfigError, DataError
from features.files import exclusive
from features.shop import Shop
from serving.bundle import Bundle
from serving.strict import nearest
from training.contest import Arena, Voices, contest
from training.course import TRIALS, Course, TuneOptions, prepare
from training.evaluate import Task
from training.found import Found
from training.intervals import compare, mean
from training.meter import Tell
from training.session import Session, TrainOptions, open_session, silent, tunable
from training.split import Truth
from training.study import Asked, Study, Tried
from training.tracking import Run
from training.tuned import table_of, write_tuned
from training.tuning_report import log, told_in

Scores = Mapping[Task, npt.NDArray[np.float64]]


def tune(shop: Shop, what: str, options: TuneOptions | None = None, tell: Tell = silent) -> Found:
    """Search, compare the best with the default, and let the next training use it where it is better.

    Args:
        shop: whose.
        what: a source, or a recipe with a ranker.
        options: how.
        tell: hears the progress of each step.

    Raises:
        ConfigError: there is no such source, the space does not suit it, or a setting makes no sense.
        DataError: there is no dataset, too short a past, or the default cannot be fitted.
    """
    options, start = options or TuneOptions(), time.perf_counter()
    if what not in tunable():
        raise ConfigError("nothing of that name can be tuned", got=what, hint=nearest(what, list(tunable())))
    with open_session(shop, TrainOptions(options.as_of, options.preset), tell, tuning=what) as session:
        busy = f"{what} is being tuned by another process"
        with exclusive(shop.studies / f".{what}.lock", busy=busy):
            course = prepare(session, what, options)
            study = open_study(session, course, options)
            search(session, course, study, options, start)
            found = conclude(session, course, study, start)
        log(session.run, found)
    return found


def open_study(session: Session, course: Course, options: TuneOptions) -> Study:
    """The study of this subject on these customers; one on other data or over another space is another study."""
    facts = (
        course.subject.made_of, course.subject.defaults, course.material.data_hash, course.window, course.metric,
        course.tasks, course.space, course.customers, session.config.model, session.options.preset, FINGERPRINT,
    )  # fmt: skip
    facts_hash = hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()[:12]
    path = session.shop.studies / f"{course.subject.name}-{facts_hash}.jsonl"
    if options.fresh:
        path.unlink(missing_ok=True)
    study = Study(path, course.space, options.seed)
    if earlier := len(study):
        session.note(f"The study goes on after {earlier} trials of earlier calls; --fresh starts over.")
    session.run.log_params({"study": path.name, "earlier_trials": earlier})
    return study


def search(session: Session, course: Course, study: Study, options: TuneOptions, start: float) -> None:
    """Try the default, what was tuned before, and then what the sampler says, until the budget ends."""
    study.want([course.default, *course.before])
    limit = TRIALS if options.trials is None and options.minutes is None else options.trials
    end = np.inf if options.minutes is None else start + 60 * options.minutes
    while not len(study) or ((limit is None or len(study) < limit) and time.perf_counter() < end):
        session.tell("trials", len(study), limit or len(study) + 1)
        attempt(session.run, course, study.ask())
    session.tell("trials", len(study), len(study))


def attempt(run: Run, course: Course, asked: Asked) -> None:
    """One trial: fit, judge part by part, and stop where it is hopeless. What cannot be fitted is named.

    Raises:
        DataError: the default cannot be fitted, so there is nothing to be better than.
    """
    start = time.perf_counter()
    try:
        with run.child(f"trial {asked.number}", {"mlflow.source.name": "kokyaku tune"}) as child:
            child.log_params(asked.params)
            _try(child, course, asked, start)
    except (DataError, ConfigError) as error:
        asked.fail(error.line(), time.perf_counter() - start)
        if asked.params == course.default:
            raise DataError(f"the default cannot be fitted: {error.line()}", where=course.subject.name) from None
    except BaseException:
        asked.interrupt()
        raise


def _try(run: Run, course: Course, asked: Asked, start: float) -> None:
    """Fit and judge; the default is always judged in full."""

    so_far: dict[str, float] = {}

    def hopeless(part: int, value: float) -> bool:
        so_far[f"value after part {part}"] = value
        return asked.hopeless(part, value) and asked.params != course.default

    scores = judge(course, course.subject.stage(asked.params), course.parts, hopeless)
    seconds = time.perf_counter() - start
    run.tag("state", "pruned" if scores is None else "complete")
    if scores is None:
        run.log_metrics({**so_far, "seconds": seconds})
        asked.prune(seconds)
        return
    figures: dict[str, float] = {task: mean(each) for task, each in scores.items()}
    run.log_metrics({"value": objective(scores), **figures, **so_far, "seconds": seconds})
    asked.complete(objective(scores), seconds, figures)


def judge(
    course: Course, staged: tuple[Bundle, Voices], truths: Sequence[Truth],
    hopeless: Callable[[int, float], bool] = lambda part, value: False,
) -> Scores | None:  # fmt: skip
    """Scores of the customers, part after part; None where it was hopeless before the last part.

    Args:
        course: window, metric and tasks.
        staged: what is judged.
        truths: the parts.
        hopeless: asked after each part but the last, with the objective over the customers so far.
    """
    bundle, voices = staged
    asked = {course.subject.name: {task: voices[task] for task in course.tasks}}
    seen: list[Scores] = []
    for part, truth in enumerate(truths, start=1):
        arena = Arena(bundle, course.material.histories, course.window, truth, course.material.regions)
        found = contest(arena, asked)[course.subject.name].tasks
        seen.append({task: found[task].by_customer[course.metric] for task in course.tasks})
        together = {task: np.concatenate([each[task] for each in seen]) for task in course.tasks}
        value = objective(together)
        if part < len(truths) and np.isfinite(value) and hopeless(part, value):
            return None
    return together


def objective(scores: Scores) -> float:
    """The mean over tasks of the mean over the customers who can be judged on each; NaN where nobody can on any."""
    return mean(np.array([mean(each) for each in scores.values()]))


def by_customer(scores: Scores) -> npt.NDArray[np.float64]:
    """float64[n]: what each customer adds to the objective, so that its mean over all of them is the objective.

    A customer who bought nothing new has no score on *new*; the others then stand for more of that task.
    """
    defined = [each for each in scores.values() if np.isfinite(each).any()]
    if not defined:
        return np.full(len(next(iter(scores.values()))), np.nan)
    shares = [np.where(np.isfinite(each), each, 0) / np.isfinite(each).mean() for each in defined]
    return np.asarray(np.mean(shares, axis=0), np.float64)


def conclude(session: Session, course: Course, study: Study, start: float) -> Found:
    """Judge the default and the best on the customers kept apart, and write down the best where it is better."""
    tried = study.tried()
    complete = [each for each in tried if each.state == "complete"]
    default = next(each for each in complete if each.params == course.default)
    best = max(complete, key=lambda each: (each.value, each is default, -each.number))
    session.tell("customers kept apart", 0, 2)
    usual = _held(course, default)
    session.tell("customers kept apart", 1, 2)
    mine = usual if best is default else _held(course, best)
    session.tell("customers kept apart", 2, 2)
    settings = session.config.gate
    difference = compare(
        by_customer(mine), by_customer(usual), resamples=settings.resamples, confidence=settings.confidence
    )  # fmt: skip
    found = Found(
        course, tried, default, best, (objective(usual), objective(mine)), difference, difference.low > 0, "", "",
        session.notes, 0.0, session.run.id,
    )  # fmt: skip
    found = replace(found, table=table_of(course.subject.name, best.params, told_in(found)))
    outcome = keep(session, found)
    return replace(found, outcome=outcome, seconds=time.perf_counter() - start)


def keep(session: Session, found: Found) -> str:
    """Write the best parameters where they are better, else see that the default is used; says which."""
    name, path = found.course.subject.name, session.shop.tuned
    if found.better:
        write_tuned(path, name, found.best.params, told_in(found))
        return f"{path.name} has the best parameters: the next kokyaku train uses them."
    why = "No trial was better" if found.best is found.default else "The best is not shown to be better"
    before = session.tuned.get(name)
    if before is None:
        return f"{why} than the default, which is kept."
    if set(before) - set(found.course.space):
        return f"{why} than the default. {path.name} keeps its parameters: they are not all in this search space."
    write_tuned(path, name, None)
    return f"{why} than the default, which is used again: its table was taken out of {path.name}."


def _held(course: Course, trial: Tried) -> Scores:
    scores = judge(course, course.subject.stage(trial.params), [course.held])
    assert scores is not None  # one part is never stopped
    return scores
