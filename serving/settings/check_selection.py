"""What `[selection]` must hold beyond its shape: each wish is of one thing, at a place that exists, and can be kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from features.errors import ConfigError
from serving.settings.actions import Action
from serving.settings.selection import Boost, Dated, Pin, Quota
from serving.settings.when import When
from serving.strict import nearest

if TYPE_CHECKING:
    from serving.config import ShopConfig


def wishes(config: ShopConfig) -> Iterator[tuple[str, Boost | Pin | Quota]]:
    """Every boost, pin and quota, with where it stands."""
    for table in ("boosts", "pins", "quotas"):
        for number, wish in enumerate(getattr(config.selection, table), start=1):
            yield f"[[selection.{table}]] number {number}", wish


def check_selection(config: ShopConfig, where: str) -> None:
    """Refuse wishes that could not be kept.

    Raises:
        ConfigError: what is wrong, where, and what would be right.
    """
    for place, wish in wishes(config):
        here = f"{where} {place}"
        kind = type(wish).__name__.lower()
        if isinstance(wish, Pin):
            _check_pin(config, wish, here)
        elif isinstance(wish, Quota):
            _check_quota(config, wish, here)
        else:
            _check_one(kind, here, category=wish.category, brand=wish.brand, item_id=wish.item_id)
        check_days(wish, here, f"a {kind} that ends before it begins")


def check_days(dated: Dated | Action | When, where: str, what: str) -> None:
    """Refuse what ends before it begins.

    Raises:
        ConfigError: saying `what`.
    """
    if dated.from_ and dated.until and dated.until <= dated.from_:
        got = (dated.from_.isoformat(), dated.until.isoformat())
        raise ConfigError(what, where=where, got=got, hint="until is the day at whose beginning it ends")


def _check_one(kind: str, where: str, **named: str | tuple[str, ...] | None) -> None:
    found = [text for text in named.values() if text]
    if len(found) != 1 or not "".join(found[0]).strip():
        *most, last = (name.replace("_", "-") for name in named)
        hint = f"name exactly one of {', '.join(most)} and {last}"
        raise ConfigError(f"a {kind} is of one thing", where=where, got=found, hint=hint)


def _check_pin(config: ShopConfig, pin: Pin, where: str) -> None:
    _check_one("pin", where, item_id=pin.item_id, action=pin.action)
    if (pin.page is None) != (pin.slot is None):
        raise ConfigError("a page without its slot, or a slot without its page", where=where, hint="name both")
    if pin.page is not None:
        if pin.page not in config.pages:
            raise ConfigError("no such page", where=where, got=pin.page, hint=nearest(pin.page, list(config.pages)))
        slots = [slot.name for slot in config.pages[pin.page].slots]
        if pin.slot not in slots:
            hint = nearest(str(pin.slot), slots)
            raise ConfigError("the page has no such slot", where=where, got=pin.slot, hint=hint)
    if pin.action is None:
        return
    if pin.page is None:
        raise ConfigError("an action is pinned to a slot", where=where, got=pin.action, hint="name its page and slot")
    if pin.position != 1:
        raise ConfigError("an action takes a whole slot", where=where, got=pin.position, hint="leave position away")
    if pin.action not in (known := [*config.modules, *config.actions]):
        hint = nearest(pin.action, known)
        raise ConfigError("no such module or action", where=where, got=pin.action, hint=hint)


def _check_quota(config: ShopConfig, quota: Quota, where: str) -> None:
    _check_one("quota", where, category=quota.category, brand=quota.brand, item_ids=quota.item_ids)
    if not quota.at_least and quota.at_most is None:
        raise ConfigError("a quota that asks for nothing", where=where, hint="name at-least, at-most or both")
    most = quota.first if quota.at_most is None else quota.at_most
    if quota.at_least > min(quota.first, most):
        got = (quota.at_least, quota.at_most, quota.first)
        raise ConfigError("at-least is more than at-most or first", where=where, got=got, hint="it could never be kept")
    if quota.module is not None and quota.module not in config.modules:
        hint = nearest(quota.module, list(config.modules))
        raise ConfigError("no such module", where=where, got=quota.module, hint=hint)
