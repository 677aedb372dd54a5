"""When which categories are looked at on which device, for `serving.questions.rarity`.

A look is that somebody looks at a category on a device in one hour, however often. Counts of hours are smoothed over
their neighbours by (1, 2, 1) / 4 around the clock, and drawn from the category towards its department and from that
towards the shop, with strengths that give the latest quarter of looks the highest likelihood:

    alpha(category) = looks + min(strength, size of the department's) x p(department)

What is published of an hour is the 95 % upper end of the share of hours at least as rare, as exact intervals have it
(Clopper & Pearson 1934): as if one more look had fallen there. A category of few looks has the spread of few, unless
categories are known to differ little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from features.covariates import LOOKS
from features.ids import Array, Vocabulary
from features.kinds import EventType
from features.moments import HOUR, local_columns
from serving.questions import HOURS, STEP, Hours, rarity
from training.fitting import Cut
from training.prior import STRENGTHS
from training.uplift.log import Doubles, Whole

CONFIDENCE = 0.95
LAST = 0.25
"""Share of looks, the latest, that strengths are chosen on."""
EVEN = 1.0
"""Looks of each hour that stand beside the shop's own."""
KINDS = tuple(int(EventType[name.upper()]) for name in LOOKS)
ALIKE = (*STRENGTHS, np.inf)
"""Strengths that are tried; with the last a category has no hours of its own."""


@dataclass(frozen=True)
class Looks:
    """One row a person, category, device and hour.

    Args:
        time: int64[n], the hour, as an instant.
        hour: int64[n], local, from 0.
        device: int64[n].
        path: int64[n], place among `paths`.
        paths: of categories.
        devices: words.
    """

    time: Whole
    hour: Whole
    device: Whole
    path: Whole
    paths: tuple[str, ...]
    devices: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.time)


def hour_arrays(looks: Looks) -> dict[str, Array]:
    """`context.hours.*` of a bundle (`serving.questions.Hours`); none without looks."""
    if not len(looks):
        return {}
    names, size, tail = tables_of(looks)
    arrays: dict[str, Array] = {"rarity": tail.astype(np.float32), "looks": size}
    arrays |= Vocabulary.of(names).arrays("paths") | Vocabulary.of(looks.devices).arrays("devices")
    return {f"{HOURS}.{name}": array for name, array in arrays.items()}


