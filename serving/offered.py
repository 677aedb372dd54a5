"""What could take the slots of a page: modules that can be filled, actions that fit, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from features.history import History
from serving.asking import ANOTHER, question_now
from serving.candidates import Rows
from serving.caps import Counts
from serving.eligibility import why_not
from serving.modules import Filled, build
from serving.person import MARKETING, NOBODY
from serving.pinned import Laid, what_of
from serving.promises import kept_until
from serving.saying import Fields, Said, say
from serving.settings.pages import Module, Page, Slot
from serving.situation import Situation
from serving.steps import Steps
from serving.taken import NOTHING, Items, Taken

HOLDOUT = "holdout"
TAKEN = "already on the page"
TWICE = "another action of the page puts this question"
ONE_OFFER = "one offer is enough in a message"
IMPERSONAL = frozenset({"popular", "status"})
"""Kinds that the permanent holdout gets: what is the same for all, and news of one's own orders."""
SCREENS = frozenset({"page", "web", "app"})
"""Surfaces where somebody looks at the shop; all others are messages."""


@dataclass(frozen=True)
class Offered:
    """What the slots of one page may hold.

    Args:
        contents: name -> what it would show.
        reasons: name -> why it may not be shown to this subject now.
        category: int32[n_items], the category of each item.
        message: whether the page is a message: facts first, at most one thing that sells.
        per_category: items of one category that the page shows at most.
        counts: what is limited; looked at anew at each round of deciding.
        laid: pins of the page and quotas of its modules; None where there are none.
    """

    contents: Mapping[str, Filled | Said]
    reasons: Mapping[str, str]
    category: Rows
    message: bool = False
    per_category: int | None = None
    counts: Counts | None = None
    laid: Laid | None = None

    @property
    def unfit(self) -> frozenset[str]:
        """What is not for this subject now, whatever else could be shown."""
        return frozenset(self.reasons) if self.counts is None else frozenset(self.reasons) | self.counts.barred

    @property
    def why_unfit(self) -> Mapping[str, str]:
        """Why it is not, limits included."""
        if self.counts is None:
            return self.reasons
        full = {name: found.words for name in self.counts.limits if (found := self.counts.why_not(name)) is not None}
        return {**full, **self.reasons}

    def vetoes(self, slot: Slot, taken: Taken, *, drawn: bool = False) -> list[tuple[str, str]]:
        """What may not take a slot, and why, before anything is decided.

        Args:
            slot: whose list.
            taken: what stands above on the page.
            drawn: whether a policy draws: it shows nothing twice.
        """
        if self.laid is not None:
            kept = self.laid.kept_names(slot) & self.contents.keys()
            taken = replace(taken, names=taken.names | kept)
        found = [(name, self._why_not(slot, name, taken, again=not drawn)) for name in slot.modules]
        return [(name, why) for name, why in found if why is not None]

    def pinned(self, slot: Slot, taken: Taken) -> str | None:
        """The first action or module that is pinned to a slot and may take it."""
        if self.laid is None:
            return None
        for pin in self.laid.pinned(slot):
            name = what_of(pin)
            why = self._why_not(slot, name, taken, again=slot.policy is None)
            self.laid.note(pin, why)
            if why is None:
                return name
        return None

    def _why_not(self, slot: Slot, name: str, taken: Taken, *, again: bool) -> str | None:
        if name in self.reasons:
            return self.reasons[name]
        if self.counts is not None and (full := self.counts.why_not(name)) is not None:
            return full.words
        content = self.contents[name]
        repeats = isinstance(content, Filled) and bool(content.module.again)
        if name in taken.names and not (repeats and again):
            return TAKEN
        if self.message and taken.selling and self.sells(name):
            return ONE_OFFER
        if isinstance(content, Filled):
            rows, _ = self._unused(name, content, taken, slot)
            # A pin may bring in what the module has not.
            left = len(rows) if self.laid is None else sum(row in content.listed for row in rows)
            if left < content.module.minimum:
                return f"too few items ({left} of {content.module.minimum})"
        return None

    def sells(self, name: str | None) -> bool:
        """Whether it wants to sell something."""
        content = self.contents.get(name or "")
        return isinstance(content, Filled) or (content is not None and content.action.sells)

    def unused(self, name: str | None, taken: Taken, slot: Slot) -> Items:
        """The items of a module that no earlier slot shows, as this one would show them, and their sources."""
        content = self.contents.get(name or "")
        return self._unused(str(name), content, taken, slot) if isinstance(content, Filled) else NOTHING

    def counted(self, rows: list[int]) -> list[int]:
        """The category of each of some items, as far as the page limits how many of one it shows."""
        return [] if self.per_category is None or not rows else self.category[rows].tolist()

    def _unused(self, name: str, content: Filled, taken: Taken, slot: Slot) -> Items:
        if self.laid is not None:
            return self.laid.shown(name, content, taken, slot, self.per_category)
        found = taken.left.get(name)
        if found is None:
            found = taken.left[name] = self._left(content, taken)
        return found

    def _left(self, content: Filled, taken: Taken) -> Items:
        """`unused` where nothing is pinned and no quota holds."""
        size = content.module.size
        while len(rows := self._varied(content, taken)) < size and content.further():
            pass
        return rows, [content.listed[row] for row in rows]

    def _varied(self, content: Filled, taken: Taken) -> list[int]:
        """The foremost free items so far, less those whose category the page has shown often enough."""
        if self.per_category is None:
            return content.free(taken.items, content.module.size)
        shown = taken.categories.copy()
        kept: list[int] = []
        for row in content.free(taken.items, None):
            code = int(self.category[row])
            if code < 0 or shown[code] < self.per_category:
                kept.append(row)
                shown[code] += 1
        return kept[: content.module.size]


