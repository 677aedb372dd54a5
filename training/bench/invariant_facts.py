"""What follows from the true state at a moment, in plain Python: a second derivation on purpose.

Nothing here calls what decides in `serving` or `features`. Lists and loops take the place of columns, and the rules are
read off the words of `shop.toml` and of the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from statistics import median
from zoneinfo import ZoneInfo

from serving.query import Context
from serving.settings.asking import ProjectRule
from training.bench.invariant_house import LEARNED_DAYS, path_of, unusual
from training.bench.invariant_truth import Event, Line, Subject

DAY, HOUR, MINUTE = 86_400_000_000, 3_600_000_000, 60_000_000
YEAR = 365 * DAY
ENDED = ("delivered", "returned", "cancelled", "lost")
FAILED = ("returned", "cancelled", "lost")
LOOKS = ("view", "click", "cart", "search")
SIGNS = ("view", "click", "cart", "wishlist", "purchase")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEASONS = {12: "winter", 1: "winter", 2: "winter", 3: "spring", 4: "spring", 5: "spring", 6: "summer", 7: "summer",
            8: "summer", 9: "autumn", 10: "autumn", 11: "autumn"}  # fmt: skip


def under(paths: Iterable[str], path: str) -> bool:
    """Whether a category path begins with one of some beginnings."""
    return any(path.startswith(each) for each in paths)


@dataclass
class Facts:
    """What is true of a subject at a moment, in a context.

    Args:
        who: the subject, or a blank one where nothing personal may be used.
        now: microseconds.
        context: of the request.
        rules: `[projects]` of the shop.
        days: `[repurchase.days]` of the shop.
        shop_zone: the shop's time zone.
    """

    who: Subject
    now: int
    context: Context
    rules: Mapping[str, ProjectRule]
    days: Mapping[str, float]
    shop_zone: str

    @cached_property
    def local(self) -> datetime:
        """The subject's wall clock."""
        zone = self.who.zone or self.context.time_zone or self.shop_zone
        return (_EPOCH + timedelta(microseconds=self.now)).astimezone(ZoneInfo(zone))

    @property
    def season(self) -> str:
        """In the north."""
        return _SEASONS[self.local.month]

    @property
    def region(self) -> str | None:
        """Of the request, else where things are sent to."""
        return self.context.region or self.who.region

    @cached_property
    def open_lines(self) -> list[Line]:
        """What is on its way; what was not heard of for a year is not waited for any more."""
        return [line for line in self.who.lines if line.state not in ENDED and self.now - line.steps[-1][0] <= YEAR]

    @property
    def late(self) -> bool:
        """Whether something on its way is late."""
        return any(line.late(self.now) for line in self.open_lines)

    @property
    def returned_lately(self) -> bool:
        """Whether something was sent back in two weeks, or got lost on its way."""
        since = self.now - 14 * DAY
        steps = (at for line in self.who.lines for at, state in line.steps if state in ("returned", "lost"))
        return any(at >= since for at in (*steps, *(each.at for each in self.who.events if each.type == "return")))

    @cached_property
    def bought(self) -> set[str]:
        """Paths of what was bought, also of what only an order line tells of."""
        ordered = {path_of(line.item) for line in self.who.lines if line.state not in FAILED}
        return ordered | {path_of(each.item) for each in self.who.events if each.type == "purchase"}

    @property
    def orders(self) -> int:
        """Instants at which something was bought, and orders that only order lines tell of."""
        bought = {each.at for each in self.who.events if each.type == "purchase"}
        alone = {
            line.order_id for line in self.who.lines if all(abs(at - line.ordered_at) >= 12 * HOUR for at in bought)
        }
        return len(bought) + len(alone)

    @cached_property
    def wished(self) -> set[str]:
        """Paths of open wishes."""
        last: dict[str, str] = {}
        for each in self.who.events:
            if each.type in ("wishlist", "wishlist_remove", "purchase"):
                last[each.item] = each.type
        return {path_of(item) for item, kind in last.items() if kind == "wishlist"}

    @cached_property
    def session(self) -> list[Event]:
        """The looks of the running session: no pause of more than half an hour, up to now."""
        looks: list[Event] = []
        end = self.now
        for each in reversed(self.who.events):
            if each.type not in LOOKS:
                continue
            if end - each.at > 30 * MINUTE:
                break
            looks.append(each)
            end = each.at
        return looks[::-1]

    @property
    def session_start(self) -> int:
        """When the running session began: with its first look, or with a question that was put or answered before."""
        start = self.session[0].at if self.session else self.now
        put = [int(str(at)) for at in (*self.who.shown.now.values(), *self.who.asked.now.values())]
        while earlier := [at for at in put if start - 30 * MINUTE <= at < start]:
            start = max(earlier)
        return start

    @cached_property
    def looking_at(self) -> set[str]:
        """Paths of the page and of what was looked at in this session; a page's path may be only a beginning."""
        found = {path_of(each.item) for each in self.session if each.item}
        if self.context.item_id:
            found.add(path_of(self.context.item_id))
        return found | ({self.context.category} if self.context.category else set())

    @property
    def unusual(self) -> bool:
        """Whether something is looked at at an hour that is rare for it."""
        seen = [each.item for each in self.session if each.item]
        item = self.context.item_id or (seen[-1] if seen else None)
        path = self.context.category or ("" if item is None else path_of(item))
        return unusual(path, self.context.device, self.local.hour)

    @property
    def project(self) -> bool:
        """Whether the room for a teenager is being furnished."""
        rule = self.rules["teen-room"]
        signs = [each for each in self.who.events if each.type in SIGNS and under(rule.categories, path_of(each.item))]
        after = int(rule.ends_after_days * DAY)
        if self.who.project is not None:
            since, until = self.who.project
            last = max([since, *(each.at for each in signs)])
            return self.now < (last + after if until is None else until)
        if not signs or rule.begins_with is None or self.now >= signs[-1].at + after:
            return False
        span = int(rule.within_days * DAY)
        return any(
            len({each.item for each in signs if one.at - span < each.at <= one.at}) >= rule.begins_with for one in signs
        )

    @cached_property
    def resting(self) -> set[str]:
        """Paths of which nothing may be offered: awaited, or bought so lately.

        What was given away counts nothing, nor does what came back, was cancelled or got lost.
        """
        own = [line for line in self.open_lines if not line.gift]
        found = {path_of(line.item) for line in own if self._rest(path_of(line.item)) != 0}
        lines = [(line.ordered_at, line.item) for line in self.who.lines
                 if not line.gift and line.state not in FAILED]  # fmt: skip
        for at, item in (*lines, *self._owned()):
            days = self._rest(path_of(item))
            if days is not None and self.now - at < days * DAY:
                found.add(path_of(item))
        return found

    def _owned(self) -> list[tuple[int, str]]:
        """Purchases for oneself that no return and no failed order line took off."""
        bought: list[Event] = []
        for each in self.who.events:
            mine = [one for one in bought if one.item == each.item]
            if each.type == "purchase":
                bought.append(each)
            elif each.type == "return" and mine:
                bought.remove(mine[-1])
        failed = {(line.ordered_at, line.item) for line in self.who.lines if line.state in FAILED}
        return [(each.at, each.item) for each in bought if not each.gift and (each.at, each.item) not in failed]

    def _rest(self, path: str) -> float | None:
        told = [prefix for prefix in self.days if path.startswith(prefix)]
        return self.days[max(told, key=len)] if told else LEARNED_DAYS.get(path)

    # --- the stage of the journey ----------------------------------------------------------------------------------

    @cached_property
    def stage(self) -> str:
        """One of the seven, by the words at the top of `features.journey`."""
        if self.open_lines:
            return "waiting"
        basket = {each.item for each in self._lying("cart", ("cart_remove", "purchase"), self.now - 7 * DAY)}
        kept, alone = self._kept()
        told = max((line.ordered_at for line in self.who.lines), default=None)
        fresh = bool(kept) and (told is None or kept[-1] - 12 * HOUR > told) and self.now - kept[-1] <= DAY
        if basket or fresh:
            return "purchase"
        times = sorted([*kept, *alone])
        if self._considers(times):
            return "consideration"
        return self._customer(times) if times else "awareness"

    def _lying(self, kind: str, ends: tuple[str, ...], since: int) -> list[Event]:
        """What was put somewhere since and not taken out after it."""
        events = [each for each in self.who.events if each.at >= since]
        gone = {(end.item, end.at) for end in events if end.type in ends}
        return [each for each in events if each.type == kind
                and not any(item == each.item and at >= each.at for item, at in gone)]  # fmt: skip

    def _kept(self) -> tuple[list[int], list[int]]:
        """Instants of purchases that stand, and of orders that only lines tell of."""
        bought: list[Event] = []
        for each in self.who.events:
            if each.type == "purchase":
                bought.append(each)
            elif each.type == "return":
                mine = [one for one in bought if one.item == each.item]
                if mine:
                    bought.remove(mine[-1])
        instants = sorted(each.at for each in self.who.events if each.type == "purchase")
        failed: list[int] = []
        standing: set[int] = set()
        alone: list[int] = []
        for line in self.who.lines:
            near = min(instants, key=lambda at: (abs(at - line.ordered_at), at), default=None)
            here = near is not None and abs(near - line.ordered_at) < 12 * HOUR
            at = near if here and near is not None else line.ordered_at
            if line.state in FAILED:
                failed.append(at)
            elif here:
                standing.add(at)
            else:
                alone.append(at)
        gone = {at for at in failed if at not in standing and failed.count(at) >= instants.count(at)}
        return sorted(each.at for each in bought if each.at not in gone), alone

    def _considers(self, times: list[int]) -> bool:
        since = max(self.now - 14 * DAY, *(at + 1 for at in times[-1:]), 0)
        events = [each for each in self.who.events if each.at >= since]
        if any(each.type == "search" for each in events):
            return True
        if self._lying("wishlist", ("wishlist_remove", "purchase"), since):
            return True
        seen: dict[str, set[str]] = {}
        for each in events:
            if each.type in ("view", "click", "cart") and each.item:
                seen.setdefault(path_of(each.item), set()).add(each.item)
        return any(len(items) >= 2 for items in seen.values())

    def _customer(self, times: list[int]) -> str:
        ends = [at for at, following in zip(times, [*times[1:], None], strict=True)
                if following is None or following - at >= 12 * HOUR]  # fmt: skip
        gaps = [later - earlier for earlier, later in pairwise(ends)]
        gap = median(gaps) if gaps else None
        last = times[-1]
        if gap is not None and last + 0.7 * gap <= self.now <= last + 2 * gap:
            return "repeat"
        limit = last + max(180 * DAY, 3 * gap if gap is not None else 0)
        looked = max((each.at for each in self.who.events if each.type in LOOKS), default=None)
        silent = looked is None or self.now - looked > 30 * DAY
        return "lapsed" if self.now > limit and silent else "use"
