"""What a slot study says, as sentences and tables: the same for the console and for MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.offpolicy.refusal import Refusal
from training.offpolicy.replay import Replay, Valued
from training.slots.judging import SlotFound
from training.slots.study import SlotStudy

ESTIMATORS = ("snrips", "rips", "iips")
"""Of those of pages, what is shown: under the cascade assumption twice, and with independent slots."""


@dataclass(frozen=True, slots=True)
class ActionRow:
    """What was measured of an action in a slot, what is used, and how often the policy takes it.

    Args:
        action, kind: names.
        decisions: in which it was taken in this place.
        own, own_error: average effect by those.
        other, other_error: by its decisions in other places.
        used, error: by both and by its kind.
        differs: standard deviation of the effect between people, learned or not.
        taken: mean probability.
    """

    action: str
    kind: str
    decisions: int
    own: float
    own_error: float
    other: float
    other_error: float
    used: float
    error: float
    differs: float
    taken: float


def action_rows(found: SlotStudy, slot: SlotFound, reward: str) -> list[ActionRow]:
    """A line an action; figures are NaN where nothing is known. The one that all are held against has effect 0."""
    at, of = found.places.index(slot.place), found.sized[reward]
    told, taken, log = of.averages, slot.chances.mean(axis=0), of.evidence.fit.log
    nan, base = float("nan"), int(((of.evidence.place == at) & (log.action == 0)).sum())
    rows = [ActionRow("nothing", "", base, nan, nan, nan, nan, 0.0, 0.0, 0.0, taken[0])] if slot.spec.nothing else []
    for place, (action, arm) in enumerate(zip(slot.spec.actions, slot.arms, strict=True), 1):
        if arm < 0:
            rows.append(ActionRow(action, "", base, nan, nan, nan, nan, 0.0, 0.0, 0.0, taken[place]))
            continue
        size = of.sizes[at][arm]
        between = size.kept * float(np.nanstd(of.evidence.effects[:, arm])) if size.kept else 0.0
        rows.append(ActionRow(
            action=action, kind=found.arms.kinds[arm].removeprefix("="), decisions=int(told.decisions[arm, at]),
            own=told.own[arm, at], own_error=told.own_error[arm, at], other=told.other[arm, at],
            other_error=told.other_error[arm, at], used=told.mean[arm, at], error=told.error[arm, at],
            differs=float(np.hypot(between, size.left)), taken=taken[place],
        ))  # fmt: skip
    return rows


def headline(slot: SlotFound) -> str:
    """The ruling on a slot in one sentence."""
    ships, name = slot.ruling.ships, slot.place.slot
    if ships == "policy":
        return f"{name}: choose for each customer; that is better than the best single action, exploration included."
    if ships == "action":
        action = (None, *slot.spec.actions)[slot.ruling.action]
        return f"{name}: {action} for everybody is what these data support."
    return f"{name}: leave it as it is; neither a policy nor one action clears every bar."


def looked_sentence(found: SlotStudy, reward: str) -> str:
    """How much each place is looked at, or nothing where there is one place."""
    looked = found.sized[reward].averages.looked
    if len(found.places) < 2:
        return ""
    held = found.places[looked.held].slot
    parts = [
        f"{place.slot} {factor:.2f} +- {1.96 * error:.2f}" if np.isfinite(factor) else f"{place.slot} not known"
        for at, (place, factor, error) in enumerate(zip(found.places, looked.factor, looked.error, strict=True))
        if at != looked.held
    ]
    return f"What an action does, relative to {held}, by the actions that both show: {', '.join(parts)}."


def page_sentences(page: Replay | None) -> list[str]:
    """The whole page against what was logged, by estimator; the reason in place of figures that nobody knows."""
    if page is None:
        return []
    told = []
    for name in ESTIMATORS:
        gain = page.pages[name].gain
        if isinstance(gain, Refusal):
            told.append(f"{name}: not known. {gain.text}")
        else:
            told.append(f"{name}: {gain.value:+.5g} [{gain.low:+.5g}, {gain.high:+.5g}] a page beyond what was logged.")
    return list(dict.fromkeys(told))


def toml_lines(written: Mapping[str, str]) -> list[str]:
    """What to write into `shop.toml`, under each slot."""
    return [f'slot "{slot}": policy = "{name}"' for slot, name in written.items()]


def figures_of(found: SlotStudy, page: Replay | None) -> dict[str, float]:
    """`slot/value/...`, `slot/claim/...` and `page/...`, with `/low` and `/high`."""
    figures: dict[str, float] = {"data/decisions": float(len(found.log))}
    for slot in found.slots:
        name = slot.place.slot
        whole = {f"{name}/value/{key}": each for key, each in slot.ruling.values.items()}
        whole |= {f"{name}/claim/{each.what}": each.found for each in slot.ruling.claims}
        for key, interval in whole.items():
            figures |= {key: interval.value, f"{key}/low": interval.low, f"{key}/high": interval.high}
    pages: Mapping[str, Valued] = page.pages if page else {}
    for name, each in pages.items():
        if not isinstance(each.gain, Refusal):
            gain = each.gain
            figures |= {f"page/{name}": gain.value, f"page/{name}/low": gain.low, f"page/{name}/high": gain.high}
    return figures


def markdown(found: SlotStudy, page: Replay | None, written: Mapping[str, str]) -> str:
    """The short form at the top of the run."""
    lines = [f"- {headline(slot)}" for slot in found.slots]
    lines += [f"- {each}" for reward in found.sized for each in [looked_sentence(found, reward)] if each]
    lines += [f"- Whole page, {each}" for each in page_sentences(page)]
    lines += [f"- {each}" for each in found.notes]
    return "\n".join([*lines, "", *(f"    {line}" for line in toml_lines(written))])
