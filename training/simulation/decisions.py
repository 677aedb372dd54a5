"""The decisions of a block as the log of the service would hold them: pages slot by slot, then mails."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from features.covariates import VISIT
from features.moments import local_columns
from features.schemas import DECISIONS
from training.simulation import arrow
from training.simulation.effects import ACTION_ROW, ACTIONS, CAMPAIGN, PAGE_ACTIONS, Segment
from training.simulation.mails import ARMS
from training.simulation.pages import POLICY, SLOT_MASK, SLOTS, cell_of, policy_table
from training.simulation.people import World
from training.simulation.rows import Array
from training.simulation.sessions import DEVICES, SOURCES
from training.simulation.tables import Names
from training.simulation.world import CATEGORIES, VARIETY

SURFACES: Final = ("page.home", "email")
ACTION_IDS: Final = [action.id for action in ACTIONS]
_CONTEXT: Final = f'{{"names":{orjson.dumps(VISIT).decode()},"rows":[['
_SHOWN_AT_ONCE: Final = 4
"""Items in a product module."""


def page_decisions(names: Names) -> tuple[pa.Table, Array]:
    """Two decisions for each visit that began on the home page, in order of time; also their instants."""
    block = names.block
    page = np.argsort(block.visits.start[block.landings], kind="stable")
    rows = block.landings[page]
    visits, shown = block.visits.take(rows), block.shown.take(rows)
    n = 2 * len(rows)
    slot = np.tile(np.arange(2), len(rows))
    at = np.repeat(visits.start, 2)
    action = shown.action.reshape(-1).astype(np.int64)
    unknown = (shown.situation & int(Segment.ANONYMOUS)) > 0
    off = np.repeat(shown.holdout | shown.failed, 2)
    eligible, chance = _distributions(np.repeat(shown.situation, 2), slot, shown.eligible.reshape(-1), action)
    failed = np.repeat(shown.failed & ~shown.holdout, 2)
    visitor = names.visitor_row(visits.person, np.minimum(visits.device, 1))
    columns = {
        "decision_id": names.ids("d", np.repeat(2 * page, 2) + slot),
        "request_id": names.ids("r", np.repeat(2 * page, 2)),
        "decided_at": arrow.instants(at),
        "visitor_id": arrow.ids(np.repeat(visitor, 2), names.visitors),
        "customer_id": arrow.ids(np.repeat(np.where(unknown, -1, visits.person), 2), names.customers),
        "surface": arrow.one_word(n, SURFACES[0]),
        "slot": arrow.words(slot, SLOTS),
        "position": pa.array(slot.astype(np.int32)),
        "draw_order": pa.array(slot.astype(np.int32)),
        "eligible": eligible,
        "vetoed": _vetoes(slot, shown.eligible.reshape(-1), np.repeat(shown.action[:, 0], 2), off),
        "action_id": arrow.words(action, ACTION_IDS),
        "items": _module_items(names, np.repeat(visits.person, 2), at, action),
        "action_propensity": pa.array(chance),
        "drawn": pa.array(~off),
        "policy": arrow.one_word(n, POLICY),
        "bundle_id": arrow.one_word(n, "none"),
        "shop_hash": arrow.one_word(n, names.source),
        "features": pa.compute.take(_contexts(names, visits, unknown), pa.array(np.repeat(np.arange(len(rows)), 2))),
        "holdout": pa.array(np.repeat(shown.holdout, 2)),
        "fallback": arrow.words(np.where(failed, 0, -1), ["error"]),
        "logged": pa.array(np.ones(n, np.bool_)),
        "source": arrow.one_word(n, names.source),
    }
    return arrow.table(DECISIONS, n, columns), at


def _distributions(situation: Array, slot: Array, mask: Array, action: Array) -> tuple[pa.Array, Array]:
    """The eligible actions with their probabilities as JSON, and the probability of what was chosen."""
    cell = cell_of(situation)
    code = (slot * 4 + cell) * (1 << len(PAGE_ACTIONS)) + mask
    distinct, where = np.unique(code, return_inverse=True)
    texts, tables = [], []
    for one in distinct.tolist():
        place, masked = divmod(one, 1 << len(PAGE_ACTIONS))
        odds = policy_table(SLOTS[place // 4])[place % 4, masked]
        listed = [[None if row == 0 else ACTION_IDS[row - 1], odds[row]] for row in np.flatnonzero(odds).tolist()]
        texts.append(orjson.dumps(listed, option=orjson.OPT_SERIALIZE_NUMPY).decode())
        tables.append(odds)
    chance = np.array(tables).reshape(len(texts), -1)[where, action + 1] if texts else np.zeros(0)
    return arrow.words(where, texts), chance


def _vetoes(slot: Array, mask: Array, hero: Array, off: Array) -> pa.Array:
    """Why the other actions of the slot could not be drawn; nothing is said where there was no draw."""
    code = np.where(off, -1, (slot * 32 + np.where(slot == 1, hero, -1) + 1) * (1 << len(PAGE_ACTIONS)) + mask)
    distinct, where = np.unique(code, return_inverse=True)
    texts = []
    for one in distinct.tolist():
        place, masked = divmod(one, 1 << len(PAGE_ACTIONS))
        missing = 0 if one < 0 else SLOT_MASK[SLOTS[place // 32]] & ~masked
        reasons = [
            [action.id, "shown in another slot" if row == place % 32 - 1 else action.refusal]
            for row, action in enumerate(PAGE_ACTIONS)
            if missing >> row & 1
        ]
        texts.append(orjson.dumps(reasons).decode())
    return arrow.words(where, texts)


def _contexts(names: Names, visits: Any, unknown: Array) -> pa.Array:
    """What the shop knew of the visit when it decided; hour, weekday and month are those of the subject's region."""
    world = names.world
    region = names.block.people.region[visits.person]
    hour, weekday, month = (np.zeros(len(region), np.int64) for _ in range(3))
    zones = np.array([each.zone for each in world.locale.regions])[region]
    for zone in np.unique(zones).tolist():
        here = np.flatnonzero(zones == zone)
        hour[here], weekday[here], month[here] = local_columns(visits.start[here], zone)
    pieces = [
        arrow.words(visits.device, [f'"{device}"' for device in DEVICES]),
        arrow.words(visits.source, [f'"{source}"' for source in SOURCES]),
        arrow.words(hour, [str(number) for number in range(24)]),
        arrow.words(weekday, [str(number) for number in range(7)]),
        arrow.words(month, [str(number) for number in range(13)]),
        arrow.words(region, [f'"{name.name}"' for name in world.locale.regions]),
        arrow.words(unknown.astype(np.int8), ["true", "false"]),
    ]
    row = pa.compute.binary_join_element_wise(*(piece.cast(pa.string()) for piece in pieces), ",")
    return pa.compute.binary_join_element_wise(_CONTEXT, row, "]]}", "")


