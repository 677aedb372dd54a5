"""The same engine behind BentoML as it comes: what `kokyaku bench serve` compares the product's settings with.

No settings, no mounted application: methods with pydantic bodies and answers, as BentoML's own introduction writes
them. It is started by the bench alone and is no part of the product.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml
import msgspec
from pydantic import BaseModel

from features.shop import Shop
from serving import pages, pipeline, wire
from serving.engine import Engine


class Asked(BaseModel, extra="allow"):
    """Any body; the engine's own checks follow."""


class Answered(BaseModel, extra="allow"):
    """Any answer."""


@bentoml.service
class Defaults:
    """The engine behind methods of BentoML."""

    def __init__(self) -> None:
        shop = Shop.from_environment(os.environ["KOKYAKU_SHOP"], Path(os.environ["KOKYAKU_ROOT"]))
        self.engine = Engine(shop, worker=f"defaults-{os.getpid()}")

    @bentoml.api(route="/v1/floor")  # type: ignore[untyped-decorator]
    async def floor(self) -> Answered:
        """Twenty constant items, as the product's yardstick gives them."""
        items = [{"itemId": str(n), "score": 1 - n / 20, "source": "floor", "reason": "constant"} for n in range(20)]
        return Answered.model_validate({"requestId": "0", "itemList": items})

    @bentoml.api(route="/v1/recommendations")  # type: ignore[untyped-decorator]
    async def recommendations(self, asked: Asked, /) -> Answered:
        """As the product's route."""
        request = _read(asked, wire.RecommendationsRequest)
        return Answered.model_validate(pipeline.recommend(self.engine, request, self.engine.clock.now()))

    @bentoml.api(route="/v1/pages")  # type: ignore[untyped-decorator]
    async def pages(self, asked: Asked, /) -> Answered:
        """As the product's route."""
        request, now = _read(asked, wire.PageRequest), self.engine.clock.now()
        return Answered.model_validate(await pages.page_soon(self.engine, request, now, self.engine.store.keep))


def _read(asked: Asked, kind: type[Any]) -> Any:
    return msgspec.convert(asked.model_dump(), kind)
