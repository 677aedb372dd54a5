"""Settings of a source, and what each did on a data set: one file of JSON lines a source and data set.

A line is a shop and a setting, so that a run that is stopped loses the one it was at. Settings are found again by all
their parameters: where a default has changed since, what was measured of the others still counts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from features.assemble import FINGERPRINT
from features.errors import ConfigError, DataError
from features.files import drop_torn_line
from serving.settings.shop import ModelSettings
from serving.strict import nearest
from training.bench.places import Place, course_of
from training.candidates import SourceCandidate
from training.course import WEIGHTS, Course
from training.evaluate import Task
from training.meter import Tell, package_versions
from training.methods import METHODS
from training.params import Named, named, overlaid
from training.recipes import MIN_CUSTOMERS, MIN_ITEMS, POPULARITY, Preset, menu, source_names
from training.spaces import Space, checked, read_space
from training.tuning import Scores, by_customer, judge

Floats = npt.NDArray[np.float64]
MORE = 4
"""Points drawn for each that is wanted, as some are alike where a space is small."""


class Line(msgspec.Struct, frozen=True):
    """A setting on a shop.

    Args:
        shop: its name.
        params: all parameters of the source, by dotted name.
        scores: task -> NDCG@20 of each customer, None where undefined.
        seconds: that fitting and judging took.
        why: it could not be fitted; then there are no scores.
    """

    shop: str
    params: dict[str, Any]
    scores: dict[Task, list[float | None]]
    seconds: float
    why: str = ""


class Results:
    """Lines of one file.

    Args:
        path: of the file, made where it is not there.
        fresh: whether what it holds is thrown away.

    Raises:
        DataError: it is no such file.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        drop_torn_line(path)
        try:
            lines = msgspec.json.Decoder(Line).decode_lines(path.read_bytes() if path.exists() else b"")
        except msgspec.DecodeError as error:
            raise DataError("the results cannot be read", where=str(path), got=str(error), hint="use --fresh") from None
        self._lines = {_key(line.shop, line.params): line for line in lines}

    def get(self, shop: str, params: Named) -> Line | None:
        """What was measured of a setting on a shop, where it was."""
        return self._lines.get(_key(shop, params))

    def add(self, line: Line) -> None:
        """Write a line at the end."""
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        self._lines[_key(line.shop, line.params)] = line


def space_of(source: str, preset: Preset) -> tuple[Space, Named]:
    """What may be tried of a source, and its default; weights of events are left at theirs.

    Real shops that lie open have purchases only: what a view or a wish weighs cannot be told of several data sets.

    Raises:
        ConfigError: there is no such source, or its space does not suit it.
    """
    if source not in source_names():
        raise ConfigError("no such source", got=source, hint=nearest(source, list(source_names())))
    listed = menu(ModelSettings(), preset=preset, customers=MIN_CUSTOMERS, items=MIN_ITEMS, texts=True)
    spec = next(spec for spec in listed.sources if spec.name == source)
    written, where = read_space(spec.method)
    space = {key: dimension for key, dimension in written.items() if not key.startswith(WEIGHTS)}
    checked(space, spec.params, lambda params: msgspec.convert(params, METHODS[spec.method].params), where)
    flat = named(spec.params)
    return space, {key: flat[key] for key in space}


def settings_of(space: Space, default: Named, count: int, seed: int) -> list[Named]:
    """The default, and different points of the space by a scrambled Sobol sequence (Matoušek 1998).

    Those of a larger count begin with those of a smaller one: a run with more settings goes on where another ended.

    Args:
        space: what may be tried.
        default: the first setting.
        count: of settings, the default included; fewer where the space does not hold as many.
        seed: of the scrambling.
    """
    power = int(np.ceil(np.log2(MORE * count)))
    points = qmc.Sobol(len(space), scramble=True, rng=seed).random_base2(power)
    found = [default]
    for point in points.tolist():
        setting = {key: dimension.at(share) for (key, dimension), share in zip(space.items(), point, strict=True)}
        if len(found) < count and setting not in found:
            found.append(setting)
    return found


