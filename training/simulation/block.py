"""One block of the shop: some thousand people and all that happens to them, from one numbered generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from training.simulation.catalogue import NEVER
from training.simulation.deliveries import (
    Fates,
    OrderStates,
    after_events,
    decide_fates,
    order_states,
)
from training.simulation.locale import Locale
from training.simulation.mails import WINDOW, Mails, first_in_window, send_mails
from training.simulation.pages import Shown, show_pages
from training.simulation.people import Pairs, People, World, make_pairs, make_people
from training.simulation.purchases import buy_items
from training.simulation.rows import Array, Rows, generator
from training.simulation.sessions import Mode, Sessions, base_sessions
from training.simulation.stream import (
    basket_events,
    bot_events,
    mail_events,
    mark_known,
    page_clicks,
    sign_in_at,
    visit_events,
    wish_events,
)
from training.simulation.visits import Events, Views, make_wishes, view_items
from training.simulation.world import CATEGORIES

REWARDS: Final = ("click", "visit", "purchase", "unsubscribe")


@dataclass
class Outcomes(Rows):
    """One row a reward of a decision inside its window."""

    decision: Array
    reward: Array
    """Row in `REWARDS`."""
    margin: Array
    """Of a purchase, after discounts, tax and returns; NaN where a cost is unknown or it makes no sense."""
    at: Array


@dataclass
class Links(Rows):
    """One row a sign-in."""

    person: Array
    cookie: Array
    """0 the phone's, 1 the desk's."""
    at: Array


@dataclass(frozen=True)
class Block:
    """Everything of one block, still as numbers."""

    number: int
    people: People
    pairs: Pairs
    visits: Sessions
    shown: Shown
    landings: Array
    """Rows of the visits that began on the home page: page p decided the slots 2p and 2p + 1."""
    mails: Mails
    lines: Events
    states: OrderStates
    log: Events
    outcomes: Outcomes
    links: Links
    recorded: Array
    """int64[log]: when each event became known."""

    @property
    def first_mail(self) -> int:
        """Number of the first mail's decision."""
        return 2 * len(self.landings)

    @property
    def decisions(self) -> int:
        """How many decisions there are: two a page, then one a mail."""
        return self.first_mail + len(self.mails)


