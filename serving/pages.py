"""A page: modules for its slots, no item twice, each slot a decision of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import msgspec
import numpy as np

from features.errors import RequestError
from features.personal import open_wishes
from features.schemas import EventType
from serving.candidates import Rows
from serving.config import Module, Page, Slot
from serving.decide import POLICY, Decision, feature_rows, new_id, unit_of
from serving.drawing import Choice, Draws
from serving.engine import Engine, Live
from serving.experiments import arranged
from serving.keeping import Keep, at_once, settled
from serving.pipeline import Answer, anchor_weights, cards, explain, hydrate, remember
from serving.query import Filter, Query
from serving.ranker import Slate, Voice
from serving.reasons import WISHLIST, title_of
from serving.recipe import SelectionSpec
from serving.strict import nearest
from serving.wire import PageRequest

UNFILLED = "no module could be filled"
NOTHING = "nothing is better here than what could be shown"


@dataclass(frozen=True)
class Filled:
    """A module with the items it could show now."""

    module: Module
    slate: Slate
    query: Query
    about: int | None = None
    """The item that the module relates to, for its heading."""


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
    query = msgspec.structs.replace(query, surface=f"page.{request.page}")
    unit = None if holdout else unit_of(query)
    layout, arms = arranged(engine.shop, live.config.experiments, request.page, layout, unit)
    fillable = {name: build(live, query, module, len(layout.slots)) for name, module in live.config.modules.items()}
    draws = draws_of(engine, live, query, layout.slots, holdout)

    def decide() -> tuple[Answer, list[Decision]]:
        return decide_and_fill(live, query, layout, fillable, holdout, draws, arms)

    body, decisions, unwritten = await settled(draws, decide, None if engine.preview else keep)
    answer = {"page": request.page, "greeting": greeting(live, query), **body, "bundleId": live.bundle.id}
    if request.explain:
        answer["explain"] = {name: explain(live, filled.query, filled.slate) for name, filled in fillable.items()}
    answer = remember(engine, unwritten, answer)
    if draws is not None and draws.fresh and unwritten is decisions and answer.get("logged") is False:
        # What is drawn and not remembered can never be learned from: then nothing is drawn.
        draws.again(closed=True)
        answer |= decide()[0]
    return answer


def draws_of(engine: Engine, live: Live, query: Query, slots: Sequence[Slot], holdout: bool) -> Draws | None:
    """The draws of a page's slots; None where no slot has a policy, and for the permanent holdout."""
    if holdout or not any(slot.policy for slot in slots):
        return None
    held = engine.store.held_of(query.user_id, query.visitor_id)
    return Draws(engine.shop, live.policies, live.config.shop.time_zone, query, new_id(), held)


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


def build(live: Live, query: Query, module: Module, slots: int) -> Filled:
    """Rank a module's items: enough of them that other slots may take some away."""
    asked = msgspec.structs.replace(query, num_results=module.size * slots)
    return _BUILDERS[module.kind](live, asked, module)


def decide_and_fill(
    live: Live, query: Query, layout: Page, fillable: Mapping[str, Filled], holdout: bool, draws: Draws | None = None,
    arms: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Answer, list[Decision]]:  # fmt: skip
    """Slot by slot: veto what cannot be filled, let the policy draw or take the first module, use its items up.

    Args:
        live, query, layout, holdout: of the request.
        fillable: each module with what it could show.
        draws: of the slots that have a policy; None: nothing is drawn.
        arms: slot -> the subject's arm, for the slots that an experiment is about.
    """
    request_id = draws.request_id if draws else new_id()
    families: Counter[str] = Counter()
    used: set[int] = set()
    taken: set[str] = set()
    slots: list[Answer] = []
    decisions: list[Decision] = []
    shown: list[Rows] = []
    for position, slot in enumerate(layout.slots):
        vetoed = list(vetoes(slot, fillable, live, used, taken, holdout))
        family = slot.family or slot.name
        if draws is not None and slot.policy is not None:
            choice = draws.choose(slot, families[family], vetoed)
        else:
            choice = first_fillable(slot, vetoed, holdout)
        families[family] += 1
        chosen = choice.action
        filled = fillable[chosen] if chosen else None
        rows, sources = unused(filled, used) if filled else (np.empty(0, np.int32), ())
        arm = arms.get(slot.name)
        decision = _decision(live, query, request_id, slot, position, vetoed, choice, rows, holdout, arm)
        slots.append(_slot(live, filled, decision, rows, sources))
        decisions.append(decision)
        shown.append(rows)
        used.update(rows.tolist())
        taken.add(chosen or "")
    return {"requestId": request_id, "slots": slots}, with_features(live, query, decisions, shown)


