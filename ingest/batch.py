"""A batch: a contiguous range of offsets of one stream, and the exact bytes of its one insert.

The deduplication token names the range, and the bytes are made once, so that a retry is the same
insert: one Arrow record batch, hence one block in every table behind the landing table.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa
from msgspec import Struct

from ingest.claims import Claim, First, claim
from ingest.intents import Intent
from ingest.ledger import LedgerRow
from ingest.streams import Stream
from tally.events import Event, Reason, Rejection, parse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST_MS = 9_999_999_999_999  # the year 2286: inside of what DateTime64 holds
REPLAY_HEADER = "replay_of"
MAX_LETTER_ID = 512
_NIL_UUID = "00000000-0000-0000-0000-000000000000"

_MS = pa.timestamp("ms", tz="UTC")
_LABEL = pa.dictionary(pa.int32(), pa.string())


class Message(Protocol):
    """What a batch needs of a Kafka record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Any


class DeadLetter(Struct, frozen=True):
    """A rejected message with what it was rejected for."""

    message: Message
    rejection: Rejection


class Batch:
    """Messages of one stream in the order of their offsets, validated as they come."""

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
        self.dead: list[DeadLetter] = []
        self.unknown_actions = 0
        self.intent = intent
        # To the millisecond: what is stored, and what an intent keeps.
        now = datetime.now(UTC)
        self.received_at = (
            now.replace(microsecond=now.microsecond // 1000 * 1000)
            if intent is None
            else intent.received_at
        )
        self._messages: list[Message] = []
        self._accepted: list[tuple[Message, Event]] = []

    def __len__(self) -> int:
        return len(self._messages)

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
        return len(self._accepted)

    def add(self, message: Message) -> None:
        """Validate a message and take it in. Offsets that were jumped over become a gap."""
        if message.offset > self.next_offset:
            self.gaps.append(LedgerRow(self.stream, self.next_offset, message.offset - 1, "gap"))
        self.next_offset = message.offset + 1
        self.message_bytes += len(message.value or b"") + len(message.key or b"")
        self._messages.append(message)
        verdict = parse(message.value, received_at=self.received_at)
        if isinstance(verdict, Rejection):
            self.dead.append(DeadLetter(message, verdict))
        else:
            self._accepted.append((message, verdict))
            self.unknown_actions += not verdict.is_known

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

    def claims(self) -> list[Claim]:
        """The claims of the accepted messages on their event ids."""
        return [claim(event, message.offset) for message, event in self._accepted]

    def quarantine(self, conflicts: Mapping[int, First]) -> None:
        """Reject the messages at these offsets, as another payload was first with their ids."""
        for message, event in list(self._accepted):
            first = conflicts.get(message.offset)
            if first is not None:
                error = (
                    f"event_id: {event.event_id} was accepted with another payload at offset "
                    f"{first.offset} of {first.stream}"
                )
                self.reject(message.offset, Rejection(Reason.CONFLICT, error))

    def halves(self) -> tuple["Batch", "Batch"]:
        """The batch in two, by its messages: the same two each time."""
        middle = self._messages[len(self._messages) // 2].offset
        left = Batch(self.stream, self.first_offset, self.opened_at)
        right = Batch(self.stream, middle, self.opened_at)
        for half, first, end in ((left, self.first_offset, middle), (right, middle, None)):
            half.next_offset = self.next_offset if end is None else end
            half.received_at = self.received_at
            ours = range(first, half.next_offset)
            half._messages = [m for m in self._messages if m.offset in ours]
            half._accepted = [a for a in self._accepted if a[0].offset in ours]
            half.dead = [d for d in self.dead if d.message.offset in ours]
        return left, right

    def only_rejected(self, offsets: Collection[int]) -> "Batch":
        """A batch of nothing but these dead letters; its token is of the first and the last."""
        some = Batch(self.stream, min(offsets), self.opened_at)
        some.next_offset = max(offsets) + 1
        some.received_at = self.received_at
        some.dead = [d for d in self.dead if d.message.offset in offsets]
        some._messages = [d.message for d in some.dead]
        some.label = ":refused"
        return some

    def reject(self, offset: int, rejection: Rejection) -> str:
        """Make a dead letter of an accepted message; the event id that it had."""
        at = next(n for n, (message, _) in enumerate(self._accepted) if message.offset == offset)
        message, event = self._accepted.pop(at)
        self.unknown_actions -= not event.is_known
        self.dead.append(DeadLetter(message, rejection))
        self.dead.sort(key=lambda letter: letter.message.offset)
        return event.event_id

    def ledger_row(self) -> LedgerRow:
        """The row that says that the range is readable."""
        newest = max(_milliseconds(m, self.received_at) for m in self._messages)
        return LedgerRow(
            self.stream,
            self.first_offset,
            self.last_offset,
            "stored",
            accepted=self.accepted,
            dead=len(self.dead),
            end_offset=max(self.end_offset, self.next_offset),
            newest_appended_at=datetime.fromtimestamp(newest / 1000, UTC),
        )

    def encode(self) -> bytes:
        """The Arrow stream of the batch: accepted messages, then dead letters with their bytes."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, SCHEMA) as writer:
            writer.write_batch(pa.record_batch(self._columns(), schema=SCHEMA))
        encoded: bytes = sink.getvalue().to_pybytes()
        return encoded

    def _columns(self) -> list["pa.Array[Any]"]:
        events = [event for _, event in self._accepted]
        dead = self.dead
        messages = [message for message, _ in self._accepted] + [d.message for d in dead]
        n, n_dead = len(messages), len(dead)
        blank, zero = [""] * n_dead, [0] * n_dead
        unsent = [b""] * len(events)
        same = {
            "cluster_id": _repeat(self.stream.cluster_id, n),
            "topic": _repeat(self.stream.topic, n),
            "partition": pa.repeat(pa.scalar(self.stream.partition, pa.uint16()), n),
            "stream": _repeat(str(self.stream), n),
            "received_at": pa.repeat(pa.scalar(self.received_at, _MS), n),
        }
        values: dict[str, list[Any]] = {
            "offset": [m.offset for m in messages],
            "appended_at": [_milliseconds(m, self.received_at) for m in messages],
            "key": unsent + [d.message.key or b"" for d in dead],
            "value": unsent + [d.message.value or b"" for d in dead],
            "reason": [""] * len(events) + [d.rejection.reason.value for d in dead],
            "error": [""] * len(events) + [d.rejection.error for d in dead],
            "replay_of": [""] * len(events) + [_replay_of(d.message) for d in dead],
            "event_id": [e.event_id for e in events] + [_NIL_UUID] * n_dead,
            "user_id": [e.user_id for e in events] + zero,
            "action_type": [e.action_type for e in events] + blank,
            "initiator": [e.initiator for e in events] + blank,
            "occurred_at": [(e.occurred_at - _EPOCH) // _MILLISECOND for e in events] + zero,
            "client_ts": [e.client_ts for e in events] + [None] * n_dead,
            "session_id": [e.session_id for e in events] + blank,
            "source": [e.source for e in events] + blank,
            "schema_version": [e.schema_version for e in events] + zero,
            "context": [e.context for e in events] + [b""] * n_dead,
            "round_id": [e.round_id for e in events] + blank,
            "round_state": [e.round_state for e in events] + blank,
            "game_type": [e.game_type for e in events] + blank,
            "bet": [e.bet for e in events] + zero,
            "payout": [e.payout for e in events] + zero,
            "units": [e.units for e in events] + zero,
            "is_demo": [e.is_demo for e in events] + [False] * n_dead,
        }
        return [
            same[field.name] if field.name in same else _array(values[field.name], field.type)
            for field in SCHEMA
        ]


SCHEMA = pa.schema(
    [
        ("cluster_id", _LABEL),
        ("topic", _LABEL),
        ("partition", pa.uint16()),
        ("offset", pa.uint64()),
        ("stream", _LABEL),
        ("appended_at", _MS),
        ("received_at", _MS),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("reason", _LABEL),
        ("error", pa.string()),
        ("replay_of", pa.string()),
        ("event_id", pa.string()),
        ("user_id", pa.uint64()),
        ("action_type", _LABEL),
        ("initiator", _LABEL),
        ("occurred_at", _MS),
        ("client_ts", _MS),
        ("session_id", pa.string()),
        ("source", _LABEL),
        ("schema_version", pa.uint8()),
        ("context", pa.binary()),
        ("round_id", pa.string()),
        ("round_state", _LABEL),
        ("game_type", _LABEL),
        ("bet", pa.int64()),
        ("payout", pa.int64()),
        ("units", pa.uint32()),
        ("is_demo", pa.bool_()),
    ]
)


def _replay_of(message: Message) -> str:
    """The dead letter that was sent again with this message."""
    for name, value in message.headers or ():
        if name == REPLAY_HEADER and value is not None:
            return str(value.decode("utf-8", "replace"))[:MAX_LETTER_ID]
    return ""


def _repeat(text: str, count: int) -> "pa.Array[Any]":
    indices = pa.repeat(pa.scalar(0, pa.int32()), count)
    return pa.DictionaryArray.from_arrays(indices, pa.array([text], pa.string()))


def _array(values: list[Any], kind: pa.DataType) -> "pa.Array[Any]":
    if kind == _LABEL:
        return pa.array(values, pa.string()).dictionary_encode()
    if kind == _MS and values and isinstance(values[0], int):
        return pa.array(values, pa.int64()).cast(_MS)
    return pa.array(values, kind)


def _milliseconds(message: Message, received_at: datetime) -> int:
    """When Kafka got the message; a producer can send any number, or none (-1)."""
    if 0 <= message.timestamp <= _LATEST_MS:
        return message.timestamp
    return (received_at - _EPOCH) // _MILLISECOND


def warm_up() -> None:
    """Encode nothing once: pyarrow imports pandas at its first array, which takes a second."""
    Batch(Stream("", "", 0), 0, 0.0).encode()
