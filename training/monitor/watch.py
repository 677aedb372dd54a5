"""`kokyaku monitor`: windows of a shop, one after the other, each measured as it was known at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from features.dataset import Dataset
from features.moments import DAY
from features.shop import Shop
from serving.config import load_config
from serving.tombstones import erased_of
from training.meter import Tell
from training.monitor.answers import answers
from training.monitor.draws import Point, draws
from training.monitor.drift import drifts, novelties
from training.monitor.freshness import bundles_of, freshness
from training.monitor.measure import Measure, judged
from training.monitor.outcomes import outcomes
from training.monitor.rates import EVENT_RATES, PERSON_RATES, rates
from training.monitor.reading import Erased, Look, looking
from training.monitor.report import Found, found_of
from training.monitor.scores import Scorer
from training.monitor.windows import Asked, Window, windows_of
from training.session import silent

AFTER: int = 14 * DAY
"""How long after a decision its outcomes count, where nobody says otherwise."""


def windows(shop: Shop, asked: Asked) -> list[Window]:
    """The windows that were asked for, oldest first.

    Raises:
        ConfigError: none lies in this time, or too many; or `shop.toml` makes no sense.
    """
    return windows_of(asked, load_config(shop.config).shop.time_zone, bundles_of(shop))


def watch(
    shop: Shop, asked: Asked, stored: Callable[[Window], Found | None] = lambda window: None, *, after: int = AFTER,
    tell: Tell = silent,
) -> Iterator[tuple[Window, Found, bool]]:  # fmt: skip
    """Measure windows, oldest first.

    Args:
        shop: whose.
        asked: which windows.
        stored: what was found in a window before; such are not measured again.
        after: microseconds after a decision in which its outcomes count.
        tell: hears the progress.

    Yields:
        The window, what was found, and whether it was measured now.

    Raises:
        ConfigError: as for `windows`.
        DataError: no dataset.
    """
    several = windows(shop, asked)
    known = {window: stored(window) for window in several}
    todo = [window for window in several if known[window] is None]
    if not todo:
        yield from ((window, found, False) for window, found in known.items() if found is not None)
        return
    config, erased = load_config(shop.config), erased_of(shop)
    who = erased.subject if erased else None
    scorer = Scorer(shop, "personalization" in config.consent.assumed)
    since = min(window.since for window in todo)
    with looking(Dataset(shop.dataset), since, todo[-1].end, config.shop.time_zone, who) as look:
        for done, window in enumerate(several):
            tell("windows", done, len(several))
            found = known[window]
            yield (
                window,
                found or measured(look, shop, scorer, window, asked.length.name.lower(), after, who),
                not found,
            )
    tell("windows", len(several), len(several))


def measured(
    look: Look, shop: Shop, scorer: Scorer, window: Window, length: str, after: int, erased: Erased | None
) -> Found:
    """All of one window."""
    look.sides(window)
    told: Sequence[tuple[Measure, list[Point]]] = [*draws(look), *outcomes(look, shop, window, after, erased)]
    measures = [
        *drifts(look), *novelties(look), *rates(look, EVENT_RATES, "data"), *rates(look, PERSON_RATES, "data"),
        *answers(look), scorer.scores(look, window), *freshness(look, shop, window), *(each for each, _ in told),
    ]  # fmt: skip
    return found_of(shop.id, length, window, judged(measures), told)
