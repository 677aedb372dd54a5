"""Policies beside bundles: what a study lets through is written under a name of its own; a person lets it serve."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from features.moments import to_datetime
from features.shop import Shop
from serving.clock import shop_clock
from serving.config import ShopConfig
from serving.policy_files import write_policy
from training.uplift.shipping import ships, withheld
from training.uplift.study import Study

_LONGEST = 40
"""Letters of a policy's name that tell where it comes from."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a ruling on disk.

    Args:
        name: of the policy; empty where none was written.
        folder: where it lies; None where none was written.
        sentences: what became of it and how it is put into service, for people.
    """

    name: str
    folder: Path | None
    sentences: tuple[str, ...]


NOT_WRITTEN = Written("", None, ("No policy was asked for.",))


def written(shop: Shop, config: ShopConfig, found: Study, source: str, run_id: str) -> Written:
    """Write the policy that a study lets through; nothing uses it until `shop.toml` names it.

    Args:
        shop: whose.
        config: its `shop.toml`, for the slots that could use it.
        found: the study.
        source: name of the experiment, surface or slot.
        run_id: of the run that holds the study.

    Raises:
        BundleError: there is a policy of that name.
    """
    name = named(source, shop_clock(shop).now(), run_id)
    policy = ships(found, name, f"Uplift study of {source}, run {run_id}.")
    if policy is None:
        return Written("", None, (withheld(found),))
    folder = write_policy(shop.policies, policy)
    what = f"It is written as {folder.relative_to(shop.root)}; it serves when a slot of shop.toml names it:"
    return Written(name, folder, (what, f'policy = "{name}"', _slots(config, policy.sheet.spec.actions)))


def named(source: str, now: int, run_id: str) -> str:
    """A name for a policy: where it comes from, the day, the run.

    >>> named("Spring / e-mail", 1_700_000_000_000_000, "3f2a9c0d11")
    'spring-e-mail-20231114-3f2a9c0d'
    """
    words = re.sub(r"[^a-z0-9]+", "-", source.lower()).strip("-")[:_LONGEST].strip("-") or "uplift"
    return f"{words}-{to_datetime(now):%Y%m%d}-{run_id[:8]}"


def _slots(config: ShopConfig, actions: tuple[str, ...]) -> str:
    """Which slots could use a policy of some actions."""
    fitting = list(dict.fromkeys(place for place, slot in config.decided() if set(slot.modules) & set(actions)))
    if fitting:
        return f"Slots that have its actions among their modules: {', '.join(fitting)}."
    return f"No slot has its actions among its modules yet: {', '.join(actions)}."