def looks_of(cut: Cut, time_zone: str) -> Looks:
    """All looks that tell their device and category.

    Args:
        cut: what was known.
        time_zone: where hours are read off, the one that requests are.
    """
    events, device, paths = cut.known.events, cut.looked_on, cut.categories
    nothing = np.empty(0, np.int64)
    if device is None or not paths:
        return Looks(nothing, nothing, nothing, nothing, paths, ())
    category = np.append(np.asarray(cut.items["shared.category"], np.int64), -1)[events.item]
    named = np.append(np.array([bool(path) for path in paths]), False)[category]
    rows = np.flatnonzero(np.isin(events.type, KINDS) & named & (device.code >= 0))
    hour, _, _ = local_columns(events.time[rows], time_zone)
    told = [cut.known.subject_rows()[rows], category[rows], device.code[rows], events.time[rows] // HOUR, hour]
    _, path, code, time, local = np.unique(np.stack([each.astype(np.int64) for each in told], axis=1), axis=0).T
    return Looks(time * HOUR, local, code, path, paths, device.names)


def tables_of(looks: Looks) -> tuple[list[str], Whole, Doubles]:
    """Names of categories and departments, int64[rows, devices] looks, float64[rows, devices, 24] tails.

    The last row is the shop's.
    """
    levels, strengths = _levels(looks), choose(looks)
    names: dict[str, int] = {}
    for path in [*levels.departments, *looks.paths]:
        if path:
            names.setdefault(path, len(names))
    alphas = posteriors(levels, strengths)
    tails = {name: upper_tails(alpha) for name, alpha in zip(("shop", "department", "category"), alphas, strict=True)}
    size = np.zeros((len(names) + 1, len(looks.devices)), np.int64)
    tail = np.ones((*size.shape, 24))
    for place, path in enumerate(levels.departments):
        size[names[path]], tail[names[path]] = levels.department[place].sum(axis=1), tails["department"][place]
    for place, path in enumerate(looks.paths):
        if path and STEP in path:
            size[names[path]], tail[names[path]] = levels.category[place].sum(axis=1), tails["category"][place]
    size[-1], tail[-1] = levels.shop.sum(axis=1), tails["shop"]
    return list(names), size, tail


@dataclass(frozen=True)
class Levels:
    """Looks by hour.

    Args:
        category: float64[paths, devices, 24].
        department: float64[departments, devices, 24].
        shop: float64[devices, 24].
        departments: first steps of paths.
        of: int64[paths], the department of each.
    """

    category: Doubles
    department: Doubles
    shop: Doubles
    departments: list[str]
    of: Whole


def _levels(looks: Looks, rows: Whole | slice = slice(None)) -> Levels:
    shape = (len(looks.paths), len(looks.devices), 24)
    category = np.zeros(shape)
    np.add.at(category, (looks.path[rows], looks.device[rows], looks.hour[rows]), 1.0)
    first = [path.split(STEP)[0] for path in looks.paths]
    departments = sorted({each for each in first if each})
    of = np.array([departments.index(each) if each else 0 for each in first], np.int64)
    department = np.zeros((len(departments), *shape[1:]))
    np.add.at(department, of, category)
    return Levels(category, department, category.sum(axis=0), departments, of)


def choose(looks: Looks) -> tuple[float, float]:
    """The strengths of departments and of categories that foretell the hours of the latest looks best."""
    later = looks.time >= np.quantile(looks.time, 1 - LAST, method="higher")
    if later.all():
        return np.inf, np.inf
    before, held = _levels(looks, np.flatnonzero(~later)), _levels(looks, np.flatnonzero(later))

    def likely(of_department: float, of_category: float) -> float:
        _, department, category = posteriors(before, (of_department, of_category))
        alpha, count = (department, held.department) if of_category == np.inf else (category, held.category)
        return float((count * np.log(alpha / alpha.sum(axis=2, keepdims=True))).sum())

    first = max(ALIKE, key=lambda strength: likely(strength, np.inf))
    return first, max(ALIKE, key=lambda strength: likely(first, strength))


def posteriors(levels: Levels, strengths: tuple[float, float]) -> tuple[Doubles, Doubles, Doubles]:
    """Dirichlet parameters by hour of the shop, of departments and of categories, smoothed around the clock."""
    shop = smoothed(levels.shop) + EVEN
    department = below(levels.department, shop[None], strengths[0])
    return shop, department, below(levels.category, department[levels.of], strengths[1])


def below(counts: Doubles, above: Doubles, strength: float) -> Doubles:
    """float64[n, devices, 24]: parameters of cells from those above; no surer of these than they are themselves.

    With an infinite strength a cell is the one above.
    """
    size = above.sum(axis=2, keepdims=True)
    if strength == np.inf:
        return np.broadcast_to(above, counts.shape)
    found: Doubles = smoothed(counts) + above / size * np.minimum(strength, size)
    return found


def smoothed(counts: Doubles) -> Doubles:
    """Counts of hours, each half its own and a quarter of each neighbour's; midnight is beside 23."""
    found: Doubles = (np.roll(counts, 1, axis=-1) + 2 * counts + np.roll(counts, -1, axis=-1)) / 4
    return found


def upper_tails(alpha: Doubles) -> Doubles:
    """float64[..., 24]: upper ends of the share of hours at least as rare as each: a Beta with one more look in it."""
    rarer = alpha[..., None, :] <= alpha[..., :, None] * (1 + 1e-12)
    part, total = (rarer * alpha[..., None, :]).sum(axis=-1), alpha.sum(axis=-1, keepdims=True)
    rest = np.maximum(total - part, 0.0)
    found: Doubles = np.where(rest > 1e-9 * total, betaincinv(part + 1, np.maximum(rest, 1e-9), CONFIDENCE), 1.0)
    return found


def unusual_shares(arrays: Mapping[str, Array], looks: Looks, thresholds: tuple[float, ...]) -> dict[str, Doubles]:
    """How often looks fall in unusual moments: department -> float64[thresholds], and of the shop by the name `all`.

    Args:
        arrays: as `hour_arrays` gives.
        looks: those that are judged.
        thresholds: of `serving.questions.Question.unusual`.
    """
    hours = Hours.from_arrays(arrays)
    cells = np.stack([looks.path, looks.device, looks.hour], axis=1)
    distinct, where = np.unique(cells, axis=0, return_inverse=True)
    value = np.array([
        rarity(hours, looks.devices[device], hour, looks.paths[path]).value for path, device, hour in distinct.tolist()
    ])[where.ravel()]  # fmt: skip
    first = np.array([path.split(STEP)[0] for path in looks.paths])[looks.path]
    groups = {"all": np.ones(len(looks), np.bool_)} | {str(name): first == name for name in np.unique(first)}
    return {
        name: np.array([float((value[rows] <= threshold).mean()) for threshold in thresholds])
        for name, rows in groups.items()
    }
