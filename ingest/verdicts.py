"""Judges messages many at a time: the columns of those that are accepted, and the dead letters.

The usual message is decoded once and checked in columns; every other one goes through `parse`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET, Struct

from tally.events import ACTIONS, Event, Rejection, parse
from tally.events.model import SCHEMA_VERSION, UUID_PATTERN
from tally.events.parsing import MAX_CLOCK_SKEW, OLDEST, STORABLE_FROM, STORABLE_UNTIL
from tally.events.usual import ACTION_TYPES, UsualMessage, context_text, read_usual

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST_MS = 9_999_999_999_999  # the year 2286: inside of what DateTime64 holds
_MS = pa.timestamp("ms", tz="UTC")

# What a message says of itself, as raw has it.
EVENT_FIELDS: list[tuple[str, pa.DataType]] = [
    ("event_id", pa.string()),
    ("user_id", pa.uint64()),
    ("action_type", pa.string()),
    ("initiator", pa.string()),
    ("occurred_at", _MS),
    ("client_ts", _MS),
    ("session_id", pa.string()),
    ("source", pa.string()),
    ("schema_version", pa.uint8()),
    ("context", pa.binary()),
    ("round_id", pa.string()),
    ("round_state", pa.string()),
    ("game_type", pa.string()),
    ("bet", pa.int64()),
    ("payout", pa.int64()),
    ("units", pa.uint32()),
    ("is_demo", pa.bool_()),
]
EVENTS = pa.schema([("offset", pa.uint64()), ("appended_at", _MS), *EVENT_FIELDS])
NO_EVENTS = pa.RecordBatch.from_pylist([], schema=EVENTS)

_TYPES = pa.array(ACTION_TYPES, pa.string())
_INITIATORS = pa.array([ACTIONS[name].initiator for name in ACTION_TYPES], pa.string())
_GAMES = pa.array([ACTIONS[name].game_type or "" for name in ACTION_TYPES], pa.string())
_EMPTY: dict[pa.DataType, Any] = {pa.string(): "", pa.binary(): b"", _MS: None, pa.bool_(): False}
_UUID = f"^{UUID_PATTERN}$"
# What Arrow reads as RFC 3339 does, without a digit that would have to be cut.
_UTC_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?Z$"


class Message(Protocol):
    """What is needed of a Kafka record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Any


class DeadLetter(Struct, frozen=True):
    """A rejected message with what it was rejected for."""

    message: Message
    rejection: Rejection


class Verdicts(Struct, frozen=True):
    """The accepted messages as columns of `EVENTS`, and the others in order of their offsets."""

    events: pa.RecordBatch
    dead: list[DeadLetter]
    unknown_actions: int


def judge(messages: Sequence[Message], received_at: datetime) -> Verdicts:
    """The verdict on each message, by the clock `received_at`; the same as that of `parse`."""
    rounds: list[tuple[Message, UsualMessage]] = []
    others: list[tuple[Message, UsualMessage]] = []
    unusual: list[Message] = []
    for message in messages:
        usual = None if message.value is None else read_usual(message.value)
        if usual is None:
            unusual.append(message)
        elif usual.game_type is None:
            others.append((message, usual))
        else:
            rounds.append((message, usual))
    events, refuted = _judge_usual(rounds, others, received_at)
    dead: list[DeadLetter] = []
    parsed: list[tuple[Message, Event]] = []
    for message in sorted([*unusual, *refuted], key=lambda m: m.offset):
        verdict = parse(message.value, received_at=received_at)
        if isinstance(verdict, Rejection):
            dead.append(DeadLetter(message, verdict))
        else:
            parsed.append((message, verdict))
    if parsed:
        table = pa.Table.from_batches([events, _columns_of_events(parsed, received_at)])
        events = table.combine_chunks().to_batches()[0]
    unknown = sum(not event.is_known for _, event in parsed)
    return Verdicts(events, dead, unknown)


def appended_ms(message: Message, received_at: datetime) -> int:
    """When Kafka got the message; a producer can send any number, or none (-1)."""
    if 0 <= message.timestamp <= _LATEST_MS:
        return message.timestamp
    return (received_at - _EPOCH) // _MILLISECOND


