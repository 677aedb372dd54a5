"""Names of categories, regions, brands and items that name nothing in the bundle that serves."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from features.ids import Vocabulary
from features.text import fold
from serving.bundle import Bundle
from serving.checks.finding import Finding, Look, listed, note, warn
from serving.settings.check import conditions
from serving.settings.check_selection import wishes
from serving.settings.selection import Pin
from serving.settings.when import When

ALIKE = 0.8
"""How like a name must be to be taken for a misspelt one (`difflib`, from 0 to 1)."""
_PATHS = ("looking_at", "wished", "bought", "awaiting")
_REGIONS = ".regions."


def names(look: Look) -> Iterator[Finding]:
    """What the file names and the bundle does not know: alone in its place, or beside what it knows."""
    if look.bundle is None:
        return
    found = _Names(look.bundle)
    for where, paths, what in _named(look):
        yield from found.looked_up(where, paths, what)
    for where, when in conditions(look.config):
        yield from found.regions_of(where, when)
    for path in look.config.repurchase.days:
        yield from found.looked_up("[repurchase.days]", (path,), "")
    for where, wish in wishes(look.config):
        if not isinstance(wish, Pin):
            key, texts = wish.target
            for text in (texts,) if isinstance(texts, str) else texts:
                yield from found.wished(where, key.removesuffix("s"), text)
        elif wish.item_id is not None:
            yield from found.wished(where, "item-id", wish.item_id)
    yield from found.beside()


def _named(look: Look) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Places that name categories: where, the names, and what that means where none of them is known."""
    for where, when in conditions(look.config):
        for key in _PATHS:
            yield where, getattr(when, key), f"{key.replace('_', '-')} can never hold"
        yield where, when.not_bought, "not-bought always holds"
        if when.received is not None:
            yield where, when.received.categories, "received can never hold"
    for name, module in look.config.modules.items():
        yield f"[modules.{name}]", module.categories, "it can never show anything"
    for name, project in look.config.projects.items():
        yield f"[projects.{name}]", project.categories, "it never begins by itself"
    for name, sequence in look.config.sequences.items():
        yield f"[sequences.{name}]", sequence.categories, "nothing triggers it"
        yield f"[sequences.{name}] exits", sequence.exits.categories, "no purchase ends it"
    for name, action in look.config.actions.items():
        yield f"[actions.{name}]", (action.category,) if action.category else (), "it is about nothing"


@dataclass
class _Names:
    """The names of a bundle, and what was not found among them beside what was.

    Args:
        bundle: that serves.
        strange: path -> where it stands beside others that are known.
    """

    bundle: Bundle
    strange: dict[str, list[str]] = field(default_factory=dict)

    def looked_up(self, where: str, paths: Iterable[str], what: str) -> Iterator[Finding]:
        """A warning where none of some paths names a category; what is strange beside others is kept."""
        wanted = tuple(paths)
        missing = [path for path in wanted if not self.bundle.codes_under((path,))]
        if not missing:
            return
        if what and len(missing) == len(wanted):
            text = f"no category begins with {listed([_quoted(path) for path in missing])}: {what}"
            yield warn(where, text, _near(missing[0], self._steps) or "write the path as the catalogue has it")
            return
        for path in missing:
            self.strange.setdefault(path, []).append(where)

    def beside(self) -> Iterator[Finding]:
        """One finding for each path that names nothing beside others: a warning where it looks misspelt."""
        for path, places in self.strange.items():
            where = places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
            what = f"no category begins with {_quoted(path)}"
            hint = _near(path, self._steps)
            yield warn(where, what, hint) if hint else note(where, what, "fine if another catalogue has it")

    def regions_of(self, where: str, when: When) -> Iterator[Finding]:
        """A warning for a region that no order came from, where the bundle knows regions at all."""
        known = self._regions
        if known and when.regions and not set(when.regions) & set(known):
            what = f"nobody known is from {listed([_quoted(each) for each in when.regions])}"
            yield warn(where, what, _near(when.regions[0], known) or f"known: {listed(known[:8])}")

    def wished(self, where: str, key: str, text: str) -> Iterator[Finding]:
        """A warning for a boost, a pin or a quota of nothing."""
        known = {"category": self._steps, "brand": self._brands}.get(key) or list(self.bundle.items)
        if key == "category":
            there = bool(self.bundle.codes_under((text,)))
        elif key == "brand":
            there = fold(text) in {fold(each) for each in known}
        else:
            there = self.bundle.items.find(text) is not None
        if not there:
            yield warn(where, f"no item is of {key} {_quoted(text)}", _near(text, known) or "look for a typo")

    @property
    def _steps(self) -> list[str]:
        """Every beginning of a category path, at its steps."""
        cut = [path.split(" > ") for path in self.bundle.categories]
        return sorted({" > ".join(steps[: at + 1]) for steps in cut for at in range(len(steps))})

    @property
    def _brands(self) -> list[str]:
        return sorted({self.bundle.text("brand", row) for row in range(len(self.bundle.items))} - {""})

    @property
    def _regions(self) -> list[str]:
        stems = {key.partition(_REGIONS)[0] + _REGIONS[:-1] for key in self.bundle.arrays if _REGIONS in key}
        return sorted({region for stem in stems for region in Vocabulary.from_arrays(self.bundle.arrays, stem)})


def _near(name: str, known: list[str]) -> str:
    """`did you mean "x"?`; empty where nothing is that near."""
    folded = {fold(each): each for each in known}
    close = difflib.get_close_matches(fold(name), list(folded), n=1, cutoff=ALIKE)
    return f'did you mean "{folded[close[0]]}"?' if close else ""


def _quoted(text: str) -> str:
    return f'"{text}"'
