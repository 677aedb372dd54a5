"""A page: modules and actions for its slots, no item twice, each slot a decision of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from features.errors import RequestError, Unavailable
from features.moments import format_instant
from features.personal import wishlist
from serving.asking import note_questions
from serving.candidates import Rows
from serving.counting import counts_of
from serving.decide import Decision, feature_rows, new_id, told_by, unit_of
from serving.drawing import Choice, Draws
from serving.eligibility import segments_of
from serving.engine import Engine
from serving.experiments import arranged
from serving.explain import explain
from serving.filling import first_fillable, instead
from serving.greeting import basis, greeting
from serving.hydrate import hydrate, told_trouble
from serving.keeping import Keep, at_once, settled
from serving.live import Live
from serving.modules import Filled
from serving.offered import Offered, offer
from serving.pinned import Laid
from serving.pipeline import Answer, cards, noted, remember
from serving.placing import PIN
from serving.query import Filter, Query
from serving.reasons import title_of
from serving.saying import Said, in_language
from serving.settings.pages import Page, Slot
from serving.situation import Situation
from serving.strict import nearest
from serving.taken import Taken
from serving.watch import lap, watching
from serving.wire import PageRequest

UNFILLED = "no module could be filled"
NOTHING = "nothing is better here than what could be shown"


def page(engine: Engine, request: PageRequest, now: int) -> Answer:
    """`page_soon` for callers without an event loop."""
    return at_once(page_soon(engine, request, now, engine.store.keep_at_once))


async def page_soon(engine: Engine, request: PageRequest, now: int, keep: Keep) -> Answer:
    """`POST /v1/pages`, from request to answer.

    Args:
        engine, request, now: the request and its moment.
        keep: how what was drawn is kept: `Store.keep`, in one flush with the events of this moment.
    """
    live = engine.live
    layout = layout_of(live, request.page)
    query, holdout = hydrate(engine, live, request, now)
    query = msgspec.structs.replace(query, surface=f"{request.surface}.{request.page}", filter=Filter())
    experiments = live.stops.running(live.config.experiments)
    layout, arms = arranged(engine.shop, experiments, request.page, layout, None if holdout else unit_of(query))
    layout = live.stops.arranged(layout)
    situation = Situation(live, query)
    laid = Laid.over(situation, request.page, layout)
    counts = counts_of(engine, situation, laid.named(layout) if laid else layout)
    offered = offer(situation, layout, holdout=holdout, surface=request.surface, counts=counts, laid=laid)
    lap("fillable")
    draws = draws_of(engine, live, query, layout.slots, holdout)
    plan = Plan(situation, layout, offered, holdout, draws, arms)
    body, decisions, unwritten = await settled(draws, plan.decided, None if engine.preview else keep, counts)
    answer = {"page": request.page, "greeting": greeting(situation), **body, "bundleId": live.bundle.id}
    answer |= basis(situation, holdout) | told_trouble(query)
    if request.explain:
        answer["explain"] = explained(situation, offered)
    lap("fill")
    answer = remember(engine, unwritten, answer)
    note_questions(engine, query, body)
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
        """Slot by slot: veto what cannot be shown, let the policy draw or take the first, use its items up."""
        request_id = self.draws.request_id if self.draws else new_id()
        families: Counter[str] = Counter()
        taken, told = Taken(), told_by(self.now.query.context)
        slots: list[Answer] = []
        decisions: list[Decision] = []
        shown: list[Rows] = []
        pinned: list[list[int]] = []
        for position, slot in enumerate(self.layout.slots):
            vetoed = self.offered.vetoes(slot, taken, drawn=self._is_drawn(slot))
            choice = self._choice(slot, families, vetoed, taken)
            if choice.action is None and self.draws is not None and slot.policy is not None:
                choice, vetoed = self._instead(self.draws, slot, taken, choice, vetoed)
            content = self.offered.contents.get(choice.action or "")
            rows, sources = self.offered.unused(choice.action, taken, slot)
            decision = self._decision(request_id, slot, position, vetoed, choice, rows, told)
            once_more = (choice.action or "") in taken.names
            slots.append(_slot(self.now, content, decision, rows, sources, once_more=once_more))
            decisions.append(decision)
            shown.append(rows)
            pinned.append([row for row, source in zip(rows.tolist(), sources, strict=True) if source == PIN])
            sells = self.offered.sells(choice.action)
            taken.add(choice.action, rows, self.offered.category, sells=sells)
        return {"requestId": request_id, "slots": slots}, with_features(self.now, decisions, shown, pinned)

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

    def _decision(
        self, request_id: str, slot: Slot, position: int, vetoed: list[tuple[str, str]], choice: Choice, rows: Rows,
        told: dict[str, str] | None,
    ) -> Decision:  # fmt: skip
        live, query = self.now.live, self.now.query
        return Decision(
            decision_id=new_id(), request_id=request_id, decided_at=query.now,
            surface=query.surface, slot=slot.name, position=position, draw_order=position,
            eligible=choice.eligible, vetoed=vetoed, action_id=choice.action, action_propensity=choice.propensity,
            items=live.bundle.ids_of(rows),
            policy=choice.policy, drawn=choice.drawn, reused_from=choice.reused_from, features=choice.features,
            bundle_id=live.bundle.id, shop_hash=live.shop_hash, holdout=self.holdout,
            customer_id=query.user_id, visitor_id=query.visitor_id, context=told,
            arm=self.arms.get(slot.name),
            fallback=choice.fallback,
        )  # fmt: skip


def with_features(
    now: Situation, decisions: list[Decision], shown: list[Rows], pinned: list[list[int]]
) -> list[Decision]:  # fmt: skip
    """Add the feature rows of all items of the page, assembled in one go: no item stands in two slots.

    Beside what a policy read of the subject (`names` and one row) those of its items stand under `items`. Items that
    stand where a pin wants them are named under `pinned`.
    """
    block = feature_rows(now.live.bundle, now.query, np.concatenate(shown))
    ends = np.cumsum([len(rows) for rows in shown])
    out = []
    for each, rows, fixed, end in zip(decisions, shown, pinned, ends, strict=True):
        if len(rows):
            items = {**block, "rows": block["rows"][end - len(rows) : end]}
            features = items if each.features is None else {**each.features, "items": items}
            if fixed:
                features = {**features, "pinned": [now.live.bundle.items[row] for row in fixed]}
            each = msgspec.structs.replace(each, features=features)
        out.append(each)
    return out


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


def _slot(
    now: Situation, content: Filled | Said | None, decision: Decision, rows: Rows, sources: tuple[str, ...], *,
    once_more: bool,
) -> Answer:  # fmt: skip
    head = {"slot": decision.slot, "decisionId": decision.decision_id, "actionId": decision.action_id}
    if content is None:
        reason = NOTHING if decision.fallback is None else UNFILLED
        return {**head, "kind": None, "title": None, "items": [], "reason": reason}
    if isinstance(content, Said):
        return {**head, **told_of(content), "items": [], "reason": decision.fallback}
    about = "" if content.about is None else title_of(now.live.ranker, content.about)
    heading = content.module.again if once_more else content.module.title
    query = content.query
    hearts = query.once(wishlist, lambda: frozenset(wishlist(query.history)[0].tolist()))
    return {
        **head,
        "kind": content.module.kind,
        "title": in_language(heading, now.locale).replace("{item}", about),
        "items": cards(now.live, query, rows, sources, [row in hearts for row in rows.tolist()]),
        "reason": decision.fallback,
    }


def told_of(content: Said) -> Answer:
    """An action's words and media, as on the wire."""
    told: Answer = {
        "kind": content.action.kind, "title": content.title, "text": content.text, "imageUrl": content.image_url,
        "alt": content.alt, "url": content.url,
    }  # fmt: skip
    if content.orders:
        told["orders"] = list(content.orders)
    if content.question is not None:
        told["question"] = content.question
    if content.expires_at is not None:
        told["expiresAt"] = format_instant(content.expires_at)
    return told