def tried(
    source: str, data: str, places: Sequence[Place], settings: Sequence[Named], space: Space, *, preset: Preset,
    folder: Path, fresh: bool, tell: Tell,
) -> tuple[Floats, list[str]]:  # fmt: skip
    """What each setting did on a data set.

    Args:
        source: to try.
        data: name of the data set.
        places: its shops.
        settings: the default first.
        space: that they are of.
        preset: gives what the settings do not name.
        folder: of results.
        fresh: whether earlier results are thrown away.
        tell: hears `(what, done, total)`.

    Returns:
        float64[settings, customers], what each customer adds to the objective, NaN where the setting cannot be fitted;
        and sentences.

    Raises:
        DataError: the default cannot be fitted, or the file of results cannot be read.
    """
    courses = [course_of(place, source, preset, space, settings[0]) for place in places]
    results = Results(folder / source / f"{data}-{_facts(courses)}.jsonl", fresh=fresh)
    notes, rows, kept = [], [], 0
    for number, setting in enumerate(settings):
        lines = []
        for place, course in zip(places, courses, strict=True):
            tell(f"{source} on {data}", number, len(settings))
            earlier = results.get(place.name, _whole(course, setting))
            kept += earlier is not None
            lines.append(earlier or measured(place, course, setting))
            if earlier is None:
                results.add(lines[-1])
        rows.append(_scores(lines))
        failed = next((line.why for line in lines if line.why), "")
        if failed and not number:
            raise DataError(f"the default cannot be fitted: {failed}", where=data)
        notes += [f"{name_of(number)} of {source} cannot be fitted on {data}: {failed}."] if failed else []
    tell(f"{source} on {data}", len(settings), len(settings))
    if kept:
        of = len(settings) * len(places)
        notes.append(f"{source} on {data}: {kept} of {of} results are of earlier calls; --fresh measures again.")
    customers = sum(len(place.truth) for place in places)
    return np.stack([np.full(customers, np.nan) if row is None else by_customer(row) for row in rows]), notes


def measured(place: Place, course: Course, setting: Named) -> Line:
    """Fit a setting on a shop and judge it; where it cannot be fitted, why."""
    start, params, why = time.perf_counter(), _whole(course, setting), ""
    scores: Scores | None = None
    try:
        scores = judge(course, course.subject.stage(setting), course.parts)
    except (DataError, ConfigError) as error:
        why = error.line()
    told: dict[Task, list[float | None]] = {
        task: [score if np.isfinite(score) else None for score in each.tolist()]
        for task, each in (scores or {}).items()
    }
    return Line(place.name, params, told, round(time.perf_counter() - start, 3), why)


def name_of(number: int) -> str:
    """How a setting is called."""
    return f"setting-{number}" if number else "default"


def _whole(course: Course, setting: Named) -> dict[str, Any]:
    return named(overlaid(course.subject.defaults, setting, where=course.subject.name))


def _scores(lines: Sequence[Line]) -> Scores | None:
    """Task -> float64[customers of all shops]; None where one of them could not be fitted."""
    if any(line.why for line in lines):
        return None
    plain: Mapping[Task, list[float | None]] = {
        task: [score for line in lines for score in line.scores[task]] for task in lines[0].scores
    }
    return {task: np.array(scores, np.float64) for task, scores in plain.items()}  # None becomes NaN


def _facts(courses: Sequence[Course]) -> str:
    """Twelve hex digits of what results depend on beside the setting: results of another data set are other ones."""
    of_shops = []
    for course in courses:
        assert isinstance(course.subject, SourceCandidate)
        floor = None if course.subject.name == POPULARITY else course.subject.floor
        of_shops.append((course.material.data_hash, course.window, course.parts[0].subjects.tolist(), floor))
    facts = (of_shops, courses[0].metric, courses[0].tasks, FINGERPRINT, package_versions()["kokyaku"])
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()[:12]


def _key(shop: str, params: Named) -> bytes:
    return msgspec.json.encode((shop, dict(params)), order="sorted")
