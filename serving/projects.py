"""Projects: what a customer is at that outlives one order, such as a room to furnish. Noted by staff, or inferred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from features.kinds import EventType
from features.moments import DAY
from serving.candidates import Rows
from serving.person import Project
from serving.query import Query
from serving.settings.asking import ProjectRule

INFERRED = "inferred"
_SIGNS = (EventType.VIEW, EventType.CLICK, EventType.CART, EventType.WISHLIST, EventType.PURCHASE)


def going_on(
    rules: Mapping[str, ProjectRule], query: Query, codes_under: Callable[[Iterable[str]], frozenset[int]],
    category: Rows,
) -> tuple[Project, ...]:  # fmt: skip
    """Projects of a subject that are going on now, the latest first.

    What staff noted lasts until its own end, else `ends_after_days` after the later of the note and the last sign of
    it. Without a note a project is inferred where enough different things of its categories were looked at, wished or
    bought in `within_days`, and ends `ends_after_days` after the last of them.

    Args:
        rules: `[projects]` of the shop.
        query: whose history and notes.
        codes_under: category paths -> codes.
        category: int32[n_items], the category of each item.
    """
    noted = {project.kind: project for project in query.person.projects if project.since <= query.now}
    found = []
    for kind, rule in rules.items():
        project = _noted(noted[kind], rule, query, codes_under, category) if kind in noted else None
        if kind not in noted:
            project = _inferred(kind, rule, query, codes_under, category)
        if project is not None:
            found.append(project)
    return tuple(sorted(found, key=lambda project: -project.since))


def _noted(
    project: Project, rule: ProjectRule, query: Query, codes_under: Callable[[Iterable[str]], frozenset[int]],
    category: Rows,
) -> Project | None:  # fmt: skip
    if project.until is not None:
        return project if query.now < project.until else None
    time, _ = _signs(rule, query, codes_under, category)
    last = max(project.since, int(time.max(initial=project.since)))
    return project if query.now < last + rule.ends_after_days * DAY else None


def _inferred(
    kind: str, rule: ProjectRule, query: Query, codes_under: Callable[[Iterable[str]], frozenset[int]],
    category: Rows,
) -> Project | None:  # fmt: skip
    if rule.begins_with is None:
        return None
    time, item = _signs(rule, query, codes_under, category)
    if not len(time) or query.now >= int(time[-1]) + rule.ends_after_days * DAY:
        return None
    begun, first, inside = None, 0, Counter[int]()  # the window's first sign, and how many signs of each item it holds
    span, times, rows = rule.within_days * DAY, time.tolist(), item.tolist()
    for at, row in zip(times, rows, strict=True):
        inside[row] += 1
        while times[first] <= at - span:
            gone, first = rows[first], first + 1
            inside[gone] -= 1
            if not inside[gone]:
                del inside[gone]
        if len(inside) >= rule.begins_with:
            begun = times[first]
    return None if begun is None else Project(kind, begun, source=INFERRED)


def _signs(
    rule: ProjectRule, query: Query, codes_under: Callable[[Iterable[str]], frozenset[int]], category: Rows
) -> tuple[np.ndarray, Rows]:
    """int64[n] and int32[n]: when what of its categories was looked at, wished or bought, oldest first."""
    events = query.history.of_types(*_SIGNS)
    known = events.item >= 0
    mine = np.isin(category[np.where(known, events.item, 0)], list(codes_under(rule.categories))) & known
    return events.time[mine], events.item[mine]
