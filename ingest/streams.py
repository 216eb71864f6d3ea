"""Names of streams: an offset means something only within one topic partition of one broker.

`cluster/topic/partition`, and `+N` behind it for the Nth time that the topic was made anew in the
same cluster. Batches, tokens and ledger rows all carry it, so equal offsets never meet.
"""

import re

from msgspec import Struct

_NAME = re.compile(r"(?P<cluster>.+)/(?P<topic>[^/]+)/(?P<partition>\d+)(?:\+(?P<epoch>\d+))?")


class Stream(Struct, frozen=True, order=True):
    """One log of messages, from its offset 0 to its end."""

    cluster_id: str
    topic: str
    partition: int
    epoch: int = 0

    def __str__(self) -> str:
        name = f"{self.cluster_id}/{self.topic}/{self.partition}"
        return f"{name}+{self.epoch}" if self.epoch else name

    def renewed(self) -> "Stream":
        """The stream that follows when the topic was deleted and made again."""
        return Stream(self.cluster_id, self.topic, self.partition, self.epoch + 1)


def parse_stream(name: str) -> Stream:
    """The inverse of `str(stream)`."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is not the name of a stream")
    return Stream(
        found["cluster"], found["topic"], int(found["partition"]), int(found["epoch"] or 0)
    )
