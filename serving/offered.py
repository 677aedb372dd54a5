"""What could take the slots of a page: modules that can be filled, actions that fit, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from serving.asking import ANOTHER, question_now
from serving.candidates import Rows
from serving.eligibility import why_not
from serving.modules import Filled, build
from serving.person import MARKETING
from serving.pinned import Laid, what_of
from serving.saying import Fields, Said, say
from serving.settings.pages import Module, Page, Slot
from serving.situation import Situation

HOLDOUT = "holdout"
TAKEN = "already on the page"
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
        message: whether the page is a message: facts first, at most one thing that sells.
        laid: pins of the page and quotas of its modules; None where there are none.
    """

    contents: Mapping[str, Filled | Said]
    reasons: Mapping[str, str]
    message: bool = False
    laid: Laid | None = None

    @property
    def unfit(self) -> frozenset[str]:
        """What is not for this subject now, whatever else could be shown."""
        return frozenset(self.reasons)

    def vetoes(self, slot: Slot, used: set[int], taken: set[str], selling: int) -> list[tuple[str, str]]:
        """What may not take a slot, and why, before anything is decided.

        Args:
            slot: whose list.
            used, taken: items and names that stand above on the page.
            selling: how many things above want to sell.
        """
        kept = self.laid.kept_names(slot) & self.contents.keys() if self.laid else set()
        found = [(name, self._why_not(slot, name, used, taken | kept, selling)) for name in slot.modules]
        return [(name, why) for name, why in found if why is not None]

    def pinned(self, slot: Slot, used: set[int], taken: set[str], selling: int) -> str | None:
        """The first action or module that is pinned to a slot and may take it."""
        if self.laid is None:
            return None
        for pin in self.laid.pinned(slot):
            name = what_of(pin)
            why = self._why_not(slot, name, used, taken, selling)
            self.laid.note(pin, why)
            if why is None:
                return name
        return None

    def _why_not(self, slot: Slot, name: str, used: set[int], taken: set[str], selling: int) -> str | None:
        if name in self.reasons:
            return self.reasons[name]
        content = self.contents[name]
        again = isinstance(content, Filled) and bool(content.module.again)
        if name in taken and not (again and slot.policy is None):
            return TAKEN
        if self.message and selling and self.sells(name):
            return ONE_OFFER
        if isinstance(content, Filled):
            left = int(np.isin(self.unused(name, used, slot)[0], content.slate.items).sum())
            if left < content.module.minimum:
                return f"too few items ({left} of {content.module.minimum})"
        return None

    def sells(self, name: str | None) -> bool:
        """Whether it wants to sell something."""
        content = self.contents.get(name or "")
        return isinstance(content, Filled) or (content is not None and content.action.sells)

    def unused(self, name: str | None, used: set[int], slot: Slot) -> tuple[Rows, tuple[str, ...]]:
        """int32: the items of a module that no earlier slot shows, as this one would show them, and their sources."""
        content = self.contents.get(name or "")
        if not isinstance(content, Filled):
            return np.empty(0, np.int32), ()
        if self.laid is not None:
            return self.laid.shown(str(name), content, used, slot)
        slate = content.slate
        free = [at for at, row in enumerate(slate.items.tolist()) if row not in used][: content.module.size]
        return slate.items[free], tuple(slate.sources[at] for at in free)


Build = Callable[[Situation, Module, int], Filled]


def offer(
    now: Situation, layout: Page, *, holdout: bool, surface: str, page: str = "", build: Build = build
) -> Offered:  # fmt: skip
    """Look at everything that the slots of a page name, once.

    Args:
        now: who, when, where.
        layout: the page.
        holdout: whether the subject gets what is the same for all.
        surface: where it will be shown; a message sells only with consent to marketing.
        page: its name, for what is pinned there.
        build: ranks the items of a module.
    """
    laid = Laid.over(now, page, layout)
    config, told = now.live.config, Fields(now)
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
            found = say(config.actions[name], now, told)
        else:
            module = config.modules[name]
            found = why_not(module.when, now) or build(now, module, len(layout.slots))
        if isinstance(found, str):
            reasons[name] = found
        else:
            contents[name] = found
    _ask_once(now, layout, contents, reasons)
    return Offered(contents, reasons, message, laid)


def _ask_once(now: Situation, layout: Page, contents: dict[str, Filled | Said], reasons: dict[str, str]) -> None:
    """Of all questions that fit, leave the one that is worth most, or none."""
    asking = {
        name: str(each.action.question)
        for name, each in contents.items() if isinstance(each, Said) and each.action.question is not None
    }  # fmt: skip
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
