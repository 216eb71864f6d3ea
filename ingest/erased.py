"""Who is erased, as ingestion knows it, and which dead letters are theirs.

A message of an erased user becomes a dead letter that says no more than that: it keeps neither key
nor value, and claims no event id.
"""

import re
import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver import Client
from msgspec import Struct

from ingest.messages import Kept, Message
from tally.erasure import LISTED, MARK, USERS
from tally.events import Reason, Rejection

# How old the list may be when a batch is judged by it.
LIST_SECONDS = 1.0

ERASURE = Rejection(
    Reason.ERASED_USER, "the user was erased: neither key nor value of the message is kept"
)

# A bad message need not be JSON, so its user is looked for in the text; where it names none, the
# key is theirs who sent it.
_USER_ID = r'"user_id"\s*:\s*"?([0-9]+)'
_MAX_DIGITS = 16
_named = re.compile(_USER_ID.encode(), re.ASCII).findall

# The same in SQL, of the letters in `raw.dead_letters` and everyone on the list.
_IN_VALUE = "extractAll(value, '" + _USER_ID.replace("\\", "\\\\") + "')"
IS_LETTER = f"""
hasAny(
    arrayMap(
        digits -> if(length(digits) <= {_MAX_DIGITS}, toUInt64OrZero(digits), 0),
        if(empty({_IN_VALUE}), [key], {_IN_VALUE})
    ),
    (select groupUniqArray(user_id) from {LISTED})
)
"""


def blank(message: Message) -> Kept:
    """The message without what it said. (Of its headers only `replay_of` is ever stored.)"""
    return Kept(message.offset, message.timestamp, message.headers)


class ErasedUsers(Struct, frozen=True):
    """The list as it was at `read_at`, in monotonic seconds."""

    users: frozenset[int] = frozenset()
    read_at: float = float("-inf")
    mark: tuple[Any, ...] = ()

    def offsets_in(self, events: pa.RecordBatch) -> list[int]:
        """The offsets of accepted messages that are theirs."""
        if not self.users:
            return []
        is_theirs = pc.is_in(events["user_id"], pa.array(self.users, pa.uint64()))
        offsets: Any = events["offset"].filter(is_theirs)
        found: list[int] = offsets.to_pylist()
        return found

    def is_named_by(self, message: Message) -> bool:
        """Whether a message that was not accepted is one of theirs, as far as can be told."""
        if not self.users:
            return False
        texts = _named(message.value or b"") or [message.key or b""]
        return any(
            len(text) <= _MAX_DIGITS and text.isdigit() and int(text) in self.users
            for text in texts
        )


def read_erased(client: Client, known: ErasedUsers) -> ErasedUsers:
    """The list as it is now; it is only read where it is another one than `known`."""
    read_at = time.monotonic()
    (mark,) = client.query(MARK).result_rows
    if tuple(mark) == known.mark:
        return ErasedUsers(known.users, read_at, known.mark)
    users = frozenset(user_id for (user_id,) in client.query(USERS).result_rows)
    return ErasedUsers(users, read_at, tuple(mark))
