"""A share of the time, saved up to a limit: how often batches may be closed by age."""


class TimeShare:
    """A token bucket of seconds: `share` of each second is added, at most `saved_s` is kept.

    More may be spent than is left, down to as much in debt: who asks first whether something is
    left keeps to the share over time, and need not know what its work will take.
    """

    def __init__(self, share: float, saved_s: float) -> None:
        self._share = share
        self._saved_s = saved_s
        self._left = saved_s
        self._at = float("-inf")

    def is_left(self, now: float) -> bool:
        """Whether something may be spent at `now` (seconds, monotonic)."""
        earned = (now - self._at) * self._share
        self._left, self._at = min(self._saved_s, self._left + earned), now
        return self._left > 0

    def spend(self, seconds: float) -> None:
        """Take so much."""
        self._left = max(-self._saved_s, self._left - seconds)
