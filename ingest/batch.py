"""A batch: a contiguous range of offsets of one stream, and the exact bytes of its one insert.

The deduplication token names the range, and the bytes are made once, so that a retry is the same
insert: one Arrow record batch, hence one block in every table behind the landing table. Small
batches of several streams may share an insert (`ingest/writer.py`).
"""

import hashlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.arrow_stream import arrow_stream
from ingest.claims import Claims, First, claims_of
from ingest.erased import ERASURE, ErasedUsers
from ingest.erased import blank as blanked
from ingest.intents import Intent
from ingest.ledger import LedgerRow
from ingest.messages import Message, Messages, is_among, is_within
from ingest.streams import Stream
from ingest.verdicts import (
    EVENT_FIELDS,
    LABELS,
    NO_EVENTS,
    DeadLetter,
    appended_at,
    blank,
    in_one_piece,
    judge,
    label,
)
from tally.events import ACTIONS, Reason, Rejection

REPLAY_HEADER = "replay_of"
MAX_LETTER_ID = 512

_MS = pa.timestamp("ms", tz="UTC")


# A few messages cost as much to judge as hundreds: Arrow's sixty calls. At 10,000 messages/s polls
# bring few of a partition, and judged as they came they kept the event loop busy all the time.
JUDGED_TOGETHER = 1_000