Build = Callable[[Situation, Module, int], Steps[Filled]]


def offer(
    now: Situation, layout: Page, *, holdout: bool, surface: str, build: Build = build, counts: Counts | None = None,
    laid: Laid | None = None,
) -> Steps[Offered]:  # fmt: skip
    """Look at everything that the slots of a page name, once.

    Args:
        now: who, when, where.
        layout: the page.
        holdout: whether the subject gets what is the same for all.
        surface: where it will be shown; a message sells only with consent to marketing.
        build: ranks the items of a module.
        counts: the limits of what the page names; None: nothing of it is limited.
        laid: pins of the page and quotas of its modules.
    """
    config, told = now.live.config, Fields(now)
    same_for_all = _of_nobody(now) if holdout else now
    message = surface not in SCREENS
    contents: dict[str, Filled | Said] = {}
    reasons: dict[str, str] = {}
    named = (name for slot in layout.slots for name in slot.modules)
    for name in dict.fromkeys((*named, *(laid.names() if laid else ()))):
        kind = config.modules[name].kind if name in config.modules else config.actions[name].kind
        selling = name in config.modules or config.actions[name].sells
        found: Filled | Said | str
        if (stopped := now.live.stops.why(name)) is not None:
            found = stopped
        elif holdout and kind not in IMPERSONAL:
            found = HOLDOUT
        elif message and selling and not now.query.consents.to(MARKETING):
            found = f"no consent to {MARKETING}"
        elif name in config.actions:
            action = config.actions[name]
            found = say(action, now, told, kept_until(name, action, counts, now))
        else:
            module = config.modules[name]
            found = why_not(module.when, same_for_all) or (yield from build(now, module, len(layout.slots)))
            yield
        if isinstance(found, str):
            reasons[name] = found
        else:
            contents[name] = found
    _ask_once(now, layout, contents, reasons)
    category = now.live.bundle.shared.category
    return Offered(contents, reasons, category, message, layout.per_category, counts, laid)


def _of_nobody(now: Situation) -> Situation:
    """The same moment and place, of somebody of whom nothing is known: what the holdout's rows are chosen by."""
    nothing = {"history": History.empty(), "person": NOBODY, "user_id": None, "visitor_id": None, "barred": ()}
    return Situation(now.live, msgspec.structs.replace(now.query, **nothing))


def _ask_once(now: Situation, layout: Page, contents: dict[str, Filled | Said], reasons: dict[str, str]) -> None:
    """Of all questions that fit, leave the one that is worth most, or none."""
    asking: dict[str, str] = {}
    for name, each in list(contents.items()):
        if isinstance(each, Said) and each.action.question is not None:
            if each.action.question in asking.values():
                del contents[name]
                reasons[name] = TWICE
            else:
                asking[name] = each.action.question
    if not asking:
        return
    able = {
        slot.name: [name for name in slot.modules if name in contents and name not in asking] for slot in layout.slots
    }
    chosen, why = question_now(now, list(asking.values()), able)
    for name, question in asking.items():
        if question != chosen:
            del contents[name]
            reasons[name] = ANOTHER if chosen else why