def seasonal_items(world: World) -> Array:
    """int64[regions, 12, 4]: what the popular module shows there in that month."""
    weight = np.array([CATEGORIES[row].weight for row in VARIETY])
    liked = VARIETY[np.argsort(-world.season[:, :, VARIETY] * weight, axis=2, kind="stable")[:, :, :_SHOWN_AT_ONCE]]
    flat = world.catalogue.staple(liked.reshape(-1), np.zeros(liked.size, np.int64))
    return flat.reshape(liked.shape)


def _module_items(names: Names, person: Array, at: Array, action: Array) -> pa.Array:
    """The items in product modules: the season's, or the person's favourites (filled up with the season's)."""
    world, block = names.world, names.block
    modules = np.isin(action, [ACTION_ROW["products-buy-again"], ACTION_ROW["products-popular"]])
    rows = np.flatnonzero(modules)
    month = world.calendar.month[world.calendar.day(at[rows])]
    items = seasonal_items(world)[block.people.region[person[rows]], month]
    favourites = np.full(len(block.people), -1, np.int64)
    favourites[block.pairs.person] = block.pairs.favourite
    own = favourites[person[rows]]
    again = (action[rows] == ACTION_ROW["products-buy-again"]) & (own >= 0)
    items[again, 0] = own[again]
    counts = np.where(modules, _SHOWN_AT_ONCE, 0)
    return arrow.lists(counts, items.reshape(-1), names.items.to_pylist())


def mail_decisions(names: Names) -> tuple[pa.Table, Array]:
    """One decision for each customer and campaign, in order of time; also their instants."""
    order = np.argsort(names.block.mails.decided, kind="stable")
    mails, number = names.block.mails.take(order), names.block.first_mail + order
    n = len(mails)
    share = 1 / len(ARMS)
    drawn = [[None if row < 0 else ACTION_IDS[row], share] for row in ARMS.tolist()]
    eligible = [orjson.dumps(drawn).decode(), "[[null,1.0]]"]
    columns = {
        "decision_id": names.ids("d", number),
        "request_id": names.ids("r", number),
        "decided_at": arrow.instants(mails.decided),
        "visitor_id": arrow.ids(np.full(n, -1), names.visitors),
        "customer_id": arrow.ids(mails.person, names.customers),
        "surface": arrow.one_word(n, SURFACES[1]),
        "slot": arrow.one_word(n, CAMPAIGN),
        "position": pa.array(np.zeros(n, np.int32)),
        "draw_order": pa.array(np.zeros(n, np.int32)),
        "eligible": arrow.words(mails.holdout.astype(np.int8), eligible),
        "vetoed": arrow.one_word(n, "[]"),
        "action_id": arrow.words(mails.action, ACTION_IDS),
        "action_propensity": pa.array(np.where(mails.holdout, 1.0, share)),
        "drawn": pa.array(~mails.holdout),
        "policy": arrow.one_word(n, POLICY),
        "bundle_id": arrow.one_word(n, "none"),
        "shop_hash": arrow.one_word(n, names.source),
        "holdout": pa.array(mails.holdout),
        "fallback": arrow.words(np.full(n, -1), ["error"]),
        "logged": pa.array(np.ones(n, np.bool_)),
        "source": arrow.one_word(n, names.source),
    }
    return arrow.table(DECISIONS, n, columns), mails.decided
