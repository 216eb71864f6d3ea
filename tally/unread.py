"""How much of what a producer sent lies unread in Kafka.

The embedded broker forgets the oldest messages beyond its memory, read or not: whoever sends to it
counts, and waits for the ingest group to catch up.
"""

from collections import defaultdict, deque
from collections.abc import Mapping


class UnreadBytes:
    """Bytes sent and not yet committed by the ingest group, per partition."""

    def __init__(self) -> None:
        self._messages: defaultdict[int, deque[tuple[int, int]]] = defaultdict(deque)
        self._bytes: defaultdict[int, int] = defaultdict(int)

    def add(self, partition: int, offset: int, size: int) -> None:
        """Count a delivered message of `size` bytes."""
        self._messages[partition].append((offset, size))
        self._bytes[partition] += size

    def read_up_to(self, committed: Mapping[int, int]) -> None:
        """Forget what lies before the group's committed offset of each partition."""
        for partition, offset in committed.items():
            messages = self._messages[partition]
            while messages and messages[0][0] < offset:
                self._bytes[partition] -= messages.popleft()[1]

    @property
    def partitions(self) -> list[int]:
        """The partitions to which something was sent."""
        return list(self._messages)

    @property
    def total(self) -> int:
        """Over all partitions."""
        return sum(self._bytes.values())

    @property
    def fullest(self) -> int:
        """Of the partition that holds the most."""
        return max(self._bytes.values(), default=0)
