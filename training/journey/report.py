"""`kokyaku journey report`: from a shop's dataset to its journeys in figures, a page, and a run in MLflow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from features.errors import ConfigError
from features.journey import RULES, STAGES, StageRules
from features.moments import format_instant
from features.shop import Shop
from serving.tombstones import erased_of
from training.bench.rows import Row
from training.journey.figures import Figures, figures_of
from training.journey.reading import read
from training.journey.spells import Spells, spells_of
from training.journey.words import (
    GROUP_HEADS,
    MOVE_HEADS,
    OTHER,
    STAGE_HEADS,
    UNKNOWN,
    Report,
    facts,
    group_days,
    group_drops,
    group_rows,
    headline,
    move_rows,
    notes,
    stage_rows,
)
from training.known import Dimension
from training.meter import Tell, package_versions
from training.pages import pictures_of, rendered
from training.session import silent
from training.tracking import Tracking

KIND = "journey report"
MOST_GROUPS = 8
PICTURES = {"map": "The journey map"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is about.

    Args:
        since: changes from here on count; None: from the first that is known.
        until: what is known at this instant; None: just after the last event.
        by: what groups are told apart by; None: no groups.
        rules: the thresholds of the stages.
    """

    since: int | None = None
    until: int | None = None
    by: str | None = None
    rules: StageRules = RULES


def report_on(shop: Shop, asked: Asked, tell: Tell = silent) -> Report:
    """Read a shop's journeys and count them.

    Args:
        shop: whose.
        asked: which window and groups.
        tell: hears the progress.

    Raises:
        ConfigError: the window ends before it begins.
        DataError: no dataset, or nothing in it.
        NotFoundError: nothing is told apart by that name.
    """
    if asked.since is not None and asked.until is not None and asked.since >= asked.until:
        _refuse(asked.since, asked.until)
    erased = erased_of(shop)
    all_, until = read(Dataset(shop.dataset), asked.until, asked.by, erased.subject if erased else None)
    spells = spells_of(all_, until, asked.rules, tell)
    since = int(spells.start.min(initial=until)) if asked.since is None else asked.since
    if since >= until:
        _refuse(since, until)
    customer = np.fromiter((subject.startswith("c:") for subject in all_.subjects), bool, len(all_))
    return Report(
        shop.id, since, until, figures_of(spells, customer, since, until), asked.by,
        groups_of(spells, all_.group, customer, since, until), gone=all_.gone,
    )  # fmt: skip


def _refuse(since: int, until: int) -> None:
    hint = f"until is {format_instant(until)}"
    raise ConfigError("the window ends before it begins", where="--since", got=format_instant(since), hint=hint)


def groups_of(
    spells: Spells, group: Dimension | None, customer: npt.NDArray[np.bool_], since: int, until: int
) -> dict[str, Figures]:
    """The largest groups, all others together, and those of whom it is not known.

    A group of one is a person, and what tells it apart may be a name: such are among the others.
    """
    if group is None:
        return {}
    subjects = np.unique(spells.subject)
    code = group.code[subjects]
    counts = np.bincount(code[code >= 0], minlength=len(group.names))
    largest = np.argsort(-counts, kind="stable")[:MOST_GROUPS]
    kept = [int(place) for place in largest if counts[place] > 1]
    masks = {group.names[place]: group.code == place for place in kept}
    masks[OTHER] = (group.code >= 0) & ~np.isin(group.code, kept)
    masks[UNKNOWN] = group.code < 0
    return {
        name: figures_of(spells.take(mask[spells.subject]), customer, since, until)
        for name, mask in masks.items() if mask[subjects].any()
    }  # fmt: skip


