"""The serving pipeline as of a past moment, asked for the probabilities of a page instead of a draw.

Slot by slot, in the logged order, with what was logged in the slots above: so the probabilities are conditional, like
the log's (`training.offpolicy.slots`). Everything that decides is serving's own code: history under its rule, vetoes,
the modules' items, the policy's probabilities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np

from features.errors import DataError, NotFoundError
from features.history import History
from features.shop import Shop
from serving.artifact import MANIFEST
from serving.bundle import Bundle, open_bundle
from serving.business import Business
from serving.config import ShopConfig
from serving.drawing import Choice, Draws
from serving.filling import first_fillable, instead
from serving.hydrate import hydrate
from serving.live import Live
from serving.modules import Filled, build
from serving.newer import Found
from serving.offered import Offered, offer
from serving.pages import layout_of
from serving.person import NOBODY, PERSONALIZATION, Consents, Person
from serving.pinned import Laid
from serving.placing import PIN
from serving.policy_files import open_policies
from serving.query import Filter
from serving.ranker import Ranker
from serving.settings.pages import Module, Page, Slot
from serving.shelf import Shelf
from serving.situation import Situation
from serving.steps import Steps, finished
from serving.strict import nearest
from serving.taken import Taken
from serving.wire import PageRequest
from training.contest import remembering
from training.offpolicy.pages import Request, Shown
from training.offpolicy.pasts import Pasts
from training.parallel import in_parts

if TYPE_CHECKING:
    from serving.engine import Engine

Which = tuple[str, str]
"""Bundle id and hash of the configuration: a pipeline."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pipeline says of a slot.

    Args:
        chances: each eligible action with its probability; they sum to 1.
        items: ids that it would show in the action that was logged.
        holdout: whether the subject gets the page that is the same for all.
    """

    chances: tuple[tuple[str | None, float], ...]
    items: tuple[str, ...]
    holdout: bool = False


Answers = tuple[Answer, ...] | None
"""One a slot of a page; None where the page has other slots than those that were logged."""


@dataclass(frozen=True, slots=True)
class Then:
    """What the pipeline reads of an engine, at one past moment."""

    shop: Shop
    history: History

    def find(self, live: Live, user_id: str | None, visitor_id: str | None) -> Found:
        """There is no store and nothing mapped: what is known was given."""
        return Found()

    def history_of(self, live: Live, user_id: str | None, visitor_id: str | None, found: Found) -> History:
        """The subject's history; whose it is was settled before."""
        return self.history

    def consents_of(self, live: Live, user_id: str | None, visitor_id: str | None, found: Found) -> Consents:
        """Who had not agreed was logged without a name; whoever has one had."""
        named = user_id is not None or visitor_id is not None
        return Consents(assumed=frozenset({PERSONALIZATION}) if named else frozenset())

    def person_of(self, live: Live, user_id: str | None, visitor_id: str | None, now: int, found: Found) -> Person:
        """Answers and orders of a past moment are not read: pages that hang on them are not reproduced."""
        return NOBODY


class Chances(Draws):
    """Draws of which only the probabilities are read; a policy that fails is an error, not a fallback."""

    def choose(self, slot: Slot, place: int, vetoed: list[tuple[str, str]]) -> Choice:
        """As `Draws.choose`."""
        return self._drawn(self.policies[str(slot.policy)], slot, place, vetoed)


def open_live(shop: Shop, bundle: Bundle, config: ShopConfig) -> Live:
    """A bundle under a configuration, ready to answer; there is no store and no history in it.

    Raises:
        ConfigError: the configuration does not fit the bundle, or names a policy that cannot be used.
    """
    ranker = Ranker(bundle, Shelf(bundle), Business.of(bundle, config))
    nothing = np.empty(0, np.int32)
    return Live(config, config.hash, ranker, None, nothing, 0, None, (0, 0), open_policies(shop.policies, config))


def bundle_of(shop: Shop, name: str) -> Bundle:
    """One of the shop's bundles.

    Raises:
        NotFoundError: there is none of that name (with the nearest).
        BundleError: it is damaged.
    """
    if not (shop.bundles / name / MANIFEST).is_file():
        valid = sorted(path.parent.name for path in shop.bundles.glob(f"*/{MANIFEST}"))
        hint = nearest(name, valid) if valid else "the shop has no bundles"
        raise NotFoundError("no such bundle", where=str(shop.bundles), got=name, hint=hint)
    return open_bundle(shop.bundles / name)


