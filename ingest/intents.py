"""The intent of a partition: the range that is about to be written, kept in Kafka's own commit.

It is committed before anything is written, as the metadata of the offset where the range begins.
Whoever reads the partition next, after a crash or a rebalance, makes the same batch of it: the same
range, the same clock and so the same bytes under the same token. The ledger stays the truth: an
intent that does not begin where the ledger ends is of no interest.
"""

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from ingest.streams import Stream

NONE = ""  # what is committed with the offset behind a range that is stored


class Intent(Struct, frozen=True):
    """The range from `first_offset` to `last_offset` of a stream, and the clock it is judged by."""

    stream: str
    first_offset: int
    last_offset: int
    received_at: datetime

    def encode(self) -> str:
        """The commit's metadata; a broker takes 4,096 bytes of it by default."""
        return msgspec.json.encode(self).decode()

    def continues(self, stream: Stream, offset: int) -> bool:
        """Whether this is the range that is read next at `offset` of the stream."""
        return self.stream == str(stream) and self.first_offset == offset


def decode(metadata: str) -> Intent | None:
    """The intent in a commit's metadata; None where it holds none, or somebody else's words."""
    try:
        intent = msgspec.json.decode(metadata, type=Intent)
    except msgspec.MsgspecError:
        return None
    if intent.last_offset < intent.first_offset or intent.received_at.tzinfo is None:
        return None
    return msgspec.structs.replace(intent, received_at=intent.received_at.astimezone(UTC))