def first_fillable(slot: Slot, vetoed: list[tuple[str, str]], holdout: bool) -> Choice:
    """The first module of the list that can be filled, with probability 1; the rule of slots without a policy."""
    chosen = next((name for name in slot.modules if name not in dict(vetoed)), None)
    return Choice(
        chosen, [(chosen, 1.0)], 1.0, "holdout" if holdout else POLICY,
        # Where others are drawn, what is the same for all is not one of the draws.
        drawn=slot.policy is None,
        fallback=None if chosen == slot.modules[0] else "the first choice could not be filled",
    )  # fmt: skip


def with_features(live: Live, query: Query, decisions: list[Decision], shown: list[Rows]) -> list[Decision]:
    """Add the feature rows of all items of the page, assembled in one go: no item stands in two slots.

    Beside what a policy read of the subject (`names` and one row) those of its items stand under `items`.
    """
    block = feature_rows(live.bundle, query, np.concatenate(shown))
    ends = np.cumsum([len(rows) for rows in shown])
    out = []
    for each, rows, end in zip(decisions, shown, ends, strict=True):
        if len(rows):
            items = {**block, "rows": block["rows"][end - len(rows) : end]}
            features = items if each.features is None else {**each.features, "items": items}
            each = msgspec.structs.replace(each, features=features)
        out.append(each)
    return out


def vetoes(
    slot: Slot, fillable: Mapping[str, Filled], live: Live, used: set[int], taken: set[str], holdout: bool
) -> list[tuple[str, str]]:
    """What may not take this slot, and why, before anything is decided."""
    out = []
    for name in slot.modules:
        filled = fillable[name]
        left = len(unused(filled, used)[0])
        if name in taken:
            out.append((name, "already on the page"))
        elif holdout and filled.module.kind != "popular":
            out.append((name, "holdout"))
        elif left < filled.module.minimum:
            out.append((name, f"too few items ({left} of {filled.module.minimum})"))
    return out


def unused(filled: Filled, used: set[int]) -> tuple[Rows, tuple[str, ...]]:
    """The module's items that no earlier slot shows."""
    slate = filled.slate
    free = [at for at, row in enumerate(slate.items.tolist()) if row not in used][: filled.module.size]
    return slate.items[free], tuple(slate.sources[at] for at in free)


def greeting(live: Live, query: Query) -> Answer:
    """A natural sentence whether anything is known of the subject or not."""
    known = query.user_id is not None and len(query.history) > 0
    words = {
        "en": ("Welcome back", "Welcome"),
        "ja": ("おかえりなさいませ", "いらっしゃいませ"),
    }[live.config.shop.locale]
    return {"text": words[0] if known else words[1]}


def _decision(
    live: Live, query: Query, request_id: str, slot: Slot, position: int,
    vetoed: list[tuple[str, str]], choice: Choice, rows: Rows, holdout: bool, arm: str | None,
) -> Decision:  # fmt: skip
    return Decision(
        decision_id=new_id(), request_id=request_id, decided_at=query.now,
        surface=query.surface, slot=slot.name, position=position, draw_order=position,
        eligible=choice.eligible, vetoed=vetoed, action_id=choice.action, action_propensity=choice.propensity,
        items=[live.bundle.items[int(row)] for row in rows],
        policy=choice.policy, drawn=choice.drawn, reused_from=choice.reused_from, features=choice.features,
        bundle_id=live.bundle.id, shop_hash=live.shop_hash, holdout=holdout,
        customer_id=query.user_id, visitor_id=query.visitor_id, arm=arm,
        fallback=choice.fallback,
    )  # fmt: skip


