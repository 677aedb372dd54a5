"""What a dry run found (`serving.dry_run`), on a terminal and as JSON: no personal data unless it is asked for."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features.moments import format_instant
from serving.dry_run import FEW, DryRun, Moved
from serving.shares import Share

SHOWN = 3
"""Requests that are named for each slot."""


def show_dry_run(console: Console, found: DryRun, *, seed: int, personal: bool) -> None:
    """The answer in a sentence, then by slot, by segment, and what is held back."""
    for sentence in sentences(found):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    if not found.moved:
        return
    for table in (_slots(found), _flows(found), _segments(found), _vetoes(found)):
        if table.row_count:
            console.print(table)
    for place in found.places:
        for each in found.examples(place, SHOWN, seed):
            line = "  ".join(f"{key} {value}" for key, value in _example(found, each, personal=personal).items())
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def sentences(found: DryRun) -> list[str]:
    """What was found, how much it is worth, and what was left out."""
    whole = found.requests
    out = [f"{count} left out: {why}." for why, count in sorted(found.left_out.items())]
    if not whole.of:
        return [
            *out,
            "No request for a page or an action can be rebuilt: let the service answer some first.",
        ]
    out.append(f"{whole.hits} of {whole.of} requests move ({_told(whole)}); they are of {found.subjects} people.")
    if whole.of < FEW:
        out.append(f"With fewer than {FEW} requests shares say little.")
    if found.faithful.of:
        hits, of = found.faithful.hits, found.faithful.of
        out.append(f"Rebuilt under the file that serves, {hits} of {of} slots show what was logged.")
    emptied = sum(each.emptied for each in found.moved)
    out += [f"{emptied} slots become empty."] if emptied else []
    return out


def _slots(found: DryRun) -> Table:
    table = _table("Slots", "slot", "requests", "other action", "other items", "other words", "become empty")
    for place in found.places:
        shares = [
            found.of(place, lambda each: each.other_action), found.of(place, lambda each: each.items),
            found.of(place, lambda each: each.words), found.of(place, lambda each: each.emptied),
        ]  # fmt: skip
        if any(share.hits for share in shares):
            table.add_row(place, str(found.places[place]), *map(_counted, shares))
    return table


def _flows(found: DryRun) -> Table:
    table = _table("Actions", "slot", "before", "after", "requests")
    for place in found.places:
        for before, after, share in found.flows(place):
            table.add_row(*map(escape, (place, before, after)), _counted(share))
    return table


def _segments(found: DryRun) -> Table:
    table = _table("For whom", "", "", "requests", "move")
    for kind, value, share in found.by_group():
        table.add_row(kind, escape(value), str(share.of), _counted(share))
    return table


def _vetoes(found: DryRun) -> Table:
    table = _table("Held back", "reason", "before", "after")
    for why, before, after in found.vetoed():
        table.add_row(escape(why), str(before), str(after))
    return table


def _table(title: str, *headings: str) -> Table:
    return Table(*headings, title=title, title_justify="left", box=SIMPLE)


def _counted(share: Share) -> str:
    return f"{share.hits} ({_told(share)})" if share.hits else "0"


def _told(share: Share) -> str:
    low, high = share.interval or (float("nan"), float("nan"))
    return f"{(share.value or 0):.1%}, {low:.1%} to {high:.1%}"


def _example(found: DryRun, each: Moved, *, personal: bool) -> dict[str, Any]:
    """One request whose slot moved: its id, and who asked only where that is wanted."""
    asked = found.rebuilt[each.request]
    what = "action" if each.other_action else "items" if each.items else "words"
    line: dict[str, Any] = {
        "request": asked.request_id, "slot": each.place, "moves": what, "before": each.before, "after": each.after,
    }  # fmt: skip
    if personal:
        line |= {"customer": asked.customer, "visitor": asked.visitor, "at": format_instant(asked.at)}
    return line


def told(found: DryRun, *, seed: int, personal: bool) -> dict[str, Any]:
    """A dry run as JSON."""

    def counts(share: Share) -> dict[str, Any]:
        low, high = share.interval or (None, None)
        return {"count": share.hits, "of": share.of, "share": share.value, "low": low, "high": high}

    def slot(place: str) -> dict[str, Any]:
        return {
            "slot": place, "otherAction": counts(found.of(place, lambda each: each.other_action)),
            "otherItems": counts(found.of(place, lambda each: each.items)),
            "otherWords": counts(found.of(place, lambda each: each.words)),
            "becomeEmpty": counts(found.of(place, lambda each: each.emptied)),
            "actions": [{"before": a, "after": b, **counts(share)} for a, b, share in found.flows(place)],
            "examples": [_example(found, each, personal=personal) for each in found.examples(place, SHOWN, seed)],
        }  # fmt: skip

    return {
        "requests": counts(found.requests), "people": found.subjects, "leftOut": dict(found.left_out),
        "asLogged": counts(found.faithful), "slots": [slot(place) for place in found.places],
        "segments": [{"kind": kind, "value": value, **counts(share)} for kind, value, share in found.by_group()],
        "vetoes": [{"reason": why, "before": before, "after": after} for why, before, after in found.vetoed()],
    }  # fmt: skip
