"""Every rule of `kokyaku bench invariants` finds the fault that it is there for: serving is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from serving import caps, drawing, filling, held, hydrate, offered, pages, repurchase, saying, shelf, timing
from serving.decision_log import DecisionLog
from serving.person import Consents
from serving.stops import Stops
from training.bench.invariant_people import Part
from training.bench.invariant_world import World

Monkey = pytest.MonkeyPatch
AT_MOST = 4_000
"""Decisions within which a fault must be found."""


def limits(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(caps.Counts, "why_not", lambda self, action: None)
    monkeypatch.setattr(held, "count", lambda *told: None)


def nothing_first(monkeypatch: Monkey) -> None:
    def first(slot: Any, *told: Any, **more: Any) -> Any:
        return msgspec.structs.replace(filling.first_fillable(slot, *told, **more), action=None, eligible=[(None, 1.0)])

    monkeypatch.setattr(pages, "first_fillable", first)


def items_twice(monkeypatch: Monkey) -> None:
    own = offered.Taken.add
    monkeypatch.setattr(
        offered.Taken, "add", lambda self, name, rows, *rest, **told: own(self, name, rows[:0], *rest, **told)
    )


def actions_twice(monkeypatch: Monkey) -> None:
    own = offered.Taken.add
    monkeypatch.setattr(
        offered.Taken, "add", lambda self, name, rows, *rest, **told: own(self, None, rows, *rest, **told)
    )


def all_fit(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(saying, "why_no_action", lambda action, now: None)


def none_fits(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(offered, "why_not", lambda when, now: "stage is use")


def all_agreed(monkeypatch: Monkey) -> None:
    everything = frozenset({"personalization", "marketing"})
    monkeypatch.setattr(hydrate, "consents_of", lambda *_: Consents(assumed=everything))


def nobody_held_out(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(hydrate, "in_holdout", lambda shop, request, share: False)


def nothing_rests(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(repurchase.Windows, "barred", lambda self, history, orders, now: ())


def nothing_withdrawn(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(shelf.Shelf, "apply", lambda self, changes: None)


def nothing_stopped(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(Stops, "why", lambda self, name: None)
    monkeypatch.setattr(Stops, "arranged", lambda self, layout: layout)
    monkeypatch.setattr(Stops, "running", lambda self, experiments: experiments)
    monkeypatch.setattr(shelf.Shelf, "stop", lambda self, item_ids: None)


def chances_off(monkeypatch: Monkey) -> None:
    own = drawing.chances_among
    monkeypatch.setattr(drawing, "chances_among", lambda *told: [0.9 * each for each in own(*told)])


def unwritten(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(DecisionLog, "keep", lambda self, batch: True)


def asked_again(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(offered, "_ask_once", lambda *told: None)
    monkeypatch.setattr(saying, "put_before", lambda person, name: False)


def drawn_anew(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(drawing, "_can_be_shown", lambda *told: False)


def sleepless(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(timing, "quiet_until", lambda quiet, zone, at: None)


FAULTS: list[tuple[str, Callable[[Monkey], None]]] = [
    ("empty-slot", nothing_first), ("duplicate-item", items_twice), ("duplicate-action", actions_twice),
    ("cap", limits), ("capacity", limits), ("ineligible", all_fit), ("unfounded-veto", none_fits),
    ("consent", all_agreed), ("holdout", nobody_held_out), ("resting", nothing_rests),
    ("withdrawn", nothing_withdrawn), ("withdrawn", nothing_stopped), ("propensity", chances_off),
    ("unlogged", unwritten), ("question", asked_again), ("one-answer", drawn_anew), ("selling-while-late", all_fit),
    ("quiet-hours", sleepless),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "fault"), FAULTS, ids=[f"{rule}-{fault.__name__}" for rule, fault in FAULTS])
def test_a_fault_is_found(rule, fault, tmp_path, monkeypatch) -> None:
    fault(monkeypatch)
    world = World(Part(1, 0, AT_MOST, people=16), tmp_path / "part")
    found = world.checker.table.rules[rule]
    try:
        while not found.broken and world.checker.table.decisions < AT_MOST:
            world.day()
    finally:
        world.engine.close()
    assert found.broken
    assert "(seed 1, part 0, step " in found.example
