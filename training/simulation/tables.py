"""The rows of a block as the columns of the dataset: events, orders, identities, outcomes."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from features.kinds import SHIPMENT_STATES, EventType
from features.schemas import EVENTS, IDENTITIES, ORDERS, OUTCOMES
from training.simulation import arrow
from training.simulation.block import REWARDS, Block
from training.simulation.people import World
from training.simulation.rows import Array, mix
from training.simulation.sessions import DEVICES, REFERRERS, SOURCES
from training.simulation.visits import CHANNELS
from training.simulation.world import CATEGORIES

_FEW_ITEMS: Final = 10_000
_TYPES: Final = [kind.name.lower() for kind in sorted(EventType)]
PETS: Final = ("none", "dog", "cat")


class Names:
    """The ids and words of a block, as dictionaries that columns point into."""

    def __init__(self, world: World, block: Block, source: str) -> None:
        self.world, self.block, self.source = world, block, source
        self.base = (block.number + 1) << 28
        people = block.people
        self.customers = pa.array([f"c{number:07d}" for number in people.number[people.known].tolist()])
        # customers come first among the people, so a customer's row is the same in both
        robots = mix(np.arange(1000, dtype=np.uint64) + np.uint64((1 << 42) + block.number * 1000))
        self.visitors = arrow.hex_ids("v", np.concatenate([people.visitor.reshape(-1), robots]), 16)
        self.items = item_ids(world.size.items)
        self.regions = pa.array([region.name for region in world.locale.regions])

    def ids(self, prefix: str, numbers: Array) -> pa.Array:
        """Ids of this block's things by number."""
        return arrow.hex_ids(prefix, self.base + numbers)

    def visitor_row(self, person: Array, cookie: Array) -> Array:
        """The row in `visitors` of a person's cookie; of robots, who come after the people, their only one."""
        people = len(self.block.people)
        return np.where(person < people, 2 * person.astype(np.int64) + cookie, people + person.astype(np.int64))

    def item_column(self, rows: Array) -> Any:
        """Item ids of rows; in a large shop as plain strings, since each row group would repeat the dictionary."""
        return (arrow.words if len(self.items) <= _FEW_ITEMS else arrow.ids)(rows, self.items)

    def customer_row(self, person: Array) -> Array:
        """The row in `customers`, -1 for people who never become customers."""
        return np.where(self.block.people.known[person], person, -1)


@cache
def item_ids(count: int) -> pa.Array:
    """All item ids by row."""
    return pa.array([f"i{row:06d}" for row in range(count)])


def notes(world: World) -> list[str]:
    """The JSON of all attributes of events, by note: stars, reasons, answers, search words."""
    said = [{"stars": stars} for stars in range(1, 6)]
    why: list[dict[str, str]] = [{"topic": "delivery"}, {"reason": "cancelled"}, {"reason": "did not fit"}]
    answers = [{"question": "pet", "answer": pet} for pet in PETS]
    queries = [{"query": name.lower()} for name in world.locale.categories]
    assert len(queries) == len(CATEGORIES)
    return [orjson.dumps(note).decode() for note in (*said, *why, *answers, *queries)]


def event_table(names: Names) -> pa.Table:
    """The block's events, in order of time."""
    block, world = names.block, names.world
    log, visits = block.log, block.visits
    n = len(log)
    inside = log.session >= 0
    robot = log.person >= len(block.people)
    session = log.session
    # What strangers do between visits (a return, a review) still carries the cookie of their one device.
    stranger = ~robot & ~inside & ~log.known
    alone = block.people.mobile[np.where(robot, 0, log.person)] < 0.5
    cookie = np.where(robot, 0, np.where(stranger, alone, np.minimum(visits.device[session], 1)))
    region = block.people.region[np.where(robot, 0, log.person)]
    device = np.where(robot, 1, np.where(inside, visits.device[session], -1))
    columns = {
        "event_id": names.ids("e", np.arange(n)),
        "occurred_at": arrow.instants(log.at),
        "recorded_at": arrow.instants(block.recorded),
        "customer_id": arrow.ids(np.where(log.known, log.person, -1), names.customers),
        "visitor_id": arrow.ids(
            np.where(inside | robot | stranger, names.visitor_row(log.person, cookie), -1), names.visitors
        ),
        "session_id": arrow.ids(session, names.ids("s", np.arange(len(visits)))),
        "type": arrow.words(log.type, _TYPES),
        "item_id": names.item_column(log.item),
        "quantity": arrow.numbers(log.quantity),
        "unit_price": arrow.numbers(log.price),
        "discount": arrow.numbers(log.discount),
        "coupon": arrow.words(log.coupon, ["TEN"]),
        "order_id": arrow.ids(log.order, names.ids("o", np.arange(int(log.order.max(initial=-1)) + 1))),
        "line": arrow.words(log.line, [str(line) for line in range(int(log.line.max(initial=-1)) + 1)]),
        "channel": arrow.words(log.channel, CHANNELS),
        "decision_id": arrow.ids(log.decision, names.ids("d", np.arange(block.decisions))),
        "traffic_source": arrow.words(np.where(robot, 0, np.where(inside, visits.source[session], -1)), SOURCES),
        "referrer": arrow.words(
            np.where(
                inside & (np.array([bool(r) for r in REFERRERS])[visits.source[session]]), visits.source[session], -1
            ),
            REFERRERS,
        ),
        "device": arrow.words(device, DEVICES),
        "region": arrow.words(np.where(inside, region, -1), names.regions),
        "attributes": arrow.words(log.note, notes(world)),
        "source": arrow.one_word(n, names.source),
        "revision": pa.array(np.zeros(n, np.int32)),
        "withdrawn": pa.array(np.zeros(n, np.bool_)),
        "content_hash": pa.array(_content_hash(block)),
    }
    return arrow.table(EVENTS, n, columns)


