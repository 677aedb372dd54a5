"""`[questions.<name>]` and `[projects.<kind>]`: what a page may ask, and what outlives one order."""

from __future__ import annotations

from typing import Annotated

import msgspec

from serving.settings.when import ALWAYS, When
from serving.strict import Strict

Words = dict[str, str]
"""By locale."""


class Option(Strict, frozen=True):
    """One answer that can be chosen.

    Args:
        value: as it is kept.
        label: as it is read, by locale.
    """

    value: str
    label: Words


class Question(Strict, frozen=True, omit_defaults=True):
    """`[questions.<name>]`: one short question, always to be skipped.

    Args:
        text: by locale.
        why: what the answer is used for, by locale; it is shown beside the question and after the answer.
        options: what can be chosen; empty: free text.
        attribute: the field that a free text fills (`name`), or None: it stays an answer.
        when: whom it may be put to.
        unusual: it is raised only where the hour and the device are unusual for what is looked at: where the share of
            looks at least as rare is below this; None: it does not matter.
        cost: what asking costs the shop's welcome, in units of expected value.
        gain: what a free text is worth, in the same units: nothing can be learned of it from outcomes.
    """

    text: Words
    why: Words
    options: tuple[Option, ...] = ()
    attribute: str | None = None
    when: When = ALWAYS
    unusual: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    cost: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    gain: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    @property
    def values(self) -> tuple[str, ...]:
        """What can be answered; empty: anything."""
        return tuple(option.value for option in self.options)


class ProjectRule(Strict, frozen=True, omit_defaults=True):
    """`[projects.<kind>]`: a project of a customer, such as a room to furnish, that outlives one order.

    Args:
        label: by locale.
        categories: beginnings of the category paths that belong to it.
        begins_with: so many different looks, wishes or purchases in its categories within `within_days` begin it
            without anybody having said so; None: only staff begin it.
        within_days: see above.
        ends_after_days: it ends so long after the last of these, or after staff noted it.
    """

    label: Words
    categories: tuple[str, ...]
    begins_with: Annotated[int, msgspec.Meta(ge=2, le=1_000)] | None = None
    within_days: Annotated[float, msgspec.Meta(gt=0, le=366)] = 30.0
    ends_after_days: Annotated[float, msgspec.Meta(gt=0, le=3_660)] = 90.0
