"""Why a page is as it is, slot by slot: what could have stood there, what kept it away, and how likely it was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.effects import SlotPolicy
from serving.engine import Engine
from serving.hydrate import consents_of
from serving.live import Live
from serving.person import MARKETING, PERSONALIZATION, TRAINING
from serving.preview import Look
from serving.shares import Z95
from serving.web.views import Card, Viewer
from serving.wire import PageRequest


@dataclass(frozen=True)
class Chance:
    """One action that a slot could have held.

    Args:
        action: None for nothing.
        probability: with which it was drawn; None where it was not among the eligible.
        value, low, high: what it is worth to the shop, with its 95 % interval; None where no learned policy decided or
            it does not know.
        blocked: known to do this group no good.
        chosen: whether it stands there.
        vetoed: why it could not be drawn; empty where it could.
        stopped: whether a stop of that name is in force.
    """

    action: str | None
    probability: float | None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    blocked: bool = False
    chosen: bool = False
    vetoed: str = ""
    stopped: bool = False


@dataclass(frozen=True)
class Shown:
    """One item of a slot."""

    card: Card
    source: str
    stopped: bool = False


@dataclass(frozen=True)
class SlotWhy:
    """One slot and its reasons.

    Args:
        how: key of the words that say how it was decided.
        candidates: source -> how many items it proposed, for a module.
        removed: (reason, how many, some ids).
        reads: what the policy read of the subject.
        told: the answer's slot: texts, orders, question.
    """

    name: str
    title: str
    text: str
    action: str | None
    kind: str
    how: str
    policy: str
    propensity: float
    fallback: str
    arm: str
    reused_from: str
    items: tuple[Shown, ...]
    chances: tuple[Chance, ...]
    candidates: Mapping[str, int]
    removed: tuple[tuple[str, int, tuple[str, ...]], ...]
    filled: int
    reads: tuple[tuple[str, str], ...]
    told: Mapping[str, Any]

    @property
    def scale(self) -> tuple[float, float]:
        """Where a chart of values begins and ends: all intervals, and zero."""
        told = [end for each in self.chances for end in (each.value, each.low, each.high) if end is not None]
        return min(0.0, *told) if told else 0.0, max(0.0, *told) if told else 0.0


def slots_of(look: Look, viewer: Viewer) -> tuple[SlotWhy, ...]:
    """Every slot of a page, in order."""
    explained = look.answer.get("explain", {})
    both = zip(look.answer["slots"], look.decisions, strict=True)
    return tuple(_slot(look.live, slot, row, explained, viewer) for slot, row in both)


def _slot(live: Live, slot: dict[str, Any], row: dict[str, Any], explained: dict[str, Any], viewer: Viewer) -> SlotWhy:
    action = slot["actionId"]
    module = explained.get(action, {}) if action in live.config.modules else {}
    stopped = live.stops.items
    return SlotWhy(
        name=slot["slot"], title=slot.get("title") or "", text=slot.get("text") or "", action=action,
        kind=slot.get("kind") or "", how=_how(live, row), policy=row["policy"], propensity=row["action_propensity"],
        fallback=row.get("fallback") or slot.get("reason") or "", arm=row.get("arm") or "",
        reused_from=row.get("reused_from") or "",
        items=tuple(Shown(viewer.card(each), each.get("source") or "", each["itemId"] in stopped)
                    for each in slot["items"]),
        chances=chances_of(live, row), candidates=module.get("candidates", {}),
        removed=tuple((each["reason"], each["count"], tuple(each["itemIds"])) for each in module.get("removed", ())),
        filled=module.get("filled", 0), reads=_reads(row), told=slot,
    )  # fmt: skip


def _how(live: Live, row: dict[str, Any]) -> str:
    if row["holdout"]:
        return "how.holdout"
    if row["policy"] not in live.policies:
        return "how.first"
    if row.get("reused_from"):
        return "how.held"
    return "how.drawn" if row["drawn"] else "how.instead"


def chances_of(live: Live, row: dict[str, Any]) -> tuple[Chance, ...]:
    """All that a slot's list names: the eligible with their chances, then what was vetoed, with its reason."""
    values = _values(live.policies.get(row["policy"]), row)
    out = [Chance(action, chance, chosen=action == row["action_id"], **values.get(action, {}))
           for action, chance in row["eligible"]]  # fmt: skip
    for action, why in row["vetoed"]:
        stopped = live.stops.why(action) is not None
        out.append(Chance(action, None, vetoed=why, stopped=stopped, **values.get(action, {})))
    return tuple(out)


def _values(policy: SlotPolicy | None, row: dict[str, Any]) -> dict[str | None, dict[str, Any]]:
    """What the policy thinks of each of its actions, from what it read; nothing where it read nothing."""
    told = dict(_block(row))
    if policy is None or not policy.reads <= told.keys():
        return {}
    scored = policy.score(told)
    out: dict[str | None, dict[str, Any]] = {}
    for place, action in enumerate(policy.ids):
        value, spread = float(scored.values[0, place]), float(scored.spread[0, place])
        known, wide = math.isfinite(value), math.isfinite(spread)
        out[action] = {
            "value": value if known else None, "blocked": bool(scored.blocked[place]),
            "low": value - Z95 * spread if known and wide else None,
            "high": value + Z95 * spread if known and wide else None,
        }  # fmt: skip
    return out


def _block(row: dict[str, Any]) -> list[tuple[str, Any]]:
    features = row.get("features") or {}
    names, rows = features.get("names"), features.get("rows")
    return list(zip(names, rows[0], strict=True)) if names and rows else []


def _reads(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, "" if value is None else f"{value:g}" if isinstance(value, float) else str(value))
                 for name, value in _block(row))  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """What is known of whose page it is.

    Args:
        stage, stage_why: of the journey.
        consents: purpose -> `yes`, `no` or `assumed`.
        data: kinds of personal data that were used.
    """

    stage: str
    stage_why: str
    region: str
    season: str
    segments: tuple[str, ...]
    projects: tuple[str, ...]
    data: tuple[str, ...]
    consents: tuple[tuple[str, str], ...]
    basis: str
    greeting: str
    holdout: bool
    arms: tuple[str, ...]


def subject_of(engine: Engine, look: Look, request: PageRequest) -> Subject:
    """Stage, consents and the rest, of a look."""
    explained = look.answer["explain"]
    now = explained["situation"]
    return Subject(
        stage=now["stage"], stage_why=now["why"], region=now["region"] or "", season=now["season"],
        segments=tuple(now["segments"]), projects=tuple(now["projects"]), data=tuple(explained["personalData"]),
        consents=_consents(engine, look.live, request), basis=look.answer["basis"]["text"],
        greeting=look.answer["greeting"]["text"] or "", holdout=any(row["holdout"] for row in look.decisions),
        arms=tuple(dict.fromkeys(row["arm"] for row in look.decisions if row.get("arm"))),
    )  # fmt: skip


def _consents(engine: Engine, live: Live, request: PageRequest) -> tuple[tuple[str, str], ...]:
    kept = consents_of(engine, live, request)
    purposes = dict.fromkeys((PERSONALIZATION, MARKETING, TRAINING, *sorted(kept.told)))

    def said(purpose: str) -> str:
        if not kept.to(purpose):
            return "no"
        return "yes" if purpose in kept.told else "assumed"

    return tuple((purpose, said(purpose)) for purpose in purposes)
