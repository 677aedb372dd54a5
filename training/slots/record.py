"""What a study of slots leaves in MLflow: rulings, figures and tables of actions. Never a person's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, fields

import msgspec

from training.meter import Meter
from training.offpolicy.replay import Replay
from training.slots.shown import ActionRow, action_rows, figures_of, headline, markdown
from training.slots.study import SlotStudy
from training.tracking import Run


def log_slots(run: Run, found: SlotStudy, page: Replay | None, written: Mapping[str, str], meter: Meter) -> None:
    """The rulings as tags and JSON, every figure with its interval, and a table of actions a slot.

    Args:
        run: an open run.
        found, page, written: as in `training.slots.training.SlotsTrained`.
        meter: of the steps.
    """
    run.tag("outcome", " ".join(headline(slot) for slot in found.slots))
    for slot in found.slots:
        name = slot.place.slot
        run.tag(f"kokyaku.ships.{name}", slot.ruling.ships)
        run.log_text(f"ruling.{name}.json", msgspec.json.format(msgspec.json.encode(slot.ruling), indent=2).decode())
        for reward in found.sized:
            rows = [list(astuple(row)) for row in action_rows(found, slot, reward)]
            run.log_table(f"tables/{name}.{reward}.csv", [field.name for field in fields(ActionRow)], rows)
    for slot_name, policy in written.items():
        run.tag(f"kokyaku.policy.{slot_name}", policy)
    run.log_table(
        "tables/checks.csv", ("check", "verdict", "figure", "fails beyond", "what was found", "what to do"),
        [[e.name, e.verdict, e.figure, e.threshold, e.sentence, e.remedy] for e in found.checks],
    )  # fmt: skip
    run.log_metrics(figures_of(found, page))
    run.log_metrics({f"seconds/{step.name}": step.seconds for step in meter.steps})
    run.describe(markdown(found, page, written))