def _content_hash(block: Block) -> Array:
    """A mix of what an event says; the simulation never writes the same id twice."""
    log = block.log
    value = mix(log.at)
    price = np.nan_to_num(log.price * log.quantity - np.nan_to_num(log.discount), nan=-1.0)
    for column in (log.person, log.session, log.type, log.item, log.decision, log.note, np.round(price * 100)):
        value = mix(value ^ (column.astype(np.int64) + 7).astype(np.uint64))
    return value


def order_table(names: Names) -> pa.Table:
    """The states of the block's order lines."""
    block, locale = names.block, names.world.locale
    states, lines = block.states, block.lines
    n = len(states)
    line = states.line
    session = lines.session[line]
    orders = names.ids("o", np.arange(int(lines.order.max(initial=-1)) + 1))
    texts = [*(locale.order_states[state] for state in SHIPMENT_STATES), *locale.production_steps]
    made = states.step >= 0
    moving = np.isin(states.state, [SHIPMENT_STATES.index(s) for s in ("shipped", "attempted", "ready_for_pickup")])
    columns = {
        "order_id": arrow.ids(lines.order[line], orders),
        "line": arrow.words(lines.line[line], [str(number) for number in range(int(lines.line.max(initial=0)) + 1)]),
        "valid_from": arrow.instants(states.at),
        "customer_id": arrow.ids(names.customer_row(lines.person[line]), names.customers),
        "item_id": names.item_column(lines.item[line]),
        "quantity": arrow.numbers(lines.quantity[line]),
        "ordered_at": arrow.instants(lines.at[line]),
        "promised_at": arrow.instants(states.promised),
        "payment_state": arrow.words(states.refunded.astype(np.int8), ["paid", "refunded"]),
        "shipment_state": arrow.words(states.state, SHIPMENT_STATES),
        "state_text": arrow.words(np.where(made, len(SHIPMENT_STATES) + states.step, states.state), texts),
        "state_image_url": arrow.words(
            states.step, [f"https://shop.example/images/production-{step + 1}.jpg" for step in range(3)]
        ),
        "tracking_url": arrow.ids(np.where(moving, line, -1), _tracking(names)),
        "gift": pa.array(block.visits.gift[session]),
        "subscription": arrow.words(
            np.where(block.visits.automatic[session], 0, -1), ["when-it-runs-out"]
        ),
        "source": arrow.one_word(n, names.source),
    }  # fmt: skip
    return arrow.table(ORDERS, n, columns)


def _tracking(names: Names) -> pa.Array:
    numbers = names.ids("t", np.arange(len(names.block.lines)))
    return pa.compute.binary_join_element_wise("https://carrier.example", numbers, "/")


def identity_table(names: Names) -> pa.Table:
    """Sign-ins: which visitor turned out to be which customer."""
    links = names.block.links
    columns = {
        "visitor_id": arrow.ids(names.visitor_row(links.person, links.cookie), names.visitors),
        "customer_id": arrow.ids(links.person, names.customers),
        "linked_at": arrow.instants(links.at),
        "source": arrow.one_word(len(links), names.source),
    }
    return arrow.table(IDENTITIES, len(links), columns)


def outcome_table(names: Names) -> pa.Table:
    """Rewards of the block's decisions."""
    outcomes = names.block.outcomes
    n = len(outcomes)
    margin = names.world.locale.amount(outcomes.margin)
    columns = {
        "decision_id": arrow.ids(outcomes.decision, names.ids("d", np.arange(names.block.decisions))),
        "reward": arrow.words(outcomes.reward, REWARDS),
        "value": pa.array(np.ones(n)),
        "margin": arrow.numbers(margin),
        "at": arrow.instants(outcomes.at),
        "source": arrow.one_word(n, names.source),
    }
    return arrow.table(OUTCOMES, n, columns)
