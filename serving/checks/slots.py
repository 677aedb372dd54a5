"""Slots: lists that are never read to their end, slots that can end empty, messages without facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serving.checks.finding import Finding, Look, listed, note, warn
from serving.experiments import changed
from serving.offered import IMPERSONAL
from serving.settings.actions import SELLING, Action
from serving.settings.channels import MEDIA, SCREENS
from serving.settings.pages import FLOOR, Module, Page, Slot
from serving.settings.when import ALWAYS
from serving.texts import pieces

SURE = frozenset({"shop", "season"})
"""Fields that are known of everybody."""
FACTS = frozenset({"status"})
"""Kinds that tell what is owed to somebody."""


def unreachable(look: Look) -> Iterator[Finding]:
    """Entries of a slot's list after one that can always be shown."""
    for page, layout in look.pages.items():
        above: set[str] = set()
        for slot in layout.slots:
            yield from _unreached(look, f"[pages.{page}] slot {slot.name}", slot, above)
            above |= set(slot.modules)


def _unreached(look: Look, where: str, slot: Slot, above: set[str]) -> Iterator[Finding]:
    stop = next((at for at, name in enumerate(slot.modules) if _always(look, name, above)), None)
    if stop is None or slot.policy is not None:
        return
    first, after = slot.modules[stop], slot.modules[stop + 1 :]
    if after and after[-1] == FLOOR:  # it ends every list, written or not
        after = after[:-1]
    if _kind(look, first) not in IMPERSONAL:  # the permanent holdout passes what is chosen for somebody
        after = tuple(name for name in after if _kind(look, name) not in IMPERSONAL)
    if after:
        only = [name for name in after if len(look.slots_of[name]) == 1 and name not in look.channels_of]
        what = f"{listed(after)} stand{'s' * (len(after) == 1)} after {first}, which can always be shown"
        tail = f"; {listed(only)} can never be shown at all" if only else ""
        yield warn(where, what + tail, f"put {first} last, or take the others out")


def can_be_empty(look: Look) -> Iterator[Finding]:
    """Slots of the shop's pages and arms that show nothing where nothing of their list can be shown."""
    for page, layout in look.pages.items():
        for at, slot in enumerate(layout.slots):
            yield from _empty(look, f"[pages.{page}] slot {slot.name}", slot, layout.slots[:at])
    for name, experiment in look.config.experiments.items():
        slots = look.config.pages[experiment.page].slots
        for arm, each in experiment.arms.items():
            for at, slot in enumerate(slots):
                if slot.name in each.slots:
                    where = f"[experiments.{name}.arms.{arm}] slot {slot.name}"
                    yield from _empty(look, where, changed(slot, each.slots[slot.name]), slots[:at])


def _empty(look: Look, where: str, slot: Slot, before: Sequence[Slot]) -> Iterator[Finding]:
    policy = look.policies.get(slot.policy or "")
    above = {name for each in before for name in each.modules}
    # A policy draws nothing twice on a page; without one what has a second heading may stand there once more.
    sure = [name for name in slot.modules if _always(look, name, above) and (name not in above or slot.policy is None)]
    if policy is not None and policy.sheet.spec.nothing:
        yield note(where, f"it can stay empty: {slot.policy} may take nothing")
    elif slot.may_be_empty:
        yield note(where, "it stays empty where nothing of its list can be shown (may-be-empty)")
    elif not sure:
        what = "it can end empty: nothing of its list can always be shown"
        taken = [name for name in slot.modules if name in above and _always(look, name, set())]
        tail = f", as a slot above may take {listed(taken)}" if taken else ""
        yield warn(where, what + tail, 'add "popular" to its list, or leave it to this slot')


def strange_to_policies(look: Look) -> Iterator[Finding]:
    """Entries that the slot's or channel's policy does not know, so that it never draws them."""
    for where, name, able in look.config.learned():
        policy = look.policies.get(name)
        if policy is not None and (unknown := policy.strange(able)):
            what = f"{listed(unknown)} {'are' if len(unknown) > 1 else 'is'} never drawn: {name} does not know it"
            yield warn(where, what, "train again with it, or take it out of the list")


def messages(look: Look) -> Iterator[Finding]:
    """Pages that are sent: they tell facts first and sell one thing at most."""
    for name, page in look.pages.items():
        if not is_message(look, name):
            continue
        if not any(_kind(look, each) in FACTS for slot in page.slots for each in slot.modules):
            yield warn(
                f"[pages.{name}]", "a message that tells no facts: no slot may show the status of orders",
                'put "order-status" into its first slot',
            )  # fmt: skip
        yield from _selling(look, name, page)


def is_message(look: Look, page: str) -> bool:
    """Whether a page is named after a medium or channel that reaches somebody outside of the shop's screens."""
    channel = look.config.channels.get(page)
    medium = page if channel is None else channel.medium_of(page)
    return medium in MEDIA and medium not in SCREENS


def _selling(look: Look, name: str, page: Page) -> Iterator[Finding]:
    only = [slot.name for slot in page.slots if all(_sells(look, each) for each in slot.modules)]
    for slot in only[1:]:
        yield warn(
            f"[pages.{name}] slot {slot}", f"it stays empty: a message sells one thing, and {only[0]} does",
            "give it a guide, a tip or a status, or take it out",
        )  # fmt: skip


def _always(look: Look, name: str, above: set[str]) -> bool:
    """Whether an entry can be shown to everybody at any time, where those above may have been taken."""
    module = look.config.modules.get(name)
    if module is not None:
        return _fills(module) and (name not in above or bool(module.again))
    return name not in above and _open(look, look.config.actions[name])


def _fills(module: Module) -> bool:
    """Whether a module shows something whoever asks: what sells at all, without conditions."""
    limited = module.categories or module.where or module.within_days is not None or module.minimum > 1
    return module.kind == "popular" and module.when == ALWAYS and not limited


def _open(look: Look, action: Action) -> bool:
    whose = action.when == ALWAYS and action.from_ is None and action.until is None and action.purpose is None
    if not whose or action.limited or action.kind in (*SELLING, "status", "question"):
        return False
    locales = (None, look.config.shop.locale)
    return any(text.locale in locales and text.when == ALWAYS and _said(text) for text in action.texts)


def _said(text: object) -> bool:
    templates = (getattr(text, name) or "" for name in ("title", "text", "image_url", "url"))
    return all(piece.optional or set(piece.fields) <= SURE for each in templates for piece in pieces(each))


def _kind(look: Look, name: str) -> str:
    module = look.config.modules.get(name)
    return look.config.actions[name].kind if module is None else module.kind


def _sells(look: Look, name: str) -> bool:
    return name in look.config.modules or look.config.actions[name].sells
