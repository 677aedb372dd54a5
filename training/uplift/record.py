"""What an uplift study leaves in MLflow: options, figures, tables, pictures, page and cards. Never a person's row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import orjson

from training import plots
from training.intervals import Interval
from training.meter import Meter, package_versions
from training.plots import Mark
from training.tracking import Run, Value
from training.uplift import shown
from training.uplift.balance import DIFFERENT
from training.uplift.card import FILES, card
from training.uplift.options import StudyOptions
from training.uplift.report import UpliftReport, check_rows, headline, html, markdown
from training.uplift.sensitivity import sensitivities
from training.uplift.study import Study

NO_OVERRIDE = "none"
"""Of the tag `kokyaku.overridden`."""


def log_wanted(run: Run, options: StudyOptions, settings: Mapping[str, Value], inputs: list[dict[str, Any]]) -> None:
    """What was asked, of which imports, with which packages: enough to do it again. Also stands in a run that fails."""
    run.log_params({
        **settings,
        **{f"worth.{reward}": each for reward, each in options.worth.items()},
        **{f"cost.{action}": each for action, each in options.costs.items()},
        **{f"guard.{reward}": each for reward, each in options.guards.items()},
        **{f"monotone.{column}": each for column, each in options.outcome_monotone.items()},
        **{f"effect-monotone.{column}": each for column, each in options.effect_monotone.items()},
        **{
            name: getattr(options, name)
            for name in ("budget", "tier", "floor", "cautious", "folds", "seed", "permutations")
        },
        "overridden": ", ".join(options.overridden) or NO_OVERRIDE,
        **{f"version.{name}": version for name, version in package_versions().items()},
    })  # fmt: skip
    run.tag("kokyaku.overridden", ", ".join(options.overridden) or NO_OVERRIDE)
    run.log_text("inputs.json", orjson.dumps(inputs, option=orjson.OPT_INDENT_2).decode())


def log_study(run: Run, found: Study, meter: Meter) -> None:
    """The ruling as tags and JSON, every figure with the ends of its interval, and the tables behind the page."""
    ruling = found.ruling
    run.tag("kokyaku.ships", ruling.ships)
    run.tag("kokyaku.learner", found.challenger.learner)
    run.tag("kokyaku.action", str(found.log.actions[ruling.action] or "nothing"))
    run.tag("outcome", headline(found))
    run.log_metrics(figures_of(found))
    run.log_metrics({f"seconds/{step.name}": step.seconds for step in meter.steps})
    run.log_text("ruling.json", msgspec.json.format(msgspec.json.encode(ruling), indent=2).decode())
    rows = check_rows(found)
    run.log_table(
        "tables/checks.csv", ("check", "verdict", "figure", "fails beyond", "what was found", "what to do"),
        [[each.name, said, each.figure, each.threshold, each.sentence, each.remedy] for each, said in rows],
    )  # fmt: skip
    run.log_table(
        "tables/claims.csv", ("what had to hold", "holds", "limit", *_ENDS),
        [[each.what, each.passed, each.limit, *_cells(each.found)] for each in ruling.claims],
    )  # fmt: skip
    run.log_table("tables/values.csv", ("way of deciding", *_ENDS), [
        *([name, *_cells(each)] for name, each in ruling.values.items()),
        *([f"proposal of {each.learner}", *_cells(each.value.interval)] for each in found.proposals),
    ])  # fmt: skip
    parts = ("qini", "autoc", "gain", "slope")
    run.log_table(
        "tables/learners.csv",
        ("learner", "action", "reward", *(f"{part} {end}" for part in parts for end in _ENDS), "placebo percentile"),
        [
            [each.learner, each.action, each.reward,
             *(cell for part in parts for cell in _cells(getattr(each, part).interval)), each.placebo]
            for each in found.measured
        ],
    )  # fmt: skip


def figures_of(found: Study) -> dict[str, float]:
    """`value/...`, `claim/...`, `check/...` and `reward/action/learner/...`, with `/low` and `/high`."""
    whole: dict[str, Interval] = {f"value/{name}": each for name, each in found.ruling.values.items()}
    whole |= {f"proposal/{each.learner}": each.value.interval for each in found.proposals}
    whole |= {f"claim/{each.what}": each.found for each in found.ruling.claims}
    for each in found.measured:
        key = f"{each.reward}/{each.action}/{each.learner}"
        whole |= {f"{key}/{part}": getattr(each, part).interval for part in ("qini", "autoc", "gain", "slope")}
    figures = {f"check/{check.name}": check.figure for check in found.checks}
    whole["policy/by-blocks"] = found.by_blocks.interval
    figures |= {f"{each.reward}/{each.action}/{each.learner}/placebo": each.placebo for each in found.measured}
    figures |= {"data/decisions": float(len(found.log)), "data/subjects": float(len(np.unique(found.log.subject)))}
    for name, interval in whole.items():
        figures |= {name: interval.value, f"{name}/low": interval.low, f"{name}/high": interval.high}
    return figures


def draw(found: Study) -> dict[str, bytes]:
    """The plots of the page, by name."""
    pairs, unit = shown.pairs(found), shown.unit(found)
    gained = f"gained {unit}" if "net" in unit or "less" in unit else f"gained {unit}, beyond doing nothing"
    by_action, effective = shown.weights(found)
    return {
        "values": plots.values(shown.value_marks(found), unit=unit, best=_best_single(found)),
        "qini": plots.qini_curves({shown.panel(found, *pair): shown.qini_lines(found, *pair) for pair in pairs}),
        "gain": plots.gains(
            shown.gain_lines(found), shown.gain_points(found), spent=shown.spending(found)[1], gained=gained
        ),
        "tenths": plots.effect_tenths({
            shown.panel(found, *pair): [
                (tenth.predicted, Mark("", tenth.observed.value, tenth.observed.low, tenth.observed.high))
                for tenth in shown.tenths(found, *pair)
            ]
            for pair in pairs
        }, unit="effect a decision"),
        "love": plots.love(shown.gaps(found), limit=DIFFERENT),
        "weights": plots.weights(by_action, effective=effective),
    }  # fmt: skip


def log_report(run: Run, report: UpliftReport) -> None:
    """The page, its pictures, the cards, tiers and blocks as tables, and the short form at the top of the run."""
    for name, picture in report.plots.items():
        run.log_file(f"plots/{name}.png", picture)
    run.log_text("report.html", html(report))
    for language, file in FILES.items():
        run.log_text(file, card(report, language))
    if report.tiers:
        run.log_table("tables/tiers.csv", ("tier", "customers", "of", *_ENDS), [
            [tier.tier, tier.subjects, name, *_cells(each)]
            for tier in report.tiers
            for name, each in {**tier.effects, "the policy": tier.policy}.items()
        ])  # fmt: skip
    if report.blocked:
        run.log_table("tables/blocked.csv", ("action", "group", "is a tier", "decisions", *_ENDS), [
            [each.action, each.who, each.tier, each.decisions, *_cells(each.effect)] for each in report.blocked
        ])  # fmt: skip
    if unseen := sensitivities(report.found):
        run.log_table(
            "tables/sensitivity.csv",
            ("action", "reward", *_ENDS, *(f"risk ratio {end}" for end in _ENDS), "e-value", "e-value of the end",
             "robustness", "robustness of the end"),
            [[each.action, each.reward, *_cells(each.effect), *_cells(each.ratio), *each.e_value, *each.robustness]
             for each in unseen],
        )  # fmt: skip
    if (folder := report.policy.folder) is not None:
        run.tag("kokyaku.policy", report.policy.name)
        for part in sorted(folder.iterdir()):
            run.log_file(f"policy/{report.policy.name}/{part.name}", part.read_bytes())
    run.describe(markdown(report))


_ENDS = ("value", "low", "high")


def _cells(interval: Interval) -> list[Value]:
    return [interval.value, interval.low, interval.high]


def _best_single(found: Study) -> float:
    defined = [each.value for name, each in found.ruling.values.items() if name != "policy" and np.isfinite(each.value)]
    return max(defined, default=np.nan)
