"""The true probability that each customer of the simulated shop buys each item in a window, by simulation.

The oracle knows the hidden people (tastes, thrift, cycles, favourites, when projects that have begun end), the
catalogue with its stock-outs and price changes, and everything that happened in the shop before the window: visits,
purchases, open wishes, who unsubscribed. From there the window is run
many times by the very functions that made the shop, with other random streams, and purchases are counted. It does not
know the window's own draws: when somebody comes, which need is met elsewhere, whether a project begins.

What is approximated at the seam:

- a consumable's last need began with the visit for it (a need met elsewhere leaves no visit): chains of needs are
  drawn from that visit on and resampled by how well they explain that nothing was seen since;
- an item that was bought closes the wish for it; a wish of the last visit is taken back or kept by one draw;
- visits that a mail from before the window brings inside it are left out, and so are checkouts that the window's
  start cuts from their visit.

A figure for tests of the simulated shop; it says nothing about real shops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.errors import ConfigError
from features.kinds import EventType
from features.moments import DAY, parse_instant
from training.simulation.block import Block, blocks_of, make_block
from training.simulation.catalogue import NEVER
from training.simulation.locale import locale_of
from training.simulation.mails import send_mails
from training.simulation.pages import State, show_pages
from training.simulation.people import Pairs, People, World, draw_projects
from training.simulation.purchases import buy_items
from training.simulation.rows import Array, generator, pick
from training.simulation.sessions import (
    APART,
    BOUGHT_HERE,
    Reason,
    Sessions,
    mood_visits,
    need_visits,
    project_visits,
    registrations,
    settled,
    supplies,
)
from training.simulation.truth import TruthManifest
from training.simulation.visits import WISH_KEPT, Events, Wishes, make_wishes, view_items
from training.simulation.world import SIZES, Calendar
from training.split import Window

STREAM: Final = 7
"""First number of the random streams; the shop itself is made from 0 and 1."""
CHAINS: Final = 48
"""Candidates a pair for what happened to a consumable since it was last seen."""
AFTER: Final = 7 * DAY
"""The replay runs on so long after the window: whether something is due within a week changes what a page does."""


@dataclass(frozen=True)
class Oracle:
    """How often each customer bought each item, over the runs of a window.

    Args:
        customers: number in the shop of each row, ascending (`c0000012` is 12).
        halves: two counts of runs, int[customers, items]: the even and the odd runs.
        runs: how many runs each half counts.
    """

    customers: npt.NDArray[np.int64]
    halves: tuple[sparse.csr_array, sparse.csr_array]
    runs: tuple[int, int]

    @property
    def counts(self) -> sparse.csr_array:
        """int[customers, items] of all runs."""
        return self.halves[0] + self.halves[1]

    def probability(self) -> sparse.csr_array:
        """float64[customers, items]: the share of runs in which the customer bought the item at least once."""
        return self.counts / sum(self.runs)

    def error(self) -> sparse.csr_array:
        """The Monte-Carlo standard error of each probability, sqrt(p (1 - p) / runs); of p = 0 it says nothing."""
        share = self.probability()
        share.data = np.sqrt(share.data * (1 - share.data) / sum(self.runs))
        return share


def world_of(manifest: TruthManifest) -> World:
    """The world that a shop was made from, again."""
    start, end = parse_instant(manifest.start), parse_instant(manifest.end)
    size, locale = SIZES[manifest.size], locale_of(manifest.locale)
    return World(size, manifest.seed, locale, Calendar(start, (end - start) // DAY))


def oracle_of(
    world: World, window: Window, *, runs: int = 200, seed: int = 0, tell: Callable[[int, int], None] | None = None
) -> Oracle:
    """Run a window many times from the state at its start, for all customers of the shop.

    Args:
        world: of the shop (`world_of`).
        window: inside its period.
        runs: how often; at least 2, for two halves.
        seed: of the runs; equal for equal (world, window, runs, seed).
        tell: hears `(runs done, runs in all)`, over all blocks.

    Raises:
        ConfigError: too few runs, or the window is not inside the period.
    """
    if runs < 2:
        raise ConfigError("too few runs for two halves", got=runs, hint="at least 2")
    if window.start < world.calendar.start or window.end > world.calendar.end:
        raise ConfigError("the window is not inside the simulated period", got=str(window))
    numbers, blocks = [], []
    for block in range(blocks_of(world)):
        seam = Seam.of(world, make_block(world, block), window)
        numbers.append(seam.block.people.number[seam.block.people.known])
        halves: list[list[Array]] = [[], []]
        for run, cells in enumerate(seam.bought(runs, seed)):
            halves[run % 2].append(cells)
            if tell:
                tell(block * runs + run + 1, blocks_of(world) * runs)
        blocks.append([_counted(each, len(numbers[-1]), world.size.items) for each in halves])
    first, second = (sparse.csr_array(sparse.vstack([pair[half] for pair in blocks])) for half in range(2))
    return Oracle(np.concatenate(numbers), (first, second), (runs - runs // 2, runs // 2))


def _counted(cells: list[Array], customers: int, items: int) -> sparse.csr_array:
    found, counts = np.unique(np.concatenate(cells), return_counts=True)
    return sparse.csr_array((counts, (found // items, found % items)), shape=(customers, items))


@dataclass(frozen=True)
class Seam:
    """A block as it stood at the start of a window, ready to be run on."""

    world: World
    block: Block
    window: Window
    visits: Sessions
    """Those before the window."""
    wishes: Wishes
    """Open ones."""
    fresh: Array
    """bool[wishes]: made in the person's last visit, so that it may be taken back in the next."""
    chains: Chains

    @classmethod
    def of(cls, world: World, block: Block, window: Window) -> Seam:
        """Take what happened before the window out of a block, and nothing that happened later."""
        before = block.visits.take(block.visits.start < window.start)
        wishes, fresh = _open_wishes(block, window.start)
        rng = generator(world.seed, STREAM, block.number, 0)
        chains = Chains.of(world, rng, block.people, block.pairs, before, window.start)
        return cls(world, block, window, before, wishes, fresh, chains)

    def bought(self, runs: int, seed: int) -> Iterator[Array]:
        """For each run int64: the distinct customer * items + item that were bought in the window, ascending."""
        count = self.world.size.items
        for run in range(runs):
            lines = self.run(generator(self.world.seed, STREAM, self.block.number, 1 + seed, run))
            kept = self.window.holds(lines.at) & self.block.people.known[lines.person]
            yield np.unique(lines.person[kept].astype(np.int64) * count + lines.item[kept])

    def run(self, rng: np.random.Generator) -> Events:
        """The order lines of one run of the window (and of some days after it)."""
        world, pairs, start = self.world, self.block.pairs, self.window.start
        people = _with_projects(world, rng, self.block.people, start)
        parts = [mood_visits(world, rng, people), self.chains.visits(world, rng, people, pairs)]
        parts += [project_visits(world, rng, people), registrations(world, rng, people)]
        until = min(self.window.end + AFTER, world.calendar.end - 2 * APART)
        visits = settled(world, rng, people, Sessions.concat(parts), start, until)
        left = self.block.mails
        gone = np.full(len(people), NEVER)
        np.minimum.at(gone, left.person, np.where(left.left < start, left.left, NEVER))
        _, visits = send_mails(world, rng, people, visits, gone, start, self.window.end)
        shown = show_pages(world, rng, people, visits, self._state())
        views = view_items(world, rng, people, pairs, visits)
        wishes = Wishes.concat([self._kept_wishes(rng), make_wishes(rng, visits, views)])
        return buy_items(world, rng, people, pairs, visits, shown, views, wishes)

    def _state(self) -> State:
        state = State(len(self.block.people))
        rows = np.flatnonzero(self.block.shown.bought & (self.block.visits.start < self.window.start))
        visits = self.block.visits.take(rows)
        state.record(visits.person, visits.category, visits.start)
        return state

    def _kept_wishes(self, rng: np.random.Generator) -> Wishes:
        return self.wishes.take(~self.fresh | (rng.random(len(self.wishes)) < WISH_KEPT))


