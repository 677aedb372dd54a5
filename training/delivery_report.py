"""Deliveries in a training run: the arrays of the bundle, and what the report says, shows and logs of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.ids import Array
from features.orders import OrderLine
from serving.delivery import STATES
from training import plots
from training.delivery import COVERAGE, LEAST, Learned, learn, window_of
from training.delivery_lines import counted, kinds_of, read_lines
from training.delivery_proof import EVERYTHING, METHODS, OURS, Part, Proof, prove, told
from training.evidence import Evidence
from training.fitting import Cut
from training.material import Material
from training.plots import Mark
from training.session import Session
from training.tracking import Run, Value

ROLES: Mapping[str, str] = {OURS: "challenger"}
ANCHORS = ("began", "promise")


def delivery_arrays(session: Session, material: Material, cut: Cut) -> dict[str, Array]:
    """`delivery.*` of a bundle; nothing where too little was delivered.

    Args:
        session: the run.
        material: what it reads.
        cut: what the bundle is fitted on; its rows and category codes are meant.
    """
    lines = _lines(session, material)
    category = cut.items["shared.category"].view(np.int32)
    with session.meter.step("fit deliveries"):
        learned = learn(
            lines, kinds_of(material.dataset, cut.as_of, items=cut.known.items, category=category), cut.as_of
        )
    return {} if learned is None else dict(learned.arrays)


def of_deliveries(session: Session, material: Material) -> Evidence:
    """Measure on the last window, log and tell; a sentence where there is too little."""
    lines = _lines(session, material)
    if not lines:
        return Evidence(["No delivery is predicted: the shop has no order lines with states."])
    start = material.as_of - window_of(lines, material.as_of)
    with session.meter.step("judge deliveries"):
        proof = prove(lines, kinds_of(material.dataset, start), material.as_of)
    if proof is None:
        return Evidence([too_little(lines)])
    log_deliveries(session.run, proof)
    drawn = {"deliveries": draw_deliveries(proof)} if proof.parts else {}
    return Evidence(told(proof), drawn)


def too_little(lines: list[OrderLine]) -> str:
    """Why nothing is measured, as a sentence."""
    done = counted(lines)["delivered"]
    return (
        f"Predicted deliveries are not measured: {done:,} lines were delivered, and {LEAST} are needed before the "
        "last two windows."
    )


def log_deliveries(run: Run, proof: Proof) -> None:
    """Figures and tables: what was measured, and what was chosen for each state."""
    run.log_table("tables/deliveries.csv", ("slice", "method", *FIGURES), [
        [part.slice, part.method, *figures_of(part).values()] for part in proof.parts
    ])  # fmt: skip
    run.log_table("tables/delivery-choices.csv", CHOICES, choices_of(proof.learned))
    found = {f"delivery/lines/{name}": float(count) for name, count in proof.counts.items()}
    found |= {"delivery/undecided": proof.undecided, "delivery/not delivered": proof.open_share}
    for part in proof.parts:
        where = "" if part.slice == EVERYTHING else f"/{part.slice.replace(': ', '/')}"
        found |= {f"delivery/{part.method}{where}/{name}": value for name, value in figures_of(part).items()}
    run.log_metrics({name: value for name, value in found.items() if np.isfinite(value)})


FIGURES = ("coverage", "low", "high", "mean width", "median width", "matched width", "error", "score", "after",
           "questions", "orders")  # fmt: skip
"""What is told of each part, in this order."""


def figures_of(part: Part) -> dict[str, float]:
    """The figures of a part by their names (`FIGURES`)."""
    covered = part.coverage
    widths = (part.mean_width, part.median_width, part.matched_width)
    values = (covered.value, covered.low, covered.high, *widths, part.error, part.score, part.after,
              float(part.questions), float(covered.n))  # fmt: skip
    return dict(zip(FIGURES, values, strict=True))


CHOICES = ("state", "loss, state began", "loss, promise", "anchor", "prior", "misses before", "low", "high",
           "high if late", "answers")  # fmt: skip
"""What is told of what was chosen."""


def choices_of(learned: Learned) -> list[list[Value]]:
    """A row a state, as `CHOICES`: the prior is that of a category, the levels are those of the table."""
    choice, anchor = learned.choice, learned.arrays["delivery.anchor"].tolist()
    numbers: Any = (*choice.loss, choice.tilt, *learned.levels.T, learned.calibrated)
    began, promised, tilt, low, _, high, late, count = (each.tolist() for each in numbers)
    prior = [each.of_category for each in choice.priors]
    return [
        [
            state,
            began[row],
            promised[row],
            ANCHORS[anchor[row]],
            prior[row],
            tilt[row],
            low[row],
            high[row],
            late[row],
            count[row],
        ]
        for row, state in enumerate(STATES)
    ]


def draw_deliveries(proof: Proof) -> bytes:
    """Coverage by slice beside the mark that is meant, and widths."""
    return plots.intervals({
        method: [
            (Mark(name, part.coverage.value, part.coverage.low, part.coverage.high, ROLES.get(method, "baseline")),
             part.mean_width)
            for name in proof.slices
            if (part := proof.part(name, method)) is not None
        ]
        for method in METHODS
    }, meant=COVERAGE)  # fmt: skip


def _lines(session: Session, material: Material) -> list[OrderLine]:
    """Read once a run."""
    if session.order_lines is None:
        session.tell("read orders", 0, 1)
        session.order_lines = read_lines(material.dataset, material.as_of, material.unlearned)
        session.tell("read orders", 1, 1)
    return session.order_lines
