"""The end of a training run: figures, tables, plots and the report in MLflow, and what the run ended with."""

from __future__ import annotations

from dataclasses import dataclass

from training import evidence, journal
from training.delivery_report import of_deliveries
from training.gate import Verdict, beside_baselines
from training.journal import Judged
from training.material import Material
from training.report import Report, describe, findings
from training.selection import Choice
from training.session import Session, learned_by
from training.tracking import Version
from training.variety import told


@dataclass(frozen=True)
class Outcome:
    """What a run ended with.

    Args:
        verdict: the gate's on the challenger.
        version: the registered version; None when nothing new was published.
        promoted: whether it serves now.
        report: all that the report shows.
        run_id: of the MLflow run.
    """

    verdict: Verdict
    version: Version | None
    promoted: bool
    report: Report
    run_id: str


def conclude(
    session: Session, material: Material, judged: Judged, choice: Choice, verdict: Verdict,
    version: Version | None, promoted: bool,
) -> Outcome:  # fmt: skip
    """Log all figures, tables, plots and the report."""
    settings = session.config.gate
    session.tell("plots and report", 0, 1)
    with session.meter.step("plots and report"):
        journal.log_models(session.run, judged, verdict, settings)
        learned = learned_by(session, material, judged.recipes[verdict.winner])
        journal.log_learned(session.run, learned)
        drawn = journal.draw(judged, verdict, material, settings, learned, choice)
        proof = evidence.of_winner(session, material, judged, verdict.winner)
        arrivals = of_deliveries(session, material)
    windows = {"Tuned on": material.tuned, "Judged on": material.judged}
    report = Report(
        shop=session.config.shop.name, verdict=verdict, outcome=outcome_of(version, promoted), as_of=material.as_of,
        windows={name: (window.start, window.end) for name, window in windows.items() if window},
        counts=material.counts(), recipes={name: describe(recipe) for name, recipe in judged.recipes.items()},
        findings=[
            *tuned_in(session, choice), *findings(beside_baselines(judged.entrants, settings)), *told(choice.variety),
            *proof.sentences, *arrivals.sentences,
        ],
        notes=session.notes, steps=session.meter.steps, plots={**drawn, **proof.plots, **arrivals.plots},
    )  # fmt: skip
    journal.log_tables(session.run, verdict, choice, session.meter)
    journal.log_report(session.run, report)
    session.run.log_metrics({f"winner/{task}": value for task, value in verdict.figures(verdict.winner).items()})
    session.tell("plots and report", 1, 1)
    return Outcome(verdict, version, promoted, report, session.run.id)


def tuned_in(session: Session, choice: Choice) -> list[str]:
    """Which sources and rankers had tuned parameters instead of their defaults, as a sentence."""
    there = {*(spec.name for spec in choice.sources), *(recipe.name for recipe in choice.recipes)}
    names = [name for name in session.tuned if name in there]
    return [f"Tuned parameters are used of {', '.join(names)} ({session.shop.tuned.name})."] if names else []


def outcome_of(version: Version | None, promoted: bool) -> str:
    """What became of it, as a sentence."""
    if version is None:
        return "Nothing new was published: what serves was made by the same recipe from the same data."
    if promoted:
        return f"Version {version.number} serves now."
    return f"Version {version.number} is registered and does not serve; kokyaku promote {version.number} lets it serve."
