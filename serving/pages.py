"""A page: modules and actions for its slots, no item twice, each slot a decision of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from features.errors import RequestError, Unavailable
from serving.asking import note_questions
from serving.counting import counts_of
from serving.decide import Decision, new_id, unit_of
from serving.drawing import Choice, Draws
from serving.eligibility import segments_of
from serving.engine import Engine
from serving.experiments import arranged
from serving.explain import explain
from serving.filling import first_fillable, instead
from serving.greeting import basis, greeting
from serving.hydrate import hydrate, told_trouble
from serving.keeping import Keep, at_once, settled, unless_refused
from serving.live import Live
from serving.modules import Filled
from serving.occupied import Occasion, Occupied, shown
from serving.offered import Offered, offer
from serving.pinned import Laid
from serving.pipeline import Answer, noted, remember
from serving.placing import PIN
from serving.query import Filter, Query
from serving.settings.pages import Page, Slot
from serving.situation import Situation
from serving.steps import Go, Steps, alone, finished
from serving.strict import nearest
from serving.taken import Taken
from serving.watch import lap, watching
from serving.wire import PageRequest


def page(engine: Engine, request: PageRequest, now: int) -> Answer:
    """`page_soon` for callers without an event loop."""
    return at_once(page_soon(engine, request, now, engine.store.keep_at_once))


async def page_soon(engine: Engine, request: PageRequest, now: int, keep: Keep, go: Go = alone) -> Answer:
    """`POST /v1/pages`, from request to answer.

    Args:
        engine, request, now: the request and its moment.
        keep: how what was drawn is kept: `Store.keep`, in one flush with the events of this moment.
        go: how steps are done: `Together`, side by side with other requests of this moment.
    """
    plan, first = await go(planned, engine, request, now)
    kept, counts = None if engine.preview else keep, plan.offered.counts
    body, decisions, unwritten = await settled(plan.draws, plan.decided, kept, counts, first)
    answer = answered(engine, request, plan, body, decisions, unwritten)
    kept = unless_refused(kept, plan.draws, counts)
    await note_questions(plan.now.query, answer["slots"], answer["requestId"], kept)
    return answer


def planned(engine: Engine, request: PageRequest, now: int) -> Steps[tuple[Plan, tuple[Answer, list[Decision]]]]:
    """Who asks, how the page is laid out for them, all that could stand on it, and what the slots show of that."""
    live = engine.live
    layout = layout_of(live, request.page)
    query, holdout = hydrate(engine, live, request, now)
    yield
    query = msgspec.structs.replace(query, surface=f"{request.surface}.{request.page}", filter=Filter())
    experiments = live.stops.running(live.config.experiments)
    layout, arms = arranged(engine.shop, experiments, request.page, layout, None if holdout else unit_of(query))
    layout = live.stops.arranged(layout)
    situation = Situation(live, query)
    laid = Laid.over(situation, request.page, layout)
    counts = counts_of(engine, situation, laid.named(layout) if laid else layout)
    offered = yield from offer(situation, layout, holdout=holdout, surface=request.surface, counts=counts, laid=laid)
    if request.explain:  # which tells all of each module: what is wrong with one is told before anything is drawn
        for each in offered.contents.values():
            if isinstance(each, Filled):
                each.rank_all()
    draws = draws_of(engine, live, query, layout.slots, holdout)
    plan = Plan(situation, layout, offered, holdout, draws, arms)
    lap("fillable")
    yield
    return plan, (yield from plan.deciding())


def answered(
    engine: Engine, request: PageRequest, plan: Plan, body: Answer, decisions: list[Decision], unwritten: list[Decision]
) -> Answer:  # fmt: skip
    """The answer from what was decided; it is logged before it leaves.

    Args:
        engine, request, plan: whose page, and what it was decided from.
        body, decisions: its slots, and the decision of each.
        unwritten: those that are still to be logged.
    """
    situation, offered, draws = plan.now, plan.offered, plan.draws
    answer = {"page": request.page, "greeting": greeting(situation), **body, "bundleId": situation.live.bundle.id}
    answer |= basis(situation, plan.holdout) | told_trouble(situation.query)
    if request.explain:
        answer["explain"] = explained(situation, offered)
    lap("fill")
    answer = remember(engine, unwritten, answer)
    if draws is not None and draws.fresh and unwritten is decisions and answer.get("logged") is False:
        # What is drawn and not remembered can never be learned from: then nothing is drawn.
        draws.again(closed=True)
        body, decisions = plan.decided()
        unwritten = decisions
        answer |= body
    noted(engine, decisions, unwritten, answer)
    if request.explain:
        answer["explain"] = explained(situation, offered) | {"milliseconds": watching().milliseconds()}
    return answer


def draws_of(engine: Engine, live: Live, query: Query, slots: Sequence[Slot], holdout: bool) -> Draws | None:
    """The draws of a page's slots; None where no slot has a policy, and for the permanent holdout.

    While it cannot be read what holds for the subject, nothing is drawn.
    """
    if holdout or not any(slot.policy for slot in slots):
        return None
    draws = Draws(engine.shop, live.policies, live.config.shop.time_zone, query, engine.request_id or new_id())
    try:
        draws.held = engine.store.held_of(query.user_id, query.visitor_id)
    except Unavailable:
        draws.closed = True
    return draws


def layout_of(live: Live, name: str) -> Page:
    """The page of that name.

    Raises:
        RequestError: the shop has no such page.
    """
    found = live.config.pages.get(name)
    if found is None:
        hint = nearest(name, list(live.config.pages))
        raise RequestError("the shop has no such page", where="page", got=name, hint=hint)
    return found


@dataclass(frozen=True)
class Plan:
    """All that the slots of one page are decided from.

    Args:
        now: who, when, where.
        layout: the page as this subject's arms have it.
        offered: what could take a slot, and why the rest cannot.
        holdout: whether the subject gets what is the same for all.
        draws: of the slots that have a policy; None: nothing is drawn.
        arms: slot -> the subject's arm, for the slots that an experiment is about.
    """

    now: Situation
    layout: Page
    offered: Offered
    holdout: bool = False
    draws: Draws | None = None
    arms: Mapping[str, str] = field(default_factory=dict)

    def decided(self) -> tuple[Answer, list[Decision]]:
        """`deciding`, in one go."""
        return finished(self.deciding())

    def deciding(self) -> Steps[tuple[Answer, list[Decision]]]:
        """Slot by slot: veto what cannot be shown, let the policy draw or take the first, use its items up."""
        occasion = Occasion(self.now, self.draws.request_id if self.draws else new_id(), self.holdout, self.arms)
        families: Counter[str] = Counter()
        offered, taken = self.offered, Taken()
        page = []
        for slot in self.layout.slots:
            vetoed = offered.vetoes(slot, taken, drawn=self._is_drawn(slot))
            choice = self._choice(slot, families, vetoed, taken)
            if choice.action is None and self.draws is not None and slot.policy is not None:
                choice, vetoed = self._instead(self.draws, slot, taken, choice, vetoed)
            action = choice.action
            content = offered.contents.get(action or "")
            rows, sources = offered.unused(action, taken, slot)
            page.append(Occupied(slot, choice, vetoed, content, rows, sources, (action or "") in taken.names))
            taken.add(action, rows, offered.counted(rows), sells=offered.sells(action))
        yield
        slots, decisions = shown(occasion, page)
        return {"requestId": occasion.request_id, "slots": slots}, decisions

    def _choice(
        self, slot: Slot, families: Counter[str], vetoed: list[tuple[str, str]], taken: Taken
    ) -> Choice:  # fmt: skip
        family = slot.family or slot.name
        place = families[family]
        families[family] += 1
        pinned = self.offered.pinned(slot, taken)
        if pinned is not None:
            return Choice(pinned, [(pinned, 1.0)], 1.0, PIN, drawn=False)
        if self.draws is not None and slot.policy is not None:
            return self.draws.choose(slot, place, vetoed)
        return first_fillable(slot, vetoed, self.holdout, self.offered.unfit)

    def _is_drawn(self, slot: Slot) -> bool:
        return self.draws is not None and slot.policy is not None

    def _instead(
        self, draws: Draws, slot: Slot, taken: Taken, choice: Choice, vetoed: list[tuple[str, str]]
    ) -> tuple[Choice, list[tuple[str, str]]]:
        found = instead(self.offered, draws.policies[str(slot.policy)], slot, taken, choice, vetoed)
        if found[0].action is not None and draws.fresh and draws.fresh[-1].slot is slot:
            draws.fresh.pop()  # that nothing was drawn need not hold
        return found


def explained(now: Situation, offered: Offered) -> Answer:
    """Where each module's items came from, why actions cannot be shown, and what personal data was read."""
    modules = {
        name: explain(now.live, each.query, each.slate)
        for name, each in offered.contents.items() if isinstance(each, Filled)
    }  # fmt: skip
    return {
        **modules,
        "situation": {
            "stage": now.stage.name, "why": now.stage.why, "region": now.region, "season": now.local.season,
            "segments": sorted(segments_of(now)), "projects": [project.kind for project in now.projects],
        },
        "unfit": [{"actionId": name, "reason": why} for name, why in offered.why_unfit.items()],
        **(offered.laid.told() if offered.laid else {"pins": [], "quotas": []}),
        "personalData": sorted(now.used | now.query.asked),
    }  # fmt: skip
