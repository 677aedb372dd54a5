"""`kokyaku bench invariants`: a clean run puts every rule to the test and finds none broken."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from features.history import History
from features.journey import stage_of
from features.kinds import event_code
from features.moments import DAY, HOUR
from features.orders import OrderLine, Step
from serving.query import Context
from training.bench import invariants
from training.bench.invariant_asked import RULES, Looked, Table
from training.bench.invariant_facts import Facts
from training.bench.invariant_house import CATEGORIES, ITEMS, path_of
from training.bench.invariant_people import Part
from training.bench.invariant_truth import Event, Line, Subject
from training.bench.invariant_world import run_part
from training.commands.bench import app

DECISIONS = 3_500
NOW = 20_000 * DAY


def test_no_rule_is_broken_and_each_is_put_to_the_test(tmp_path) -> None:
    table = run_part(Part(0, 0, DECISIONS, people=30), tmp_path / "part")
    assert table.decisions >= DECISIONS
    assert {name: found.example for name, found in table.rules.items() if found.broken} == {}
    assert {name for name, found in table.rules.items() if not found.number} == set()
    assert set(table.rules) == set(RULES)


def test_parts_are_added_and_a_part_is_itself_whenever_it_is_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(invariants, "PART", 200)
    heard: list[tuple[str, int, int]] = []
    found = invariants.run(400, 5, people=8, tell=lambda *told: heard.append(told))
    parts = [run_part(Part(5, number, 200, people=8), tmp_path / str(number)) for number in range(2)]
    both = Table()
    for each in parts:
        both.add(each)
    assert msgspec.to_builtins(found) == msgspec.to_builtins(both)
    assert found.decisions == sum(each.decisions for each in parts)
    assert heard[-1] == ("decisions", 400, 400)


def test_the_command_says_what_was_never_put_to_the_test(tmp_path) -> None:
    """A handful of decisions cannot test every rule: the command names those and fails."""
    file = tmp_path / "rows.json"
    done = CliRunner().invoke(app, ["invariants", "--decisions", "30", "--people", "4", "--json", str(file)])
    assert done.exit_code == 1, done.output
    assert "never put to the test" in done.output
    metrics = {row["metric"]: row["value"] for row in msgspec.json.decode(file.read_bytes())}
    assert metrics["decisions"] >= 30
    assert {f"violations-{name}" for name in RULES} <= set(metrics)


def test_words_of_the_verdict() -> None:
    whole = Table(10, 2, {name: Looked(5) for name in RULES})
    assert invariants.verdict(whole) == "No rule was broken in 10 decisions of 2 answers."
    whole.rules["cap"] = Looked(5, 2, "tip-day 2 a day of 1 (seed 0, part 0, step 7)")
    whole.rules["holdout"] = Looked()
    assert invariants.faults(whole) == [
        "cap: 2 of 5, first tip-day 2 a day of 1 (seed 0, part 0, step 7)", "never put to the test: holdout"
    ]  # fmt: skip
    rows = {row.metric: row.value for row in invariants.rows_of(whole, 0, 2.0)}
    assert (rows["decisions-a-second"], rows["violations-cap"], rows["looks-cap"]) == (5.0, 2, 5)


@pytest.mark.parametrize("seed", range(40))
def test_two_derivations_of_the_stage_agree(seed) -> None:
    """The checker's plain stage is that of `features.journey` on random lives, which it never calls."""
    random = np.random.default_rng(seed)
    who = Subject("ann", known=True)
    kinds = ("view", "search", "cart", "cart_remove", "wishlist", "wishlist_remove", "purchase", "return")
    at = NOW - int(random.integers(1, 500)) * DAY
    for number in range(int(random.integers(0, 25))):
        at += int(random.exponential(random.choice([HOUR, 20 * DAY]))) + 1
        if at >= NOW:
            break
        kind, item = str(random.choice(kinds)), str(random.choice(ITEMS[:6]))
        who.events.append(Event(at, kind, "" if kind == "search" else item))
        if random.random() < (0.6 if kind == "purchase" else 0.02):
            line = Line(f"o{number}", "1", item, at, None, False, [(at, "confirmed")])
            later = at + int(random.integers(1, 30 * DAY))
            if random.random() < 0.8 and later < NOW:
                line.steps.append((later, str(random.choice(["delivered", "returned", "shipped", "cancelled"]))))
            who.lines.append(line)
    facts = Facts(who, NOW, Context(), {}, {}, "UTC")
    orders = [
        OrderLine(each.order_id, each.line, each.item, each.ordered_at, tuple(Step(*step) for step in each.steps))
        for each in who.lines
    ]
    paths = list(CATEGORIES)
    category = np.array([paths.index(path_of(item)) for item in ITEMS], np.int32)
    times = np.array([each.at for each in who.events], np.int64)
    ones = np.ones(len(times), np.float32)
    rows = np.array([ITEMS.index(each.item) if each.item else -1 for each in who.events], np.int32)
    types = np.array([event_code(each.type) for each in who.events], np.int8)
    history = History(times, times, rows, types, ones, ones, np.arange(len(times), dtype=np.uint64))
    assert facts.stage == stage_of(history, orders, NOW, category=category).name
