"""Conditions on the situation of a request that are written as text: `when.if`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from serving.situation import Situation
from serving.terms import situation_condition

Segments = Callable[[Situation], frozenset[str]]


def holds(text: str, now: Situation, segments: Segments) -> bool:
    """Whether a condition holds; only what it names is looked at.

    Args:
        text: the condition, checked when the file was read.
        now: what is true.
        segments: `serving.eligibility.segments_of`, which conditions are made of themselves.
    """
    asked = situation_condition(text)
    values = {name: sorted(segments(now)) if name == "segments" else _READ[name](now) for name in asked.names}
    return asked.holds(values)


def _answers(now: Situation) -> dict[str, str]:
    """Of every question of the shop; empty where there is no answer."""
    return {question: now.answers.get(question, "") for question in now.live.config.questions}


_READ: Mapping[str, Callable[[Situation], Any]] = {
    "stage": lambda now: now.stage.name,
    "region": lambda now: now.region or "",
    "season": lambda now: now.local.season,
    "month": lambda now: float(now.local.month),
    "hour": lambda now: float(now.local.hour),
    "weekday": lambda now: float(now.local.weekday),
    "device": lambda now: now.query.context.device or "",
    "source": lambda now: now.query.context.traffic_source or "",
    "campaign": lambda now: now.query.context.campaign or "",
    "locale": lambda now: now.locale,
    "known": lambda now: now.query.user_id is not None,
    "tier": lambda now: now.tier or "",
    "orders": lambda now: float(now.orders),
    "wishes": lambda now: float(len(now.wishes)),
    "awaiting": lambda now: bool(now.awaited),
    "late": lambda now: now.late,
    "returnedLately": lambda now: now.returned_lately,
    "unusual": lambda now: bool(now.unusual),
    "projects": lambda now: [project.kind for project in now.projects],
    "answers": _answers,
}
"""One a name of `serving.terms.SITUATION`."""
