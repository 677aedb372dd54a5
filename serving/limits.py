"""How often: requests of a key, and wrong keys of an address. In the memory of one worker, and bounded there."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from features.errors import KokyakuError

MOST: Final = 10_000
"""Buckets and addresses that are remembered; beyond it the one that was used longest ago is forgotten."""


class TooManyError(KokyakuError):
    """Too many requests, or too many wrong keys, in a short time."""

    code = "too_many"
    status = 429

    def __init__(self, what: str, *, where: str, wait: float) -> None:
        self.retry_after = max(1, math.ceil(wait))
        super().__init__(what, where=where, hint=f"wait {self.retry_after} seconds")


@dataclass
class Throttle:
    """Wrong keys of one address: so many in so many seconds, then it has to wait.

    Args:
        clock: seconds; only differences count.
        most: wrong keys in `seconds`.
    """

    clock: Callable[[], float] = time.monotonic
    most: int = 5
    seconds: float = 60.0
    _wrong: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def blocked(self, address: str) -> bool:
        """Whether the address has to wait."""
        if not self._wrong:  # nearly always
            return False
        wrong = self._wrong.get(network(address))
        if wrong is None:
            return False
        while wrong and wrong[0] <= self.clock() - self.seconds:
            wrong.popleft()
        return len(wrong) >= self.most

    def check(self, address: str) -> None:
        """Let the address try.

        Raises:
            TooManyError: it has to wait.
        """
        if self.blocked(address):
            wait = self._wrong[network(address)][0] + self.seconds - self.clock()
            raise TooManyError("too many wrong keys", where="key", wait=wait)

    def failed(self, address: str) -> None:
        """Remember a wrong key."""
        name = network(address)
        self._wrong.setdefault(name, deque(maxlen=self.most)).append(self.clock())
        self._wrong.move_to_end(name)
        while len(self._wrong) > MOST:
            self._wrong.popitem(last=False)


@dataclass
class Buckets:
    """A token bucket for each name: `rate` tokens a second flow in, up to `burst`; a request takes one.

    Args:
        clock: seconds; only differences count.
    """

    clock: Callable[[], float] = time.monotonic
    _left: OrderedDict[Hashable, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, name: Hashable, rate: float, burst: int, where: str = "X-Api-Key") -> None:
        """Take one token.

        Args:
            name: whose bucket.
            rate, burst: as above; a burst of 0 is one second's tokens.
            where: what an error says was asked too often.

        Raises:
            TooManyError: there is none; it says after how many seconds there will be.
        """
        now = self.clock()
        most = float(burst or max(1.0, rate))
        left, at = self._left.get(name, (most, now))
        left = min(most, left + max(0.0, now - at) * rate)
        if left < 1:
            raise TooManyError("too many requests", where=where, wait=(1 - left) / rate)
        self._left[name] = (left - 1, now)
        self._left.move_to_end(name)
        if len(self._left) > MOST:
            self._left.popitem(last=False)


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """What one person holds: the address of version 4, and the /64 of version 6.

    >>> network("192.0.2.7"), network("::ffff:192.0.2.7"), network("2001:db8::1:2:3:4"), network("nobody")
    ('192.0.2.7', '192.0.2.7', '2001:db8::', 'nobody')
    """
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