def rebuild(
    shop: Shop, pasts: Pasts, requests: Sequence[Request], lives: Mapping[Which, Live],
    wanted: Callable[[Request], Sequence[Which]], progress: Callable[[int], None] = lambda done: None,
) -> list[dict[Which, Answers]]:  # fmt: skip
    """Ask pipelines about pages.

    Args:
        shop: whose.
        pasts: what was known when.
        requests: in order of time.
        lives: the pipelines.
        wanted: which of them are asked about a request.
        progress: told how many requests were done since the last call.

    Returns:
        For each request the answers of those that were asked.

    Raises:
        DataError: a policy failed.
        RequestError: a pipeline has no page of that name.
    """
    translations = {which[0]: pasts.histories.items.translate_to(live.bundle.items) for which, live in lives.items()}

    def asked(places: range) -> list[dict[Which, Answers]]:
        shelves = _Shelves(pasts, lives)
        found = []
        for place in places:
            request = requests[place]
            history = pasts.of(request.customer, request.visitor, request.at)
            shelves.move_to(request.at)
            rows = {bundle: history.with_items(each) for bundle, each in translations.items()}
            fillings: dict[bytes, Filled] = {}
            found.append({
                which: _answers(Then(shop, rows[which[0]]), shelves.lives[which], request, fillings)
                for which in wanted(request)
            })  # fmt: skip
        return found

    return [each for part in in_parts(asked, len(requests), progress) for each in part]


class _Shelves:
    """Pipelines of one's own, whose shelves go on with time: a bundle has one ranker, whatever the configuration."""

    def __init__(self, pasts: Pasts, lives: Mapping[Which, Live]) -> None:
        self._changes, self._done = pasts.changes, 0
        rankers: dict[str, Ranker] = {}
        self.lives: dict[Which, Live] = {}
        for which, live in lives.items():
            if which[0] not in rankers:
                rankers[which[0]] = remembering(Ranker(live.bundle, Shelf(live.bundle)))
            self.lives[which] = replace(live, ranker=rankers[which[0]].with_business(live.ranker.business))
        self._shelves = [ranker.shelf for ranker in rankers.values()]

    def move_to(self, now: int) -> None:
        start = self._done
        while self._done < len(self._changes) and self._changes[self._done][0] < now:
            self._done += 1
        for shelf in self._shelves if self._done > start else ():
            shelf.apply((item, fields) for _, item, fields in self._changes[start : self._done])


def _answers(then: Then, live: Live, request: Request, fillings: dict[bytes, Filled]) -> Answers:
    """A pipeline's answer; modules are ranked once for all that rank them alike."""
    layout = layout_of(live, str(request.page))
    if [slot.name for slot in layout.slots] != [slot.slot for slot in request.slots]:
        return None
    body = PageRequest(
        page=str(request.page), user_id=request.customer, visitor_id=request.visitor, context=request.context
    )
    # `hydrate` reads nothing of an engine but what Then has.
    query, holdout = hydrate(cast("Engine", then), live, body, request.at - 1)
    query = msgspec.structs.replace(query, surface=f"page.{request.page}", filter=Filter())
    config = live.config
    alike = live.bundle.id, config.selection, config.repurchase, config.shop.time_zone
    now = Situation(live, query)

    def remembered(now: Situation, module: Module, slots: int) -> Steps[Filled]:
        key = msgspec.json.encode((alike, module, slots))
        if key not in fillings:
            fillings[key] = yield from build(now, module, slots)
        return fillings[key]

    laid = Laid.over(now, str(request.page), layout)
    offered = finished(offer(now, layout, holdout=holdout, surface="page", build=remembered, laid=laid))
    return ask(then.shop, now, layout, offered, request.slots, holdout=holdout)


def ask(
    shop: Shop, now: Situation, layout: Page, offered: Offered, logged: Sequence[Shown], *, holdout: bool
) -> tuple[Answer, ...]:
    """Slot by slot, what `serving.pages.Plan` would draw from, had the slots above been filled as logged.

    Args:
        shop, now, layout, offered, holdout: as there.
        logged: what took the slots.

    Raises:
        DataError: a policy failed.
    """
    live = now.live
    draws = Chances(shop, live.policies, live.config.shop.time_zone, now.query, "")
    families: Counter[str] = Counter()
    taken = Taken()
    answers = []
    for slot, was in zip(layout.slots, logged, strict=True):
        drawn = slot.policy is not None and not holdout
        vetoed = offered.vetoes(slot, taken, drawn=drawn)
        family = slot.family or slot.name
        pinned = offered.pinned(slot, taken)
        choice = _choice(draws, slot, families[family], vetoed, pinned, holdout=holdout)
        if drawn and choice.action is None:
            choice, _ = instead(offered, live.policies[str(slot.policy)], slot, taken, choice, vetoed)
        families[family] += 1
        rows, _ = offered.unused(was.action, taken, slot)
        items = live.bundle.ids_of(np.array(rows, np.int32))
        answers.append(Answer(tuple(choice.eligible), tuple(items), holdout))
        taken.add(was.action, rows, offered.counted(rows), sells=offered.sells(was.action))
    return tuple(answers)


def _choice(
    draws: Chances, slot: Slot, place: int, vetoed: list[tuple[str, str]], pinned: str | None, *, holdout: bool
) -> Choice:  # fmt: skip
    if pinned is not None:
        return Choice(pinned, [(pinned, 1.0)], 1.0, PIN, drawn=False)
    if holdout or slot.policy is None:
        return first_fillable(slot, vetoed, holdout)
    try:
        return draws.choose(slot, place, vetoed)
    except Exception as error:
        what = f"the policy failed: {type(error).__name__}: {error}"
        raise DataError(what, where=f"policy {slot.policy}, slot {slot.name}") from error