def _open_wishes(block: Block, now: int) -> tuple[Wishes, Array]:
    """The wishes that were neither taken back nor bought by an instant, and which are of the person's last visit."""
    log = block.log.take(block.log.at < now)
    last = np.full(len(block.people), -1)
    past = block.visits.start < now
    last[block.visits.person[past]] = np.flatnonzero(past)  # in order of time: the last one stays
    made = log.take(log.type == EventType.WISHLIST)
    ended = log.take((log.type == EventType.WISHLIST_REMOVE) | (log.type == EventType.PURCHASE))
    key, closed = (each.person * np.int64(1 << 32) + each.item for each in (made, ended))
    made = made.take(~np.isin(key, closed))
    nothing = np.full(len(made), -1)
    wishes = Wishes(made.person, made.item, made.at, np.full(len(made), NEVER), nothing, nothing)
    return wishes, made.session == last[made.person]


def _with_projects(world: World, rng: np.random.Generator, people: People, now: int) -> People:
    """The people with their projects that have begun; whoever has none yet may begin one from now on."""
    begun = (people.project >= 0) & (people.project_from < now)
    project, begins, ends = draw_projects(world, rng, len(people))
    while (early := ~begun & (begins < now)).any():  # it did not begin before: that is known
        again = draw_projects(world, rng, int(early.sum()))
        project[early], begins[early], ends[early] = again
    return replace(
        people,
        project=np.where(begun, people.project, project),
        project_from=np.where(begun, people.project_from, begins),
        project_to=np.where(begun, people.project_to, ends),
    )


