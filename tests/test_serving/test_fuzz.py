"""Whatever is sent, the service answers in its own words: no error of its own, nothing of anybody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.test_serving import hostile, hostile_web
from tests.test_serving.fuzzing import World, attacked, enter, write_report
from tests.test_serving.generated import generate

FEW, MANY, GENERATED = 500, 20_000, 150
REPORT = Path(os.environ.get("KOKYAKU_FUZZ_REPORT", "soak/fuzz.json"))


def test_hostile_requests_are_answered_in_our_own_words(toy_shop):
    """Of every family some, always the same ones."""
    with attacked(toy_shop) as world:
        world.send(hostile.attacks(1, FEW))
    assert not world.broken, told(world)
    assert world.seen.total() == FEW
    assert {status for _, status in world.seen} >= {200, 202, 400, 401, 403, 404, 405, 413, 415, 429}


def test_hostile_visitors_of_the_pages_break_nothing(toy_shop):
    """Storefront and studio, from inside and outside, by parameters, forms, headers and cookies."""
    with attacked(toy_shop) as world:
        world.send(hostile_web.web_attacks(1, FEW, *enter(world)))
    assert not world.broken, told(world)
    assert {status for _, status in world.seen} >= {200, 303, 400, 403, 404, 405}


@pytest.mark.soak
def test_twenty_thousand_hostile_requests(toy_shop):
    """Other ones than above; what came of them stands in a file."""
    with attacked(toy_shop, seed=2) as world:
        world.send(hostile.attacks(2, MANY))
    write_report(REPORT, "hostile", world.report())
    assert not world.broken, told(world)
    assert world.seen.total() >= MANY


@pytest.mark.soak
def test_thousands_of_generated_requests(toy_shop):
    """Of the document, at random; the shorter run stands with the tests of the document."""
    with attacked(toy_shop, seed=3) as world:
        run = generate(world, examples=GENERATED, seed=3)
    write_report(REPORT, "generated", world.report() | {"checks": dict(run.checks)})
    assert not world.broken, told(world)
    assert not run.broken, "\n\n".join(f"{where}: {case}" for where, case in run.broken.items())


def told(world: World) -> str:
    """The broken rules with the first request that broke each, for people."""
    return "\n".join(f"{rule}, {where}: {case}" for (rule, where), case in world.broken.items())
