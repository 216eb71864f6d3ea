"""Notices a surge of bad messages: then something upstream is wrong, and not single messages."""

from collections import Counter, deque
from collections.abc import Collection

from ingest.batch import Batch

WINDOW_S = 60.0
FEWEST = 1_000  # dead letters in the window, under which no ratio says anything


def _bad(batch: Batch) -> int:
    """Dead letters without those of erased users: good messages, of which a replay has many."""
    return len(batch.dead) - len(batch.of_erased_users)


class SurgeGuard:
    """Counts messages and dead letters of the last minute, over all partitions."""

    def __init__(self, max_ratio: float) -> None:
        self._max_ratio = max_ratio
        self._window: deque[tuple[float, int, int]] = deque()
        self._messages = 0
        self._dead = 0

    def note(self, batch: Batch, now: float) -> None:
        """Count a batch that was stored; `now` in monotonic seconds."""
        dead = _bad(batch)
        self._window.append((now, len(batch), dead))
        self._messages += len(batch)
        self._dead += dead

    def judge(self, batch: Batch, under_way: Collection[Batch], now: float) -> str | None:
        """What is wrong, where to store the batch would make a surge of dead letters.

        Those under way are stored before anything is noted of them: small ones of all partitions go
        together.
        """
        while self._window and now - self._window[0][0] > WINDOW_S:
            _, messages, dead = self._window.popleft()
            self._messages -= messages
            self._dead -= dead
        counted = [batch, *under_way]
        messages = self._messages + sum(map(len, counted))
        dead = self._dead + sum(map(_bad, counted))
        if dead < FEWEST or dead <= self._max_ratio * messages:
            return None
        reasons = Counter(str(letter.rejection.reason) for letter in batch.dead).most_common(3)
        named = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
        example = batch.dead[0].rejection.error[:200] if batch.dead else ""
        return (
            f"{dead:,} of the last {messages:,} messages are bad (this batch: {named}; the first: "
            f"{example}). Nothing more is stored. Mend the producer or the contract and start "
            f"again; TALLY_INGEST_MAX_DEAD_RATIO=1 lets them through to the dead letters."
        )
