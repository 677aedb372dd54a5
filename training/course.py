"""What a search is about: its subject, what may be tried, and the customers of the earlier window in two halves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from features.errors import ConfigError, DataError
from features.kinds import EventType
from training import journal
from training.candidates import Candidate, candidate
from training.contest import sampled
from training.evaluate import Task
from training.fitting import Cut
from training.material import Material, load_material
from training.params import Named, named
from training.recipes import Preset
from training.session import Session, cut_at
from training.spaces import Space, checked, read_space, widened
from training.split import Truth, Window, halves, truth_of
from training.tracking import Value
from training.train import TUNED_CUSTOMERS

TRIALS = 30
"""Trials of a study, where neither a number nor minutes are given."""
Goal = Literal["all", "new", "both"]
PARTS = 4
"""Parts in which a trial's customers are judged; after each a hopeless trial is stopped."""
WEIGHTS = "confidence.weights."
"""Parameters that a shop without such events cannot learn."""


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What to tune, and for how long.

    Args:
        trials: of the study in all, those of earlier calls included; None: `TRIALS`, or no limit with minutes.
        minutes: no trial begins after them; None: no limit.
        space: a file of a search space instead of the one that comes with the program.
        seed: of the sampler.
        fresh: whether what was tried before is thrown away.
        task: what the objective is the mean of.
        preset: gives the defaults and the number of customers.
        as_of: tune on what was known at this instant; None: everything.
    """

    trials: int | None = None
    minutes: float | None = None
    space: Path | None = None
    seed: int = 0
    fresh: bool = False
    task: Goal = "both"
    preset: Preset = "quick"
    as_of: int | None = None


@dataclass(frozen=True)
class Course:
    """What is tuned, and on what.

    Args:
        subject: what is tuned.
        material: all events.
        window: the earlier one.
        metric: e.g. `ndcg@20`.
        tasks: the objective is the mean over them.
        space: what may be tried.
        default: the parameters of the space by default.
        before: those of `tuned.toml`, where there are some.
        parts: customers that trials are judged on, in parts.
        held: customers that only the default and the best are judged on.
    """

    subject: Candidate
    material: Material
    window: Window
    metric: str
    tasks: tuple[Task, ...]
    space: Space
    default: Named
    before: tuple[Named, ...]
    parts: tuple[Truth, ...]
    held: Truth

    @property
    def customers(self) -> int:
        """How many trials are judged on."""
        return sum(map(len, self.parts))


def prepare(session: Session, what: str, options: TuneOptions) -> Course:
    """The subject, what may be tried of it, and the customers of the earlier window in two halves."""
    session.tell("read the dataset", 0, 1)
    material = load_material(session.shop, session.config, session.options.as_of)
    session.tell("read the dataset", 1, 1)
    session.note(*material.notes)
    if material.tuned is None:
        raise DataError("the past is too short to tune on", where=session.shop.id, hint=" ".join(material.notes))
    window, metric = material.tuned, session.config.gate.metric
    cut = cut_at(session, material, window.start)
    subject = candidate(session, material, what, cut)
    space, default, before = _space(session, subject, cut, options.space)
    truth = sampled(truth_of(material.histories, window, listed=cut.listed), 2 * TUNED_CUSTOMERS[options.preset])
    if len(truth) < 2 * PARTS:
        raise DataError("too few customers bought anything in the window to tune on", where=str(window), got=len(truth))
    mine, held = halves(len(truth))
    parts = tuple(truth.take(mine[part::PARTS]) for part in range(PARTS))
    tasks = _tasks(session, subject, options.task, truth.take(mine))
    course = Course(subject, material, window, metric, tasks, space, default, before, parts, truth.take(held))
    _log_setup(session, course, options)
    return course


def _log_setup(session: Session, course: Course, options: TuneOptions) -> None:
    said: dict[str, Value] = {
        "what": course.subject.name, "task": options.task, "preset": options.preset, "seed": options.seed,
        "trials": options.trials, "minutes": options.minutes, "customers": course.customers,
        "held_customers": len(course.held),
    }  # fmt: skip
    journal.log_setup(session.run, session.config, course.material, said)
    session.run.log_params({f"space.{key}": str(dimension) for key, dimension in course.space.items()})


def _space(
    session: Session, subject: Candidate, cut: Cut, path: Path | None
) -> tuple[Space, Named, tuple[Named, ...]]:  # fmt: skip
    """What may be tried, the default, and what was tuned before."""
    space, where = read_space(subject.space, path)
    flat = named(subject.defaults)
    there = {EventType(int(code)).name.lower() for code in np.unique(cut.known.events.type)}
    idle = [key for key in space if key.startswith(WEIGHTS) and (key not in flat or key[len(WEIGHTS) :] not in there)]
    if idle:
        types = ", ".join(key.removeprefix(WEIGHTS) for key in idle)
        session.note(f"Weights that are not searched, because the shop has no such events or weighs none: {types}.")
    space = {key: dimension for key, dimension in space.items() if key not in idle}
    checked(space, subject.defaults, subject.convert, where)
    default = {key: flat[key] for key in space}
    tuned = session.tuned.get(subject.name, {})
    before = ({**default, **{key: tuned[key] for key in space if key in tuned}},) if tuned else ()
    space, notes = widened(space, [default, *before], where)
    session.note(*notes)
    return space, default, before


def _tasks(session: Session, subject: Candidate, goal: Goal, truth: Truth) -> tuple[Task, ...]:
    """The tasks that are asked for and can be judged."""
    asked = subject.tasks if goal == "both" else (goal,)
    if goal not in ("both", *subject.tasks):
        raise ConfigError(f"{subject.name} proposes nothing new", where="--task", got=goal, hint="use --task all")
    if "new" not in asked or len(truth.new().items):
        return asked
    if goal == "new":
        raise DataError("nobody bought anything new in the window to tune on", where="--task", hint="use --task all")
    session.note("Nobody bought anything new in the window: the objective is that of all purchases.")
    return ("all",)
