"""How many requests one caller may send: counted in memory, told on every answer, refused above the quota."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from domain.errors import Unavailable

WINDOW_SECONDS = 1.0
POLICY = "default"
REMEMBERED = 10_000
"""Windows kept at once; the oldest go first, and with them the counts of whoever was quiet the longest."""


class TooManyRequests(Unavailable):
    """The caller has sent more than its quota; it may go on in a moment."""

    code = "too_many_requests"


@dataclass(slots=True)
class _Window:
    """What one caller has sent since it began."""

    ends: float
    count: int


class RateLimits:
    """A quota for each caller and second, in this process alone: two servers count for themselves.

    The field values are those of draft-ietf-httpapi-ratelimit-headers: the quota and its window as `RateLimit-Policy`,
    what is left of it and the seconds to the next window as `RateLimit`.
    """

    def __init__(self, quota: int, clock: Callable[[], float]) -> None:
        self._quota = quota
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self.policy = f'"{POLICY}";q={quota};w={WINDOW_SECONDS:.0f}'

    @property
    def remembered(self) -> int:
        """Callers whose window is kept."""
        return len(self._windows)

    def count(self, caller: str) -> str:
        """Count one request; answers the value of `RateLimit`, also of one that is over: look at `check`."""
        now = self._clock()
        window = self._windows.get(caller)
        if window is None or window.ends <= now:
            window = self._begin(caller, now)
        window.count += 1
        return f'"{POLICY}";r={max(0, self._quota - window.count)};t={math.ceil(window.ends - now)}'

    def check(self, caller: str) -> None:
        """Refuse whoever is over."""
        window = self._windows[caller]
        if window.count > self._quota:
            msg = f"more than {self._quota} requests in a second: go on in a moment (TOYBOX_RATE_LIMIT)"
            raise TooManyRequests(msg, retry_after=window.ends - self._clock(), policy=POLICY)

    def _begin(self, caller: str, now: float) -> _Window:
        self._windows.pop(caller, None)  # so that the order of the windows is that of their ends
        while len(self._windows) >= REMEMBERED:
            del self._windows[next(iter(self._windows))]
        window = self._windows[caller] = _Window(now + WINDOW_SECONDS, 0)
        return window
