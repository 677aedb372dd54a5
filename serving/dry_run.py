"""What a change of `shop.toml` would have done: the last requests, rebuilt under the file that serves and a draft.

    found = dry_run(engine, read_draft(text), asked_in_store(engine.store, 500))

Each request is looked at twice (`serving.preview`), as of its moment, with the same subject, context, page and draws.
Both looks see the fields and consents that were told last, so that what moves, moves by the draft alone. Who was
erased is not rebuilt, and a request that named nobody stays one of nobody.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving import wire
from serving.asked_before import Asked
from serving.config import ShopConfig
from serving.engine import Engine
from serving.live import Live
from serving.person import PERSONALIZATION
from serving.preview import Look, Openings, look_at_action, look_at_page
from serving.shares import Share
from serving.store_erasure import is_token

Tell = Callable[[str, int, int], None]
FEW = 50
"""With fewer requests than this shares say little."""
REGIONS = 5
"""So many regions are told apart."""
NO_SLOT = "(no such slot)"
NOTHING = "(nothing)"
UNKNOWN = "nobody named"
"""Who was not named, or did not agree to a personal page."""
ERASED, GONE = "who asked was erased", "one of the files has no such page or channel"
HELD_OUT, UNNAMED = "of the holdout, and nobody is named", "an action for somebody who is not named"
_ANSWER = re.compile(r"^(the answer to \S+) is .*$", re.DOTALL)


@dataclass(frozen=True)
class Moved:
    """A slot that is another one under the draft.

    Args:
        request: its place among those that were rebuilt.
        place: `home/first`, of a message `email.home/first`, of an action its channel.
        before, after: the action under either file.
        items: whether it holds other items, or the same in another order.
        words: whether only its words or picture differ.
    """

    request: int
    place: str
    before: str
    after: str
    items: bool = False
    words: bool = False

    @property
    def other_action(self) -> bool:
        """Whether something else takes the slot."""
        return self.before != self.after

    @property
    def emptied(self) -> bool:
        """Whether it shows nothing that showed something."""
        return self.after == NOTHING and self.before not in (NOTHING, NO_SLOT)


@dataclass
class DryRun:
    """What a draft would have changed.

    Args:
        rebuilt: the requests that could be rebuilt, the newest first.
        left_out: why others could not, and how many.
        places: place -> how many requests had it.
        moved: slots that differ.
        groups: kind of segment -> value -> places in `rebuilt`.
        vetoes: reason -> how often it kept something out, before and after.
        as_logged: slots that show under the file that serves what was logged under the same file and bundle.
    """

    rebuilt: list[Asked] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    moved: list[Moved] = field(default_factory=list)
    groups: dict[str, dict[str, set[int]]] = field(default_factory=dict)
    vetoes: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    as_logged: Counter[bool] = field(default_factory=Counter)

    @property
    def requests(self) -> Share:
        """Requests of which anything moves."""
        return Share(len({each.request for each in self.moved}), len(self.rebuilt))

    @property
    def subjects(self) -> int:
        """How many different people the requests name; requests of one are not independent."""
        return len({(each.customer, each.visitor) for each in self.rebuilt if each.customer or each.visitor})

    @property
    def faithful(self) -> Share:
        """Slots that are rebuilt as they were logged, among those of the file and bundle that serve."""
        return Share(self.as_logged[True], self.as_logged.total())

    def of(self, place: str, what: Callable[[Moved], bool]) -> Share:
        """How often something is true of a place that moved."""
        return Share(sum(each.place == place and what(each) for each in self.moved), self.places[place])

    def flows(self, place: str) -> list[tuple[str, str, Share]]:
        """What takes a place before and after, where these differ, the commonest first."""
        counted = Counter((each.before, each.after) for each in self.moved if each.place == place and each.other_action)
        ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
        return [(before, after, Share(count, self.places[place])) for (before, after), count in ordered]

    def by_group(self) -> Iterator[tuple[str, str, Share]]:
        """Kind of segment, value, and the requests in it of which anything moves, the largest first."""
        moved = {each.request for each in self.moved}
        for kind, values in self.groups.items():
            for value, places in sorted(values.items(), key=lambda pair: (-len(pair[1]), pair[0])):
                yield kind, value, Share(len(places & moved), len(places))

    def vetoed(self) -> list[tuple[str, int, int]]:
        """Reasons that keep more or less out than before, the largest change first."""
        before, after = self.vetoes
        told = [(why, before[why], after[why]) for why in {*before, *after} if before[why] != after[why]]
        return sorted(told, key=lambda each: (-abs(each[2] - each[1]), each[0]))

    def examples(self, place: str, count: int, seed: int = 0) -> list[Moved]:
        """Some slots that moved, drawn at random, so that they are not all of one visit."""
        found = [each for each in self.moved if each.place == place]
        return sorted(random.Random(seed).sample(found, min(count, len(found))), key=lambda each: each.request)  # noqa: S311


def dry_run(engine: Engine, draft: ShopConfig, asked: Sequence[Asked], tell: Tell = lambda *told: None) -> DryRun:
    """Rebuild requests under the file that serves and under a draft, and say what differs.

    Args:
        engine: of the shop; nothing of it changes.
        draft: the other file.
        asked: the requests.
        tell: hears how many are done.

    Raises:
        ConfigError: the draft does not fit the bundle, or names a policy that cannot be used.
    """
    openings, found = Openings(engine), DryRun()
    sides = engine.live, openings.live(draft)
    for done, each in enumerate(asked, 1):
        why = _barred(engine, each, [live.config for live in sides])
        if why is None:
            _note(found, each, *(_look(engine, each, live) for live in sides))
        else:
            found.left_out[why] += 1
        tell("requests", done, len(asked))
    _merge_regions(found.groups)
    return found


def _barred(engine: Engine, asked: Asked, configs: Sequence[ShopConfig]) -> str | None:
    """Why a request is not rebuilt; None where it is."""
    if is_token(asked.customer) or engine.store.is_erased(asked.customer, asked.visitor):
        return ERASED
    nobody = asked.customer is None and asked.visitor is None
    if nobody and asked.holdout:
        return HELD_OUT
    if any(asked.surface in config.channels for config in configs):
        there = all(asked.surface in config.channels for config in configs)
        return UNNAMED if nobody else None if there else GONE
    return None if all(_page(asked)[1] in config.pages for config in configs) else GONE


def _page(asked: Asked) -> tuple[str, str]:
    """Surface and name of a page."""
    surface, _, name = asked.surface.partition(".")
    return surface, name


def _look(engine: Engine, asked: Asked, live: Live) -> Look:
    """What an answer would be. Who is not named may have refused: then nothing personal is read here either."""
    surface, name = _page(asked)
    refused = {PERSONALIZATION: False} if asked.customer is None and asked.visitor is None else None
    who, request_id = (asked.customer, asked.visitor), asked.request_id
    if asked.surface in live.config.channels:
        action = wire.ActionRequest(channel=asked.surface, user_id=who[0], visitor_id=who[1], context=asked.context)
        return look_at_action(engine, action, asked.at, live, request_id)
    page = wire.PageRequest(
        page=name,
        surface=surface,
        user_id=who[0],
        visitor_id=who[1],
        context=asked.context,
        consents=refused,
        explain=live is engine.live,  # the groups of a request are those under the file that serves
    )
    return look_at_page(engine, page, asked.at, live, request_id)


def _note(found: DryRun, asked: Asked, left: Look, right: Look) -> None:
    number = len(found.rebuilt)
    found.rebuilt.append(asked)
    before, after = _slots(asked, left), _slots(asked, right)
    for place in dict.fromkeys([*before, *after]):
        found.places[place] += 1
        moved = _moved(number, place, before.get(place), after.get(place))
        if moved is not None:
            found.moved.append(moved)
    for counter, look in zip(found.vetoes, (left, right), strict=True):
        counter.update(_reason(why) for decision in look.decisions for _, why in decision["vetoed"])
    if asked.made_by == (left.live.shop_hash, left.live.bundle.id):
        shown = {decision["slot"]: decision["action_id"] for decision in left.decisions}
        found.as_logged.update(shown.get(slot) == action for slot, action in asked.shown.items())
    for kind, value in _groups(asked, left).items():
        found.groups.setdefault(kind, {}).setdefault(value, set()).add(number)


def _slots(asked: Asked, look: Look) -> dict[str, Mapping[str, Any]]:
    """Place -> what stands there."""
    if "slots" not in look.answer:
        return {asked.surface: look.answer}
    page = asked.surface.removeprefix("page.")
    return {f"{page}/{slot['slot']}": slot for slot in look.answer["slots"]}


def _moved(request: int, place: str, one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Moved | None:
    before, after = (NO_SLOT if each is None else each["actionId"] or NOTHING for each in (one, other))
    if one is None or other is None or before != after:
        return Moved(request, place, before, after)
    if _items(one) != _items(other):
        return Moved(request, place, before, after, items=True)
    return Moved(request, place, before, after, words=True) if _words(one) != _words(other) else None


def _items(slot: Mapping[str, Any]) -> list[str]:
    return [item["itemId"] for item in slot.get("items", ())]


def _words(slot: Mapping[str, Any]) -> list[Any]:
    return [slot.get(key) for key in ("title", "text", "imageUrl", "alt", "url", "question")]


def _reason(why: str) -> str:
    """A reason that tells nothing of a person: what was answered may be a name."""
    return _ANSWER.sub(r"\1 is another one", why)


def _groups(asked: Asked, look: Look) -> dict[str, str]:
    """The segments that a request is in, as the file that serves has them."""
    told = look.answer.get("explain", {}).get("situation", {})
    made_of = look.answer.get("basis")
    who = "customer" if asked.customer else "visitor" if asked.visitor else UNKNOWN
    said = None if made_of is None else "not agreed" if made_of["kind"] == "consent" else "agreed"
    agreed = None if said is None else UNKNOWN if who == UNKNOWN else said
    groups = {
        "stage": told.get("stage"), "known": who, "consent": agreed, "region": told.get("region") or "unknown",
        "device": asked.context.device or "unknown",
    }  # fmt: skip
    return {kind: str(value) for kind, value in groups.items() if value}


def _merge_regions(groups: dict[str, dict[str, set[int]]]) -> None:
    regions = groups.get("region", {})
    ordered = sorted(regions, key=lambda name: (-len(regions[name]), name))
    rest = {number for name in ordered[REGIONS:] for number in regions.pop(name)}
    if rest:
        regions["other"] = rest
