"""Slots that are never empty: where a policy knows nothing that can be shown, and for the permanent holdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from serving import pages, wire
from serving.decide import in_holdout
from serving.engine import Engine
from serving.events import StoredEvent
from serving.filling import KNOWS_NOTHING
from serving.policy_files import write_policy
from tests.test_serving.conftest import AS_OF
from tests.test_serving.grown import AGREED, policy, records

TOML = """
[modules.popular]
kind = "popular"
title = { en = "Popular" }
again = { en = "More" }
size = 2
minimum = 1
[modules.fans]
kind = "popular"
title = { en = "For fans" }
size = 2
minimum = 1
when = { bought = ["Group"] }
[[pages.home.slots]]
name = "top"
modules = ["fans", "popular"]
[[pages.home.slots]]
name = "drawn"
policy = "hero"
modules = ["for-you", "popular"]
"""
Make = Callable[..., Engine]


@pytest.fixture
def opened(toy_shop) -> Iterator[Make]:
    with ExitStack() as stack:

        def make(share: float = 0.0, more: str = "", **spec: object) -> Engine:
            shop = f"[shop]\nholdout = {share}\n"
            toy_shop.config.write_text(AGREED + shop + TOML + more, encoding="utf-8")
            write_policy(toy_shop.policies, policy(**spec))
            return stack.enter_context(closing(Engine(toy_shop, worker="w")))

        yield make


def ask(engine: Engine, user: str) -> list[dict]:
    return pages.page(engine, wire.PageRequest(user_id=user), AS_OF)["slots"]


def test_a_slot_whose_policy_knows_nothing_shows_what_may_stand_again(opened) -> None:
    """All that the policy knows is vetoed or on the page: other items of what may stand twice, which is no draw."""
    engine = opened(nothing=False)
    for _ in range(2):
        top, drawn = ask(engine, "ann")
        assert (top["actionId"], drawn["actionId"]) == ("popular", "popular")
        assert drawn["title"] == "More"
        assert len({card["itemId"] for slot in (top, drawn) for card in slot["items"]}) == 4
    row = next(each for each in records(engine) if each["slot"] == "drawn")
    assert (row["drawn"], row["fallback"], row["reused_from"]) == (False, KNOWS_NOTHING, None)
    assert (row["eligible"], row["action_propensity"], row["policy"]) == ([["popular", 1.0]], 1.0, "hero")
    assert [name for name, _ in row["vetoed"]] == ["for-you"]
    assert not engine.store.held_of("ann", None), "that nothing was drawn holds for nobody"


@pytest.mark.parametrize(("spec", "more"), [({}, ""), ({"nothing": False}, "may-be-empty = true\n")])
def test_a_slot_that_may_be_empty_stays_so(opened, spec, more) -> None:
    """A policy that may take nothing has taken it; so has a slot that says that it may be empty."""
    _, drawn = ask(opened(more=more, **spec), "ann")
    assert drawn["actionId"] is None
    assert drawn["items"] == []


def test_the_holdout_sees_what_is_the_same_for_all_in_every_slot(opened) -> None:
    """No row that is chosen by what was bought, and no slot that stays empty because a policy would decide it."""
    engine = opened(0.5, nothing=False)
    people = [f"person-{number}" for number in range(20)]
    engine.store.append_sync([
        StoredEvent(event_id=who, occurred_at=AS_OF - 9, recorded_at=AS_OF - 9, type="purchase", customer_id=who,
                    item_id="a1")
        for who in people
    ])  # fmt: skip
    held = {who: in_holdout(engine.shop, wire.PageRequest(user_id=who), 0.5) for who in people}
    assert set(held.values()) == {True, False}
    for who, out in held.items():
        top, drawn = ask(engine, who)
        assert top["actionId"] == ("popular" if out else "fans")
        assert drawn["actionId"] is not None
        assert not out or drawn["actionId"] == "popular"
