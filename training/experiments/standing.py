"""`kokyaku experiment report`: from a shop's log to an experiment's answer, its page and its look in MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import orjson

from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.moments import DAY, format_instant, to_datetime
from features.shop import Shop
from serving.config import load_config
from serving.tombstones import erased_of
from training import plots
from training.experiments.answer import (
    MONEY,
    Answer,
    effect_heads,
    effect_rows,
    facts,
    html,
    marks,
    slice_heads,
    slice_marks,
    slice_rows,
    verdicts,
)
from training.experiments.cohort import TRAITED, Asked, Entrants, enter, names
from training.experiments.collected import collect
from training.experiments.effects import Findings, judge
from training.experiments.traits import traits_of
from training.meter import Tell, package_versions
from training.session import silent
from training.tracking import Run, Tracking
from training.uplift.reading import opened

REPORT = "experiment report"
KIND, ABOUT, LOOKED = "kokyaku.kind", "kokyaku.experiment", "kokyaku.looked"
"""Tags of a run: that it is such a report, of which experiment, and what it looked at."""


def report(shop: Shop, asked: Asked, tell: Tell = silent) -> tuple[Answer, str]:
    """Read an experiment off the log, check it, compare its arms, and put the answer into the shop's MLflow store.

    Args:
        shop: whose.
        asked: which experiment, and how it is read.
        tell: hears the progress.

    Returns:
        The answer, and the id of its run.

    Raises:
        NotFoundError: no such experiment or outcome.
        DataError: nobody drew its arms, not with the same probability for everybody, or nobody was decided for.
        ConfigError: options that name what is not there or make no sense.
    """
    _check(asked)
    config, erased = load_config(shop.config), erased_of(shop)
    with opened(Dataset(shop.dataset), asked.as_of, TRAITED) as (duck, now):
        tell("read", 0, 3)
        known = erased.subject if erased else None
        entrants = enter(duck, now, asked, config.experiments, config.shop.holdout, known)
        if not len(entrants) and not entrants.left_out:  # said before it is counted as a look
            hint = "read later (--as-of), or import or sync what was decided"
            raise DataError("nobody was decided for yet", where=asked.name, got=format_instant(now), hint=hint)
        tell("read", 1, 3)
        collected = collect(duck, entrants, asked.outcomes, tuple(asked.guards), asked.before)
        tell("read", 2, 3)
        traits = traits_of(duck, entrants, {**_named(collected.before), **collected.placebos})
        tell("read", 3, 3)
    tracking = Tracking(shop)
    with tracking.run(f"{REPORT} {asked.name}", tags_of(shop, asked, now)) as run:
        look = look_of(tracking, asked, now)
        findings = judge(entrants, collected, traits, look, asked.guards)
        answer = answered(shop, asked, entrants, findings, config.shop.currency, collected.notes)
        _record(run, asked, answer, shop)
    return answer, run.id


def listed(shop: Shop) -> list[tuple[str, str, int]]:
    """Experiments of a shop: name, where it comes from, and looks so far; the permanent holdout first."""
    declared = load_config(shop.config).experiments
    with opened(Dataset(shop.dataset), None, TRAITED) as (duck, _):
        found = dict(names(duck))
    kinds = {Asked().name: "shop.toml", **dict.fromkeys(declared, "shop.toml")}
    kinds |= {name: "imported" if imported else "the log" for name, imported in found.items() if name not in kinds}
    looked = looks(Tracking(shop))
    return [(name, kind, len(looked.get(name, ()))) for name, kind in kinds.items()]


def look_of(tracking: Tracking, asked: Asked, now: int) -> int:
    """Which look this is, from 1. Who looks again at the same data with the same window sees nothing new: same look.

    A run counts also when it failed or was deleted afterwards: whoever looked has looked.
    """
    mine = looks(tracking).get(asked.name, [])
    return mine.index(_looked(asked, now)) + 1


def looks(tracking: Tracking) -> dict[str, list[str]]:
    """Experiment -> what was looked at, each once, oldest first."""
    found: dict[str, list[str]] = {}
    for tags in tracking.tagged(KIND, REPORT):
        seen = found.setdefault(tags[ABOUT], [])
        if tags[LOOKED] not in seen:
            seen.append(tags[LOOKED])
    return found


def answered(
    shop: Shop, asked: Asked, entrants: Entrants, findings: Findings, currency: str, notes: Iterable[str]
) -> Answer:
    """The findings with dates and pictures."""
    ends = [int(entrants.entered.min(initial=entrants.now)), int(entrants.entered.max(initial=0)) or entrants.now]
    last = np.minimum(entrants.entered + int((asked.days or 0) * DAY), entrants.now) if asked.days else entrants.now
    followed = float((last - entrants.entered).mean()) / DAY if len(entrants) else 0.0
    made = Answer(
        shop.id, asked.name, entrants, findings, currency, (_day(ends[0]), _day(ends[1]), _day(entrants.now - 1)),
        asked.days, asked.before, followed, tuple(notes),
    )  # fmt: skip
    return replace(made, plots=draw(findings, currency))


def draw(findings: Findings, currency: str) -> dict[str, bytes]:
    """The plots of the page, by name; none where there is no effect to show."""
    if not findings.effects:
        return {}
    first = findings.effects[0].outcome
    found = {"outcomes": plots.differences(marks(findings.effects), unit="change against the control, %")}
    if findings.slices:
        label = f"difference in {first} a subject" + (f", {currency}" if first in MONEY else "")
        found["slices"] = plots.differences(slice_marks(findings.effects, findings.slices), unit=label)
    return found


def _check(asked: Asked) -> None:
    for name, days in {"--days": asked.days, "--before": asked.before}.items():
        if days is not None and not 0 < days < 36_500:
            raise ConfigError("a number of days above 0", where=name, got=days)
    for arm, share in asked.shares.items():
        if not 0 < share < 1:
            raise ConfigError("a share between 0 and 1", where=f"--share {arm}", got=share)


def _named(before: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name} before": values for name, values in before.items()}


def tags_of(shop: Shop, asked: Asked, now: int) -> dict[str, str]:
    """By which a run is known as a look."""
    return {
        "kokyaku.shop": shop.id, "mlflow.source.name": "kokyaku experiment report", KIND: REPORT, ABOUT: asked.name,
        LOOKED: _looked(asked, now),
    }  # fmt: skip


def _looked(asked: Asked, now: int) -> str:
    """The data's end and the window: what makes two reports the same look."""
    return f"{format_instant(now)} {'all' if asked.days is None else f'{asked.days:g}'} days"


