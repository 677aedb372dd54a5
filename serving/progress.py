"""News of orders in messages: each step is told once on each channel, and silence does not last.

On a page an order's whole history stands. A message about it is sent when there is a step that no message of its
channel has told, and also without one when two weeks have passed in which the channel said nothing of what is awaited.
"""

from __future__ import annotations

from features.moments import DAY
from serving.caps import COUNTED, Counts
from serving.situation import Situation

LONGEST_SILENCE = 13 * DAY
"""While something is awaited, a channel may speak again after this without news: who asks it once a day never lets two
weeks pass."""
TELLING = frozenset({"status", "guide", "tip", "content", "video"})
"""Kinds of actions that say something to whoever waits."""


def told_until(name: str, channel: str, counts: Counts) -> int:
    """The instant of the last message of an action on a channel; 0 before the first. What still waits is not told."""
    rows = (row for row in counts.tally.rows if row.surface == channel and row.action_id == name)
    return max((row.decided_at for row in rows if row.state in COUNTED and not row.waits(counts.now)), default=0)


def has_news(now: Situation, since: int) -> bool:
    """Whether a step of what is awaited is newer than an instant."""
    return any(step.at > since for line in now.awaited for step in line.steps)


def silent_until(channel: str, now: Situation, counts: Counts) -> int:
    """The instant from which the channel has been silent for too long about what is awaited."""
    actions = now.live.config.actions
    said = [
        row.decided_at for row in counts.tally.rows
        if row.surface == channel and row.state in COUNTED and not row.waits(counts.now)
        and row.action_id in actions and actions[row.action_id].kind in TELLING
    ]  # fmt: skip
    begun = min((line.ordered_at for line in now.awaited), default=now.query.now)
    return max([*said, begun]) + LONGEST_SILENCE
