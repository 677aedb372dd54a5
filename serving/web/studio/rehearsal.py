"""What a draft would have done to the last requests: `serving.dry_run` beside a service that goes on serving."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from features.errors import RequestError
from features.shop import Shop
from serving.asked_before import asked_in_store
from serving.config import ShopConfig
from serving.dry_run import DryRun, dry_run
from serving.engine import Engine
from serving.shares import Share

LASTS = (50, 200)
"""Requests that can be rebuilt from here; for more there is the command line, which takes nothing from the service."""


@dataclass(frozen=True)
class SlotMoved:
    """One slot over all rebuilt requests.

    Args:
        requests: how many had it.
        flows: what takes it before and after, where these differ.
    """

    place: str
    requests: int
    actions: Share
    items: Share
    words: Share
    emptied: Share
    flows: tuple[tuple[str, str, Share], ...]


@dataclass
class Rehearsals:
    """One rehearsal at a time, whoever asks."""

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, shop: Shop, draft: ShopConfig | None, last: str) -> DryRun:
        """Rebuild the latest requests of the store under the file that serves and under a draft.

        It opens the shop for itself: requests that are answered meanwhile share nothing with it but the processor.

        Args:
            shop: whose requests.
            draft: the other file; None: it is the file as it stands.
            last: how many, one of `LASTS`.

        Raises:
            RequestError: nothing would be different, or so many cannot be rebuilt from here.
            ConfigError: the draft does not fit the bundle, or names a policy that cannot be used.
        """
        if draft is None:
            raise RequestError("the draft is the file as it stands", where="draft", hint="change something first")
        if last not in map(str, LASTS):
            hint = f"one of {', '.join(map(str, LASTS))}; for more: kokyaku shop dry-run"
            raise RequestError("so many requests are not rebuilt here", where="last", got=last, hint=hint)
        async with self._lock:
            return await asyncio.to_thread(_rebuilt, shop, draft, int(last))


def _rebuilt(shop: Shop, draft: ShopConfig, last: int) -> DryRun:
    engine = Engine(shop, worker=None)
    try:
        return dry_run(engine, draft, asked_in_store(engine.store, last))
    finally:
        engine.close()


def by_slot(found: DryRun) -> list[SlotMoved]:
    """The slots of which anything moves, in the order in which they were met."""
    rows = [
        SlotMoved(
            place, found.places[place], found.of(place, lambda each: each.other_action),
            found.of(place, lambda each: each.items), found.of(place, lambda each: each.words),
            found.of(place, lambda each: each.emptied), tuple(found.flows(place)),
        )
        for place in found.places
    ]  # fmt: skip
    return [row for row in rows if row.actions.hits or row.items.hits or row.words.hits]
