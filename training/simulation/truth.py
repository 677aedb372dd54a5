"""The answer beside the question: what the simulation knows and no table of the dataset shows.

Training never reads this. Tests and benches do, to judge what training made of the tables.

    truth/manifest.json                  world version, size, seed, period
    truth/people/*.parquet               hidden tastes and traits of customers and visitors
    truth/pairs/*.parquet                who uses up what, with the household's own cycle
    truth/decisions/*.parquet            situation and base probabilities of each decision
    truth/items.parquet                  hidden style and appeal
    truth/world.json                     cycles and effects, for people to read
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import DataError, NotFoundError
from training.simulation import arrow
from training.simulation.effects import (
    ACTION_ROW,
    ACTIONS,
    MAIL_ACTIONS,
    PAGE_ACTIONS,
    RULES,
    Segment,
    click_probability,
    effect_table,
    purchase_probability,
    visit_probability,
)
from training.simulation.mails import BOUNCES
from training.simulation.pages import SLOTS
from training.simulation.people import BARGAIN_FROM, World
from training.simulation.rows import Array
from training.simulation.tables import Names, item_ids
from training.simulation.world import CATEGORIES, CATEGORY_ROW, STYLES, WORLD_VERSION

FOLDER, MANIFEST = "truth", "manifest.json"
PEOPLE, PAIRS, DECIDED, ITEMS = "people", "pairs", "decisions", "items.parquet"
WORLD: Final = "world.json"
STATIC: Final = Segment.PET | Segment.BARGAIN | Segment.GOLD | Segment.QUIET | Segment.HIDDEN
"""Segments that a customer belongs to at all times."""


class TruthManifest(msgspec.Struct, frozen=True):
    """Which world this is the truth of."""

    world_version: int
    size: str
    seed: int
    locale: str
    start: str
    end: str


def people_truth(names: Names) -> pa.Table:
    """Hidden traits of the block's people."""
    people = names.block.people
    rows = np.arange(len(people))
    keys = [category.key for category in CATEGORIES]
    odds = np.diff(people.style_odds, axis=1, prepend=0.0)
    return pa.table(
        {
            "customer_id": arrow.words(names.customer_row(rows), names.customers),
            **{f"visitor_{cookie}": arrow.words(2 * rows + cookie, names.visitors) for cookie in range(2)},
            "situation": _static_situation(people),
            "cluster": people.cluster,
            **{f"style_{style}": odds[:, style] for style in range(STYLES)},
            "pace": people.pace,
            "thrift": people.thrift,
            "resolve": people.resolve,
            "pet": people.pet,
            "project": arrow.words(people.project, keys),
            "project_from": arrow.instants(people.project_from),
            "project_to": arrow.instants(people.project_to),
            "holdout": people.holdout,
        }
    )


def _static_situation(people: Any) -> Array:
    flags = {
        Segment.PET: people.pet > 0,
        Segment.BARGAIN: people.thrift > BARGAIN_FROM,
        Segment.GOLD: people.known & (people.tier == 2),
        Segment.QUIET: people.known & people.quiet,
        Segment.HIDDEN: people.hidden,
    }
    return sum((holds * np.int64(int(flag)) for flag, holds in flags.items()), np.zeros(len(people), np.int64))


def pair_truth(names: Names) -> pa.Table:
    """Cycles of the block's households."""
    pairs = names.block.pairs
    return pa.table(
        {
            "customer_id": arrow.words(pairs.person, names.customers),
            "category": arrow.words(pairs.category, [category.key for category in CATEGORIES]),
            "cycle_days": pairs.cycle,
            "favourite": arrow.words(pairs.favourite, names.items),
            "loyal": pairs.loyal,
            "subscribed": pairs.subscribed,
        }
    )


def decision_truth(names: Names) -> pa.Table:
    """Situation and base probabilities of the block's decisions, pages first."""
    block = names.block
    shown, mails = block.shown.take(block.landings), block.mails
    total = shown.lift.sum(axis=1, keepdims=True)
    other = (shown.buy_base[:, None] + (total - shown.lift)).reshape(-1)
    n, m = 2 * len(shown), len(mails)
    nothing = np.full(m, np.nan)
    return pa.table(
        {
            "decision_id": names.ids("d", np.arange(n + m)),
            "slot": arrow.words(np.append(np.tile([0, 1], len(shown)), np.full(m, 2)), [*SLOTS, "campaign"]),
            "situation": np.append(np.repeat(shown.situation, 2), mails.situation),
            "eligible": np.append(shown.eligible.reshape(-1), np.full(m, -1)),
            "action": np.append(shown.action.reshape(-1), mails.action),
            "holdout": np.append(np.repeat(shown.holdout, 2), mails.holdout),
            "click_base": arrow.numbers(np.append(shown.click_base.reshape(-1), nothing)),
            "buy_base": arrow.numbers(np.append(other, nothing)),
            "visit_base": arrow.numbers(np.append(np.full(n, np.nan), mails.base_visit)),
        }
    )


def item_truth(world: World) -> pa.Table:
    """Hidden properties of the items."""
    items = world.catalogue.items
    return pa.table(
        {"item_id": item_ids(world.size.items), "style": items.style, "appeal": items.appeal, "luxury": items.luxury}
    )