def record(shop: Shop, asked: Asked, report: Report, picture: bytes) -> str:
    """Put a report into the shop's MLflow store: figures, tables, the map and the page, never a person's row.

    Returns:
        The id of the run.
    """
    tags = {"kokyaku.shop": shop.id, "mlflow.source.name": "kokyaku journey report", "kokyaku.kind": KIND}
    with Tracking(shop).run(KIND, tags) as run:
        run.log_params({
            "since": format_instant(report.since), "until": format_instant(report.until), "by": asked.by,
            **{f"rules.{name}": getattr(asked.rules, name) for name in StageRules.__slots__},
            **{f"version.{name}": version for name, version in package_versions().items()},
        })  # fmt: skip
        run.log_metrics({
            f"{row.subject}/{row.metric}{end}": value
            for row in rows_of(report) if row.task == "all"
            for end, value in {"": row.value, "/low": row.low, "/high": row.high}.items() if value is not None
        })  # fmt: skip
        run.log_table("tables/stages.csv", STAGE_HEADS, stage_rows(report.everybody))
        run.log_table("tables/moves.csv", MOVE_HEADS, move_rows(report.everybody))
        for name, _, rows in group_tables(report):
            run.log_table(f"tables/groups-{name}.csv", (str(asked.by), *GROUP_HEADS), rows)
        run.log_file("plots/journey.png", picture)
        run.log_text("report.html", html(report, picture))
        run.describe("\n\n".join([f"**{headline(report)}**", *notes(report), *facts(report)]))
        return run.id


def group_tables(report: Report) -> list[tuple[str, str, list[tuple[str, ...]]]]:
    """Short name, heading and rows of what groups are compared by; none without groups."""
    if not report.groups:
        return []
    return [
        ("sizes", "Where people stand at the end, share of the group", group_rows(report)),
        ("days", "Median time in a stage", group_days(report)),
        ("drops", "Drop-off, 95 %", group_drops(report)),
    ]


def html(report: Report, picture: bytes) -> str:
    """The page, self-contained: the map is inside and nothing is fetched."""
    return rendered(
        "journey/report.html.j2", report=report, headline=headline(report), notes=notes(report), facts=facts(report),
        pictures=pictures_of({"map": picture}, PICTURES), stage_heads=STAGE_HEADS, stages=stage_rows(report.everybody),
        move_heads=MOVE_HEADS, moves=move_rows(report.everybody), group_heads=(report.by, *GROUP_HEADS),
        groups=group_tables(report), accepted=True,
    )  # fmt: skip


def rows_of(report: Report) -> list[Row]:
    """Every figure as a row: task `all` or the group, subject the stage."""
    tasks = {"all": report.everybody, **{f"{report.by}={name}": found for name, found in report.groups.items()}}
    return [row for task, found in tasks.items() for row in _rows(report.shop, task, found)]


def _rows(shop: str, task: str, found: Figures) -> list[Row]:
    rows = [Row("journey", shop, task, "all", "people", found.subjects)]
    for place, name in enumerate(STAGES):
        low, middle, high = found.days[place].tolist()
        drop = found.drops[place]
        rows += [
            Row("journey", shop, task, name, "customers", int(found.customers[place])),
            Row("journey", shop, task, name, "visitors", int(found.visitors[place])),
            Row("journey", shop, task, name, "begun", int(found.begun[place])),
            Row("journey", shop, task, name, "days-quarter", _reached(low), unit="d"),
            Row("journey", shop, task, name, "days-median", _reached(middle), unit="d"),
            Row("journey", shop, task, name, "days-three-quarters", _reached(high), unit="d"),
            Row("journey", shop, task, name, "drop-off", drop.value, drop.low, drop.high),
        ]
        left = int(found.moves[place].sum())
        for other, many in zip(STAGES, found.moves[place].tolist(), strict=True):
            if many:
                rows += [
                    Row("journey", shop, task, name, f"to-{other}", many),
                    Row("journey", shop, task, name, f"to-{other}-share", many / left),
                ]
    return rows


def _reached(days: float) -> float:
    """A time that the data do not reach is not defined as a figure."""
    return days if np.isfinite(days) else float("nan")
