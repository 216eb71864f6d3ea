"""How much one caller may ask: a bucket of requests for each `sub`, filled at a steady rate.

Counted in each process by itself: behind N processes a caller gets up to N times the limit.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60
# A bucket that was left alone for a window is full, so forgetting it changes nothing.
MAX_SUBJECTS = 100_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the bucket said to one request."""

    limit: int
    remaining: int
    full_in_seconds: int
    retry_after_seconds: int
    """0 where the request is allowed."""

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)."""
        return {
            "RateLimit-Policy": f'"default";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"default";r={self.remaining};t={self.full_in_seconds}',
        }


class RateLimiter:
    """Buckets by subject; the one used longest ago is forgotten first."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, subject: str, limit: int) -> Allowance:
        """Take one request out of the bucket, if there is one, of `limit` a window."""
        now = self._monotonic()
        each = WINDOW_SECONDS / limit
        full_at = max(self._full_at.get(subject, now), now) + each
        retry_after = full_at - now - WINDOW_SECONDS
        if retry_after > 1e-9:
            full_at -= each
            return Allowance(limit, 0, math.ceil(full_at - now), math.ceil(retry_after))
        self._full_at[subject] = full_at
        self._full_at.move_to_end(subject)
        if len(self._full_at) > MAX_SUBJECTS:
            self._full_at.popitem(last=False)
        remaining = int((WINDOW_SECONDS - (full_at - now)) / each + 1e-9)
        return Allowance(limit, remaining, math.ceil(full_at - now), 0)