def world_json() -> bytes:
    """Cycles and effects in a form that people can read; the program reads its own constants."""
    rules = [
        {"action": r.action, "reward": r.reward, "effect": r.effect, "when": _flags(r.when), "unless": _flags(r.unless)}
        for r in RULES
    ]
    cycles = {category.key: category.cycle_days for category in CATEGORIES if category.cycle_days}
    return orjson.dumps({"cycle_days": cycles, "effects": rules}, option=orjson.OPT_INDENT_2)


def _flags(segment: Segment) -> list[str]:
    return [str(flag.name) for flag in segment]


class Truth:
    """Reads a truth folder; for tests and benches only."""

    def __init__(self, folder: Path, manifest: TruthManifest) -> None:
        self.folder, self.manifest = folder, manifest

    @classmethod
    def load(cls, folder: Path) -> Truth:
        """The truth beside a simulated dataset.

        Raises:
            DataError: there is none, or it is of another world than this program's.
        """
        path = folder / MANIFEST
        if not path.exists():
            raise DataError("no truth here", where=str(folder), hint="make a shop first: kokyaku simulate --help")
        manifest = msgspec.json.decode(path.read_bytes(), type=TruthManifest)
        if manifest.world_version != WORLD_VERSION:
            hint = f"this program simulates world {WORLD_VERSION}: simulate the shop again"
            raise DataError("the truth of another world", where=str(folder), got=manifest.world_version, hint=hint)
        return cls(folder, manifest)

    @cached_property
    def people(self) -> pa.Table:
        """Customers and visitors (customer_id null) with their hidden traits."""
        return pq.read_table(self.folder / PEOPLE)

    @cached_property
    def pairs(self) -> pa.Table:
        """customer_id, category, cycle_days, favourite, loyal, subscribed."""
        return pq.read_table(self.folder / PAIRS)

    @cached_property
    def items(self) -> pa.Table:
        """item_id, style, appeal, luxury."""
        return pq.read_table(self.folder / ITEMS)

    @cached_property
    def decisions(self) -> pa.Table:
        """decision_id, slot, situation, eligible, action, holdout and base probabilities."""
        return pq.read_table(self.folder / DECIDED)

    @cached_property
    def _situations(self) -> dict[str, int]:
        columns = self.people.select(["customer_id", "situation"]).to_pydict()
        return dict(zip(columns["customer_id"], columns["situation"], strict=True))

    def situation(self, customer_id: str) -> Segment:
        """The segments that the customer belongs to at all times.

        Raises:
            NotFoundError: there is no such customer.
        """
        if customer_id not in self._situations:
            raise NotFoundError("no such customer", where=str(self.folder), got=customer_id)
        return Segment(self._situations[customer_id])

    @staticmethod
    def true_cycle_days(category: str) -> float | None:
        """Median days between two purchases of a category (by its key); None where there is no cycle."""
        return CATEGORIES[CATEGORY_ROW[category]].cycle_days

    def true_effect(self, action: str, customer_id: str, reward: str, context: Segment = Segment(0)) -> float:  # noqa: B008
        """The effect of an action against null on the probability of a reward, for a customer in a context.

        Args:
            action: its id.
            customer_id: whose lasting segments count.
            reward: `click`, `purchase`, `visit`, `lost_visit` or `unsubscribe`.
            context: passing segments (COLD, DUE, MOBILE ...) that hold as well.
        """
        return float(effect_table(reward)[ACTION_ROW[action], self.situation(customer_id) | context])

    def responses(self, slot: str, reward: str) -> tuple[list[str], list[str | None], Array]:
        """The true probability of a reward under each action for each logged decision of a slot.

        Returns:
            decision ids, action ids (None first, the null action), float64[decisions, actions]; NaN where an
            action was not eligible. For pages the other slot's action is as logged; of the holdout only null counts.
        """
        rows = self.decisions.filter(pa.compute.equal(self.decisions["slot"], slot))
        first, last = (0, len(PAGE_ACTIONS)) if slot in SLOTS else (len(PAGE_ACTIONS), len(ACTIONS))
        actions = np.arange(first, last)
        situation = rows["situation"].to_numpy()
        columns = [_response(rows, reward, -1, situation)]
        columns += [_response(rows, reward, row, situation) for row in actions.tolist()]
        matrix = np.stack(columns, axis=1)
        mask = rows["eligible"].to_numpy()[:, None]
        eligible = (
            (mask >> (actions - first)) & 1 if slot in SLOTS else np.broadcast_to(1, (len(mask), len(MAIL_ACTIONS)))
        )
        barred = (eligible == 0) | rows["holdout"].to_numpy()[:, None]
        matrix[:, 1:][barred] = np.nan
        return rows["decision_id"].to_pylist(), [None, *(ACTIONS[row].id for row in actions.tolist())], matrix


def _response(rows: pa.Table, reward: str, action: int, situation: Array) -> Array:
    arrives = 1 - BOUNCES
    if reward not in ("click", "purchase", "visit", "unsubscribe"):
        raise NotFoundError("no such reward", got=reward, hint="click, purchase, visit or unsubscribe")
    effect = effect_table(reward)[action, situation]
    if reward == "click":
        clicks = click_probability(rows["click_base"].to_numpy(), effect)
        return clicks if action >= 0 else np.zeros_like(clicks)
    if reward == "purchase":
        return purchase_probability(rows["buy_base"].to_numpy(), effect)
    if reward == "visit":
        lost = effect_table("lost_visit")[action, situation]
        return visit_probability(rows["visit_base"].to_numpy(), arrives * effect, arrives * lost)
    return np.asarray(arrives * effect)