def _judge_usual(
    rounds: list[tuple[Message, UsualMessage]],
    others: list[tuple[Message, UsualMessage]],
    received_at: datetime,
) -> tuple[pa.RecordBatch, list[Message]]:
    """The columns of those whose id and times hold, and the messages of which they do not."""
    usual = rounds + others
    messages = [message for message, _ in usual]
    event_ids = pa.array([u.event_id for _, u in usual], pa.string())
    occurred = pa.array([u.occurred_at for _, u in usual], pa.string())
    client = pa.array(
        [None if u.client_ts is UNSET else u.client_ts for _, u in usual], pa.string()
    )
    is_fine: Any = pc.match_substring_regex(event_ids, _UUID)
    is_fine = pc.and_(is_fine, pc.match_substring_regex(occurred, _UTC_TIME))
    sent_well: Any = pc.match_substring_regex(client, _UTC_TIME)
    is_fine = pc.and_(is_fine, sent_well.fill_null(True))
    try:
        occurred_at = pc.if_else(is_fine, occurred, None).cast(_MS)
        client_ts = pc.if_else(is_fine, client, None).cast(_MS)
    except pa.ArrowInvalid:  # a thirtieth of February: which one it was, `parse` finds
        return NO_EVENTS, messages
    is_fine = pc.and_(is_fine, _is_between(occurred_at, OLDEST, received_at + MAX_CLOCK_SKEW))
    is_storable = _is_between(client_ts, STORABLE_FROM, STORABLE_UNTIL - _MILLISECOND)
    is_fine = pc.and_(is_fine, is_storable.fill_null(True))
    is_fine = is_fine.fill_null(False)

    numbers = pa.array([u.number for _, u in usual], pa.int8())
    n = len(usual)
    columns = {
        "offset": pa.array([m.offset for m in messages], pa.uint64()),
        "appended_at": pa.array([appended_ms(m, received_at) for m in messages], pa.int64()),
        "event_id": event_ids,
        "user_id": pa.array([u.user_id for _, u in usual], pa.uint64()),
        "action_type": _TYPES.take(numbers),
        "initiator": _INITIATORS.take(numbers),
        "occurred_at": occurred_at,
        "client_ts": client_ts,
        "session_id": pa.array([u.session_id for _, u in usual], pa.string()),
        "source": pa.array([u.source for _, u in usual], pa.string()),
        "schema_version": pa.repeat(pa.scalar(SCHEMA_VERSION, pa.uint8()), n),
        "context": pa.array([context_text(m.value or b"", u) for m, u in usual], pa.binary()),
        "game_type": _GAMES.take(numbers),
    }
    columns |= _columns_of_rounds([u.context for _, u in rounds], len(others))
    batch = pa.record_batch(
        [columns[field.name].cast(field.type) for field in EVENTS], schema=EVENTS
    )
    if pc.all(is_fine).as_py() is False:
        refuted = [m for m, fine in zip(messages, is_fine.to_pylist(), strict=True) if not fine]
        return batch.filter(is_fine), refuted
    return batch, []


def _is_between(moments: "pa.Array[Any]", first: datetime, last: datetime) -> Any:
    """Both ends included; null where the moment is."""
    return pc.and_(
        pc.greater_equal(moments, pa.scalar(first, _MS)),
        pc.less_equal(moments, pa.scalar(last, _MS)),
    )


def _columns_of_rounds(rounds: list[Any], blanks: int) -> dict[str, "pa.Array[Any]"]:
    """The columns of usual rounds, with the contract's defaults, and of others behind them."""
    values = {
        "round_id": [r.round_id for r in rounds],
        "round_state": ["settled" if r.state is UNSET else r.state for r in rounds],
        "bet": [0 if r.bet is UNSET else r.bet for r in rounds],
        "payout": [0 if r.payout is UNSET else r.payout for r in rounds],
        "units": [1 if r.units is UNSET else r.units for r in rounds],
        "is_demo": [r.is_demo is True for r in rounds],
    }
    return {
        name: _padded(column, EVENTS.field(name).type, blanks) for name, column in values.items()
    }


def _padded(values: list[Any], kind: pa.DataType, blanks: int) -> "pa.Array[Any]":
    return pa.concat_arrays([pa.array(values, kind), blank(kind, blanks)])


def blank(kind: pa.DataType, count: int) -> "pa.Array[Any]":
    """What a column holds of a message that has nothing for it: empty, zero, or null for a time."""
    empty = _EMPTY.get(kind, 0)
    value: Any = pa.scalar(empty).cast(kind)
    blanks: pa.Array[Any] = pa.repeat(value, count)
    return blanks


def _columns_of_events(
    parsed: list[tuple[Message, Event]], received_at: datetime
) -> pa.RecordBatch:
    columns = []
    for field in EVENTS:
        values: list[Any]
        if field.name == "offset":
            values = [m.offset for m, _ in parsed]
        elif field.name == "appended_at":
            values = [appended_ms(m, received_at) for m, _ in parsed]
        else:
            values = [getattr(event, field.name) for _, event in parsed]
        columns.append(pa.array(values, field.type))
    return pa.record_batch(columns, schema=EVENTS)
