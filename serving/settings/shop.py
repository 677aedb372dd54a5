"""`[shop]`, `[model]`, `[gate]`, `[consent]`, `[quiet]` and `[repurchase]`: who the shop is and what always holds."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

import msgspec

from features.confidence import EVENT_WEIGHTS, ConfidenceParams
from features.journey import StageRules
from features.moments import DAY
from serving.strict import Strict

Locale = Literal["en", "ja"]
Days = Annotated[float, msgspec.Meta(ge=0, le=36_500)]


class ShopSettings(Strict, frozen=True):
    """`[shop]`: who the shop is."""

    name: str = "Kokyaku demo shop"
    locale: Locale = "en"
    currency: str = "USD"
    time_zone: str = "UTC"
    southern: bool = False
    """Whether the shop's customers live where summer is in January."""
    holdout: float = 0.02
    """Share of customers who permanently get the page that is the same for all, so that the difference shows."""
    unusual: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05
    """A moment is unusual where at most this share of looks at the category on the device is at hours as rare as it."""


class ModelSettings(Strict, frozen=True):
    """`[model]`: how history is weighed. Part of the bundle's fingerprint."""

    min_customers: int = 5
    """Items fewer customers bought are not recommended: what one household buys is nobody else's business."""
    window_days: float = 28.0
    """Length of the windows that models are tuned and judged on."""
    popularity_half_life_days: float = 28.0
    event_weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(EVENT_WEIGHTS))
    half_life_days: float = ConfidenceParams().half_life_days

    @property
    def confidence(self) -> ConfidenceParams:
        """The parameters of `features.confidence`."""
        return ConfidenceParams(self.event_weights, self.half_life_days)


class GateSettings(Strict, frozen=True):
    """`[gate]`: what a model must show before it may serve."""

    metric: str = "ndcg@20"
    guard_margin: float = 0.02
    """On *new*, the lower end of the paired interval may not fall below minus this share of the champion's value."""
    variety_margin: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.005
    """Variety of lists may cost this share of the metric on *all*, by the lower end of the paired interval: a quarter
    of the guard, so that a challenger is not refused for its variety. On *new* it may cost `guard_margin`.
    """
    resamples: int = 2000
    confidence: float = 0.95


class ConsentSettings(Strict, frozen=True):
    """`[consent]`: what the shop may do with whom it has no record of.

    What nobody told is no. A shop that has another basis (a contract, an opt-out that it keeps elsewhere) declares it
    here, for everybody to see.

    Args:
        assumed: purposes that are taken as given until a customer says otherwise.
        basis: on what ground; needed where anything is assumed.
    """

    assumed: tuple[str, ...] = ()
    basis: str = ""


class QuietHours(Strict, frozen=True):
    """`[quiet]`: when nobody is written to, in the customer's own time zone; from the evening to the morning.

    Args:
        from_: local time at which it begins. Written `from`.
        until: local time at which it ends; the same as `from` means that there are none.
    """

    from_: time = msgspec.field(name="from", default=time(21))
    until: time = time(8)


class JourneySettings(Strict, frozen=True):
    """`[journey]`: the thresholds of the stages (`features.journey`).

    Args:
        basket_days: how long what lies in a basket makes somebody a buyer.
        considering_days: how long looks, searches and wishes make a consideration.
        considered_items: so many items of one kind make one, at least.
        due_from, due_until: the next purchase is due within these multiples of the customer's own median gap.
        lapsed_days, lapsed_gaps: without a purchase for longer than both, the second in median gaps, is lapsed.
    """

    basket_days: Days = 7.0
    considering_days: Days = 14.0
    considered_items: Annotated[int, msgspec.Meta(ge=1, le=100)] = 2
    due_from: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.7
    due_until: Annotated[float, msgspec.Meta(ge=0, le=100)] = 2.0
    lapsed_days: Days = 180.0
    lapsed_gaps: Annotated[float, msgspec.Meta(ge=0, le=100)] = 3.0

    @property
    def rules(self) -> StageRules:
        """As `features.journey` reads them."""
        return StageRules(
            basket=int(self.basket_days * DAY), considering=int(self.considering_days * DAY),
            items=self.considered_items, due_from=self.due_from, due_until=self.due_until,
            lapsed=int(self.lapsed_days * DAY), lapsed_gaps=self.lapsed_gaps,
        )  # fmt: skip


class RepurchaseSettings(Strict, frozen=True):
    """`[repurchase]`: for how long what was bought is not offered again.

    Args:
        learned: whether the windows count that training learned, category by category.
        days: days by the beginning of a category's path, such as `"Furniture > Sofas" = 2000`; the longest path
            counts, and all of them come before what was learned. 0: it may be offered at once.
    """

    learned: bool = True
    days: dict[str, Days] = msgspec.field(default_factory=dict)