class Batch:
    """Messages of one stream in the order of their offsets, validated many at a time."""

    def __init__(
        self, stream: Stream, first_offset: int, opened_at: float, intent: Intent | None = None
    ) -> None:
        """Open a batch; with an `intent` it is that range again, judged by that clock."""
        self.stream = stream
        self.first_offset = first_offset
        self.next_offset = first_offset
        self.opened_at = opened_at
        self.message_bytes = 0
        self.end_offset = 0
        self.label = ""
        self.gaps: list[LedgerRow] = []
        self.of_erased_users: list[int] = []  # offsets
        self.intent = intent
        self.leased_until = 0.0  # monotonic: before that nobody else can own the partition
        self.may_be_stored = intent is not None  # by an insert whose end is unknown
        # To the millisecond: what is stored, and what an intent keeps.
        now = datetime.now(UTC)
        self.received_at = (
            now.replace(microsecond=now.microsecond // 1000 * 1000)
            if intent is None
            else intent.received_at
        )
        self._unjudged: list[Message] = []
        self._messages = Messages()  # that are judged
        self._events: list[pa.RecordBatch] = []
        self._dead: list[DeadLetter] = []
        self._unknown_actions = 0

    def __len__(self) -> int:
        return len(self._messages) + len(self._unjudged)

    @property
    def last_offset(self) -> int:
        """The last offset of the range; the batch holds at least one message."""
        return self.next_offset - 1

    @property
    def token(self) -> str:
        """The `insert_deduplication_token` of the batch's insert."""
        return f"{self.stream}:{self.first_offset}-{self.last_offset}{self.label}"

    @property
    def accepted(self) -> int:
        """The number of accepted messages."""
        self._judge()
        return sum(part.num_rows for part in self._events)

    @property
    def dead(self) -> Sequence[DeadLetter]:
        """The rejected messages, in the order of their offsets."""
        self._judge()
        return self._dead

    @property
    def unknown_actions(self) -> int:
        """How many of the accepted are of an action type that the contract does not know."""
        self._judge()
        return self._unknown_actions

    def add(self, messages: Sequence[Message]) -> None:
        """Take messages in. Offsets that were jumped over become a gap."""
        if not messages:
            return
        # Mostly nothing is missing between the first and the last.
        if messages[-1].offset - self.next_offset != len(messages) - 1:
            self._note_gaps(messages)
        self.next_offset = messages[-1].offset + 1
        self.message_bytes += sum([len(m.value or b"") + len(m.key or b"") for m in messages])
        self._unjudged.extend(messages)
        if len(self._unjudged) >= JUDGED_TOGETHER:
            self._judge()

    def _note_gaps(self, messages: Sequence[Message]) -> None:
        expected = self.next_offset
        for message in messages:
            if message.offset > expected:
                self.gaps.append(LedgerRow(self.stream, expected, message.offset - 1, "gap"))
            expected = message.offset + 1

    def _judge(self) -> None:
        """Validate what has come since the last time."""
        if not self._unjudged:
            return
        messages, self._unjudged = self._unjudged, []
        verdicts = judge(messages, self.received_at)
        self._messages.add(messages)
        self._events.append(verdicts.events)
        self._dead.extend(verdicts.dead)
        self._unknown_actions += verdicts.unknown_actions

    def is_beyond(self, offset: int) -> bool:
        """Whether an offset lies behind the intended range."""
        return self.intent is not None and offset > self.intent.last_offset

    @property
    def is_complete(self) -> bool:
        """Whether the intended range is taken in whole."""
        return self.is_beyond(self.next_offset)

    def end_as_intended(self) -> None:
        """Complete the range where the log has no more messages of it."""
        assert self.intent is not None
        last = self.intent.last_offset
        if self.next_offset <= last:
            self.gaps.append(LedgerRow(self.stream, self.next_offset, last, "gap"))
            self.next_offset = last + 1

    def own_intent(self) -> Intent:
        """What is committed before the batch is written."""
        return Intent(str(self.stream), self.first_offset, self.last_offset, self.received_at)

    def claims(self) -> Claims:
        """The claims of the accepted messages on their event ids."""
        return claims_of(str(self.stream), self.accepted_events())

    def accepted_events(self) -> pa.RecordBatch:
        """The accepted messages in one piece, as columns of `EVENTS`."""
        self._judge()
        if len(self._events) != 1:
            self._events = [in_one_piece(self._events or [NO_EVENTS])]
        return self._events[0]

    def _accepted_at(self, offsets: Collection[int]) -> pa.RecordBatch:
        events = self.accepted_events()
        return events.filter(is_among(events["offset"], offsets))

    def quarantine(self, conflicts: Mapping[int, First]) -> None:
        """Reject the messages at these offsets, as another payload was first with their ids."""
        events = self._accepted_at(conflicts)
        event_ids = dict(zip(events["offset"].to_pylist(), texts_of(events), strict=True))
        rejections = {}
        for offset, first in conflicts.items():
            error = (
                f"event_id: {event_ids[offset]} was accepted with another payload at "
                f"offset {first.offset} of {first.stream}"
            )
            rejections[offset] = Rejection(Reason.CONFLICT, error)
        self.reject(rejections)

    def halves(self) -> tuple["Batch", "Batch"]:
        """The batch in two, by its messages: the same two each time."""
        self._judge()
        middle = self._messages.offset_of(len(self) // 2)
        left = Batch(self.stream, self.first_offset, self.opened_at, self.intent)
        right = Batch(self.stream, middle, self.opened_at, self.intent)
        for half, first, end in ((left, self.first_offset, middle), (right, middle, None)):
            half.next_offset = self.next_offset if end is None else end
            half.received_at = self.received_at
            half.may_be_stored = self.may_be_stored
            ours = range(first, half.next_offset)
            half._messages = self._messages.between(ours.start, ours.stop)
            events = self.accepted_events()
            half._events = [events.filter(is_within(events["offset"], ours.start, ours.stop))]
            half._dead = [d for d in self.dead if d.message.offset in ours]
            half.label = self.label
        return left, right

    def only_rejected(self, offsets: Collection[int]) -> "Batch":
        """A batch of nothing but these dead letters; its token is of the first and the last."""
        some = Batch(self.stream, min(offsets), self.opened_at, self.intent)
        some.next_offset = max(offsets) + 1
        some.received_at = self.received_at
        some._dead = [d for d in self.dead if d.message.offset in offsets]
        some._messages.add([d.message for d in some._dead])
        some.label = f"{self.label}:refused"
        return some

    def refuse(self, erased: ErasedUsers) -> None:
        """Make blank dead letters of all messages of these users, whatever else they are.

        Made again after a crash, the batch may meet another list than before, and what is stored
        under the token of the one must not pass for the other: the token says what was left out.
        """
        offsets = erased.offsets_in(self.accepted_events())
        others = [d.message.offset for d in self.dead if erased.is_named_by(d.message)]
        theirs = {*offsets, *others}
        if not theirs:
            return
        self._messages.blank(theirs)
        self._dead = [
            DeadLetter(blanked(d.message), ERASURE) if d.message.offset in theirs else d
            for d in self.dead
        ]
        self.reject(dict.fromkeys(offsets, ERASURE))
        self.of_erased_users = sorted(theirs)
        said = ",".join(map(str, self.of_erased_users)).encode()
        self.label = f":without-{hashlib.md5(said, usedforsecurity=False).hexdigest()}"

    def reject(self, rejections: Mapping[int, Rejection]) -> list[str]:
        """Make dead letters of the accepted messages at these offsets; the event ids they had."""
        if not rejections:
            return []
        taken: Any = self._accepted_at(rejections)
        is_left = pc.invert(pc.is_in(self.accepted_events()["offset"], taken["offset"]))
        self._events = [self.accepted_events().filter(is_left)]
        self._unknown_actions -= sum(a not in ACTIONS for a in taken["action_type"].to_pylist())
        self._dead += [
            DeadLetter(message, rejections[message.offset])
            for message in self._messages.at(rejections)
        ]
        self._dead.sort(key=lambda letter: letter.message.offset)
        return texts_of(taken)

    def ledger_row(self) -> LedgerRow:
        """The row that says that the range is readable."""
        self._judge()
        newest: Any = pc.max(appended_at(self._messages.timestamps, self.received_at))
        return LedgerRow(
            self.stream,
            self.first_offset,
            self.last_offset,
            "stored",
            accepted=self.accepted,
            dead=len(self.dead),
            end_offset=max(self.end_offset, self.next_offset),
            newest_appended_at=newest.as_py().astimezone(UTC),
        )

    def rows(self) -> pa.RecordBatch:
        """What is inserted: accepted messages, then dead letters with their bytes."""
        events = self.accepted_events()
        accepted = self._block(events.num_rows, {n: events[n] for n in events.schema.names})
        if not self.dead:
            return accepted
        letters: dict[str, Any] = {
            "offset": [d.message.offset for d in self.dead],
            "appended_at": appended_at([d.message.timestamp for d in self.dead], self.received_at),
            "key": [d.message.key or b"" for d in self.dead],
            "value": [d.message.value or b"" for d in self.dead],
            "reason": [d.rejection.reason.value for d in self.dead],
            "error": [d.rejection.error for d in self.dead],
            "replay_of": [_replay_of(d.message) for d in self.dead],
        }
        return in_one_piece([accepted, self._block(len(self.dead), letters)])

    def _block(self, count: int, columns: Mapping[str, Any]) -> pa.RecordBatch:
        """Rows with these columns, with those that are the same in all, and with blanks."""
        same = {
            "cluster_id": label(self.stream.cluster_id, count),
            "topic": label(self.stream.topic, count),
            "partition": pa.repeat(pa.scalar(self.stream.partition, pa.uint16()), count),
            "stream": label(str(self.stream), count),
            "received_at": pa.repeat(pa.scalar(self.received_at, _MS), count),
        }
        given = {**columns, **same}
        return pa.record_batch(
            [
                pa.array(given[f.name], f.type) if f.name in given else blank(f.type, count)
                for f in SCHEMA
            ],
            schema=SCHEMA,
        )


SCHEMA = pa.schema(
    [
        ("cluster_id", LABELS),
        ("topic", LABELS),
        ("partition", pa.uint16()),
        ("offset", pa.uint64()),
        ("stream", LABELS),
        ("appended_at", _MS),
        ("received_at", _MS),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("reason", LABELS),
        ("error", pa.string()),
        ("replay_of", pa.string()),
        *EVENT_FIELDS,
    ]
)


def encode(batches: Sequence[Batch]) -> pa.Buffer:
    """The Arrow stream of the batches, in one block."""
    return arrow_stream(in_one_piece([batch.rows() for batch in batches]))


def texts_of(events: pa.RecordBatch) -> list[str]:
    """The event ids as they are written."""
    return [str(uuid.UUID(bytes=event_id)) for event_id in events["event_id"].to_pylist()]


def _replay_of(message: Message) -> str:
    """The dead letter that was sent again with this message."""
    for name, value in message.headers or ():
        if name == REPLAY_HEADER and value is not None:
            return str(value.decode("utf-8", "replace"))[:MAX_LETTER_ID]
    return ""


def warm_up() -> None:
    """Encode nothing once: pyarrow imports pandas at its first array, which takes a second."""
    encode([Batch(Stream("", "", 0), 0, 0.0)])