def _slot(live: Live, filled: Filled | None, decision: Decision, rows: Rows, sources: tuple[str, ...]) -> Answer:
    head = {"slot": decision.slot, "decisionId": decision.decision_id, "actionId": decision.action_id}
    if filled is None:
        return {
            **head,
            "kind": None,
            "title": None,
            "items": [],
            "reason": NOTHING if decision.fallback is None else UNFILLED,
        }
    locale = live.config.shop.locale
    about = "" if filled.about is None else title_of(live.ranker, filled.about)
    title = filled.module.title.get(locale) or next(iter(filled.module.title.values()))
    hearts, _ = open_wishes(filled.query.history, rows)
    return {
        **head,
        "kind": filled.module.kind,
        "title": title.replace("{item}", about),
        "items": cards(live, filled.query, rows, sources, hearts),
        "reason": decision.fallback,
    }


def _by_kind(live: Live, kind: str) -> dict[str, float]:
    return {spec.name: 1.0 for spec in live.bundle.recipe.sources if spec.kind == kind}


def _only(
    live: Live, query: Query, module: Module, voice: Voice, about: int | None = None,
    selection: SelectionSpec | None = None,
) -> Filled:  # fmt: skip
    """Rank by one voice and without filling: a module shows what it promises or is not shown."""
    slate = live.ranker.rank(query, voice, filled=False, selection=selection)
    return Filled(module, slate, query, about)


def _buy_again(live: Live, query: Query, module: Module) -> Filled:
    return _only(live, query, module, _by_kind(live, "personal-frequency"))


def _for_you(live: Live, query: Query, module: Module) -> Filled:
    query, recipe = msgspec.structs.replace(query, filter=Filter(exclude=("purchased",))), live.bundle.recipe
    if recipe.ranker is not None and len(query.history):
        return _only(live, query, module, recipe.ranker, selection=recipe.selection)
    weights = live.ranker.weights_for(query)
    personal = {name: weight for name, weight in weights.items() if live.ranker.sources[name].personal}
    return _only(live, query, module, personal, selection=recipe.selection)


def _popular(live: Live, query: Query, module: Module) -> Filled:
    return _only(live, query, module, _by_kind(live, "popularity"))


def _wishlist(live: Live, query: Query, module: Module) -> Filled:
    """What is wished, latest first, then what goes with it."""
    asked = np.unique(query.history.of_types(EventType.WISHLIST).item)
    hearts, since = open_wishes(query.history, asked)
    wishes = asked[hearts][np.argsort(-since[hearts], kind="stable")]
    wishes = wishes[wishes >= 0]
    near = msgspec.structs.replace(query, anchors=tuple(wishes[:20].tolist()))
    found = _only(live, near, module, anchor_weights(live) if len(wishes) else {})
    shown = wishes[live.bundle.catalogue[wishes] & ~live.ranker.shelf.withdrawn[wishes]]
    slate = replace(
        found.slate,
        items=np.concatenate([shown, found.slate.items]).astype(np.int32),
        scores=np.concatenate([np.ones(len(shown), np.float32), found.slate.scores]),
        sources=(*(WISHLIST for _ in shown), *found.slate.sources),
    )
    return replace(found, slate=slate)


def _related(live: Live, query: Query, module: Module) -> Filled:
    """What goes with the item viewed last."""
    viewed = query.history.of_types(EventType.VIEW).item
    viewed = viewed[viewed >= 0]
    about = int(viewed[-1]) if len(viewed) else None
    near = msgspec.structs.replace(query, anchors=() if about is None else (about,))
    return _only(live, near, module, anchor_weights(live) if len(viewed) else {}, about)


def _session(live: Live, query: Query, module: Module) -> Filled:
    """What goes with what the subject looks at now; nothing where no session runs."""
    return _only(live, query, module, _by_kind(live, "session"))


_BUILDERS = {
    "buy-again": _buy_again,
    "wishlist": _wishlist,
    "for-you": _for_you,
    "popular": _popular,
    "related-to-last-view": _related,
    "session": _session,
}