@dataclass(frozen=True)
class Chains:
    """Candidates for when each consumable runs out next, weighed by what was seen before the window."""

    due: Array
    """float64[pairs, CHAINS, steps]: instants; those before the window were met elsewhere."""
    size: Array
    """int[pairs, CHAINS, steps]: packs bought then."""
    weight: Array
    """float64[pairs, CHAINS]: the probability that none of those before the window was met here."""
    now: int

    @classmethod
    def of(
        cls, world: World, rng: np.random.Generator, people: People, pairs: Pairs, before: Sessions, now: int
    ) -> Chains:
        """Draw chains of needs from the last visit for each consumable, or from the beginning where there was none."""
        needs = np.flatnonzero(before.reason == Reason.NEED)
        last = np.full(len(pairs), -1)
        last[before.pair[needs]] = needs  # in order of time
        seen, n = last >= 0, len(pairs)
        begin = np.maximum(people.joined[pairs.person], world.calendar.start)
        since = np.where(seen, np.append(before.start, 0)[last], begin)
        steps = int(((world.calendar.end - since) / DAY / pairs.cycle).max(initial=0) * 1.4) + 3
        size, gaps = supplies(rng, np.repeat(pairs.cycle, CHAINS), steps)
        size, gaps = size.reshape(n, CHAINS, steps), gaps.reshape(n, CHAINS, steps)
        held = np.append(before.quantity, 1)[last]
        gaps[:, :, 0] *= np.where(seen[:, None], held[:, None] / size[:, :, 0], 1)  # the packs that were bought then
        wait = np.where(seen[:, None], 0.0, rng.random((n, CHAINS)) * pairs.cycle[:, None])
        due = since[:, None, None] + DAY * (wait[:, :, None] + np.cumsum(gaps, axis=2) - gaps)
        missed = (due < now).sum(axis=2) - seen[:, None]
        return cls(due, size, (1 - BOUGHT_HERE) ** missed.astype(np.float64), now)

    def visits(self, world: World, rng: np.random.Generator, people: People, pairs: Pairs) -> Sessions:
        """The visits for needs from now on, of one candidate for each pair."""
        rows = np.arange(len(pairs))
        chosen = pick(rng, self.weight)
        due, size = self.due[rows, chosen], self.size[rows, chosen]
        kept = (due >= self.now) & (due < world.calendar.end) & (rng.random(due.shape) < BOUGHT_HERE)
        row, column = np.nonzero(kept)
        return need_visits(world, rng, people, pairs, row, due[row, column], size[row, column])