def blocks_of(world: World) -> int:
    """How many blocks a shop has."""
    return -(-world.size.customers // world.size.block)


def make_block(world: World, number: int) -> Block:
    """Simulate one block; equal for equal (seed, size, locale, period, number), whoever else is simulated."""
    rng = generator(world.seed, 1, number)
    people = make_people(world, rng, number)
    pairs = make_pairs(world, rng, people)
    mails, visits = send_mails(world, rng, people, base_sessions(world, rng, people, pairs))
    shown = show_pages(world, rng, people, visits)
    views = view_items(world, rng, people, pairs, visits)
    wishes = make_wishes(rng, visits, views)
    lines = buy_items(world, rng, people, pairs, visits, shown, views, wishes)
    fates = decide_fates(world, rng, lines)
    landings = np.flatnonzero(visits.landing)
    decision = np.full((len(visits), 2), -1, np.int64)
    decision[landings] = 2 * np.arange(len(landings))[:, None] + np.arange(2)
    first_mail = 2 * len(landings)
    bots = world.size.bots // blocks_of(world) + (number < world.size.bots % blocks_of(world))
    log = Events.concat(
        [
            visit_events(world, rng, people, visits, shown, views),
            basket_events(rng, visits, views, lines),
            wish_events(wishes, lines),
            page_clicks(rng, people, visits, shown, decision),
            mail_events(mails, first_mail),
            after_events(world, rng, lines, fates),
        ]
    )
    mark_known(visits, views, people, log)
    log = Events.concat([log, bot_events(world, rng, bots, len(people))])
    log = log.take(np.argsort(log.at, kind="stable"))
    return Block(
        number=number,
        people=people,
        pairs=pairs,
        visits=visits,
        shown=shown,
        landings=landings,
        mails=mails,
        lines=lines,
        states=order_states(world, rng, lines, fates),
        log=log,
        outcomes=_outcomes(world, visits, shown, landings, mails, lines, fates),
        links=_links(people, visits, views),
        recorded=_recorded(world, rng, log),
    )


def _recorded(world: World, rng: np.random.Generator, log: Events) -> Array:
    """A few events come in hours late, from phones without a connection; none after the end."""
    lag = (rng.exponential(6 * 3600, len(log)) * 1000).astype(np.int64) * 1000
    late = (rng.random(len(log)) < 0.02) & (log.at + lag < world.calendar.end)
    return np.where(late, log.at + lag, log.at)


def _links(people: People, visits: Sessions, views: Views) -> Links:
    rows = np.flatnonzero((visits.mode == Mode.SIGNS_IN) & people.known[visits.person])
    return Links(visits.person[rows], np.minimum(visits.device[rows], 1), sign_in_at(visits, views)[rows])


def line_margin(world: World, locale: Locale, lines: Events, fates: Fates) -> Array:
    """What each line brought: price less discount, tax and cost; nothing for what came back by the end."""
    items = world.catalogue.items
    rate = np.array([locale.tax_of(category.department) for category in CATEGORIES])[items.category[lines.item]]
    paid = lines.price * lines.quantity - lines.discount
    net = paid / (1 + rate) if locale.tax_included else paid
    margin = net - items.cost[lines.item] * lines.quantity
    return np.where(fates.returned < world.calendar.end, 0.0, margin)


def _outcomes(
    world: World, visits: Sessions, shown: Shown, landings: Array, mails: Mails, lines: Events, fates: Fates
) -> Outcomes:
    orders = int(lines.order.max(initial=-1)) + 1
    margins = np.bincount(lines.order, line_margin(world, world.locale, lines, fates), orders)
    order_of_visit = np.full(len(visits), -1)
    order_of_visit[lines.session] = lines.order
    ordered_at = np.zeros(orders, np.int64)
    ordered_at[lines.order] = lines.at
    page, slot = np.nonzero(shown.clicked[landings])
    buying = np.flatnonzero(shown.bought[landings])
    bought = order_of_visit[landings[buying]]
    first = 2 * len(landings)
    parts = [_reward(2 * page + slot, "click", visits.start[landings[page]] + (2 + 2 * slot) * 1_000_000)]
    parts += [_reward(2 * buying + place, "purchase", ordered_at[bought], margins[bought]) for place in range(2)]
    seen = np.flatnonzero((visits.mode != Mode.ANONYMOUS) & ~visits.automatic)
    visit = first_in_window(visits.person[seen], visits.start[seen], mails.person, mails.decided, WINDOW)
    came = np.flatnonzero(visit >= 0)
    parts.append(_reward(first + came, "visit", visits.start[seen][visit[came]]))
    order = first_in_window(lines.person, lines.at, mails.person, mails.decided, WINDOW)
    ordered = np.flatnonzero(order >= 0)
    line = order[ordered]
    parts.append(_reward(first + ordered, "purchase", lines.at[line], margins[lines.order[line]]))
    clicked, left = np.flatnonzero(mails.clicked < NEVER), np.flatnonzero(mails.left < NEVER)
    parts.append(_reward(first + clicked, "click", mails.clicked[clicked]))
    parts.append(_reward(first + left, "unsubscribe", mails.left[left]))
    outcomes = Outcomes.concat(parts)
    return outcomes.take(np.lexsort((outcomes.reward, outcomes.decision)))


def _reward(decision: Array, name: str, at: Array, margin: Array | None = None) -> Outcomes:
    n = len(decision)
    return Outcomes(
        decision=decision,
        reward=np.full(n, REWARDS.index(name), np.int8),
        margin=np.full(n, np.nan) if margin is None else margin,
        at=at,
    )