def _record(run: Run, asked: Asked, answer: Answer, shop: Shop) -> None:
    """What was asked and found: parameters, figures, tables, pictures and the page; never a subject's row."""
    findings, entrants = answer.findings, answer.entrants
    run.log_params({
        "experiment": asked.experiment, "outcomes": ", ".join(asked.outcomes), "days": asked.days,
        "before": asked.before, "as_of": None if asked.as_of is None else format_instant(asked.as_of),
        "control": answer.control, "look": findings.look, "confidence": findings.confidence,
        **{f"guard.{name}": limit for name, limit in asked.guards.items()},
        **{f"share.{arm}": share for arm, share in asked.shares.items()},
        **{f"version.{name}": version for name, version in package_versions().items()},
    })  # fmt: skip
    run.log_metrics(figures(answer))
    run.tag("outcome", " ".join(verdicts(answer))[:4000])
    counts = np.bincount(entrants.arm, minlength=len(entrants.arms)).tolist()
    run.log_table("tables/arms.csv", ("arm", "subjects"), list(zip(entrants.arms, counts, strict=True)))
    run.log_table(
        "tables/checks.csv", ("check", "verdict", "figure", "fails beyond", "what was found", "what to do"),
        [[each.name, each.verdict, each.figure, each.threshold, each.sentence, each.remedy]
         for each in findings.checks],
    )  # fmt: skip
    run.log_table("tables/effects.csv", effect_heads(answer.control), effect_rows(findings.effects))
    run.log_table("tables/slices.csv", slice_heads(), slice_rows(findings.slices))
    for name, picture in answer.plots.items():
        run.log_file(f"plots/{name}.png", picture)
    run.log_text("report.html", html(answer))
    imports = msgspec.to_builtins(Dataset(shop.dataset).manifest())["imports"]
    inputs = [{key: record[key] for key in ("id", "source", "at", "counts", "inputs")} for record in imports]
    run.log_text("inputs.json", orjson.dumps(inputs, option=orjson.OPT_INDENT_2).decode())
    run.describe("\n\n".join([*(f"**{sentence}**" for sentence in verdicts(answer)), *facts(answer)]))


def figures(answer: Answer) -> dict[str, float]:
    """`check/...`, `subjects/<arm>` and `<outcome>/<arm>` with `/low`, `/high`, `/saved` and `/p`."""
    entrants, findings = answer.entrants, answer.findings
    counts = np.bincount(entrants.arm, minlength=len(entrants.arms)).tolist()
    found = {f"subjects/{arm}": float(many) for arm, many in zip(entrants.arms, counts, strict=True)}
    found |= {f"check/{check.name}": check.figure for check in findings.checks}
    for each in findings.effects:
        key, interval = f"{each.outcome}/{each.arm}", each.found.found
        found |= {
            key: interval.value, f"{key}/low": interval.low, f"{key}/high": interval.high, f"{key}/p": each.p,
            f"{key}/saved": each.found.saved, f"{key}/relative": each.relative.value,
        }  # fmt: skip
    return found


def _day(instant: int) -> str:
    return f"{to_datetime(instant):%Y-%m-%d}"
