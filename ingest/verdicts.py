"""Judges messages many at a time: the columns of those that are accepted, and the dead letters.

The usual message is decoded once and checked in columns; every other one goes through `parse`.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from ingest.messages import Message
from tally.events import ACTIONS, Event, Rejection, parse
from tally.events.model import SCHEMA_VERSION, UUID_PATTERN, outcome
from tally.events.parsing import MAX_CLOCK_SKEW, OLDEST, STORABLE_FROM, STORABLE_UNTIL
from tally.events.usual import ACTION_TYPES, UsualMessage, context_text, read_usual

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST_MS = 9_999_999_999_999  # the year 2286: inside of what DateTime64 holds
_MS = pa.timestamp("ms", tz="UTC")
UUIDS = pa.binary(16)
LABELS = pa.dictionary(pa.int32(), pa.string())

# What a message says of itself, as raw has it.
EVENT_FIELDS: list[tuple[str, pa.DataType]] = [
    ("event_id", UUIDS),
    ("user_id", pa.uint64()),
    ("action_type", LABELS),
    ("initiator", LABELS),
    ("occurred_at", _MS),
    ("client_ts", _MS),
    ("session_id", pa.string()),
    ("source", LABELS),
    ("schema_version", pa.uint8()),
    ("context", pa.binary()),
    ("round_id", pa.string()),
    ("round_state", LABELS),
    ("game_type", LABELS),
    ("bet", pa.int64()),
    ("payout", pa.int64()),
    ("units", pa.uint32()),
    ("is_demo", pa.bool_()),
]
EVENTS = pa.schema([("offset", pa.uint64()), ("appended_at", _MS), *EVENT_FIELDS])
NO_EVENTS = pa.RecordBatch.from_pylist([], schema=EVENTS)

# Of each action type, in the order of their numbers.
_TYPES = pa.array(ACTION_TYPES, pa.string())
_INITIATORS = pa.array([ACTIONS[name].initiator for name in ACTION_TYPES]).dictionary_encode()
_GAMES = pa.array([ACTIONS[name].game_type or "" for name in ACTION_TYPES]).dictionary_encode()
# Of each again for a round that pays more than its bet, less, as much, and nothing for nothing.
_STAKES = ((0, 1), (1, 0), (1, 1), (0, 0))
_OUTCOMES = pa.array(
    [
        outcome(action.game_type, bet, payout) if action.game_type else None
        for action in ACTIONS.values()
        for bet, payout in _STAKES
    ],
    pa.string(),
)
_EMPTY: dict[pa.DataType, Any] = {
    pa.string(): "",
    pa.binary(): b"",
    UUIDS: bytes(16),
    _MS: None,
    pa.bool_(): False,
}
_UUID = f"^{UUID_PATTERN}$"
# What Arrow reads as RFC 3339 does, without a digit that would have to be cut.
_UTC_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?Z$"


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
    usual = read_usual([message.value for message in messages])
    is_round = [u is not None and u.game_type is not None for u in usual]
    is_other = [u is not None and u.game_type is None for u in usual]
    events, refuted = _judge_usual(
        [*compress(messages, is_round), *compress(messages, is_other)],
        [u for u in (*compress(usual, is_round), *compress(usual, is_other)) if u is not None],
        sum(is_round),
        received_at,
    )
    unusual = [m for m, u in zip(messages, usual, strict=True) if u is None]
    dead: list[DeadLetter] = []
    parsed: list[tuple[Message, Event]] = []
    for message in sorted([*unusual, *refuted], key=lambda m: m.offset):
        verdict = parse(message.value, received_at=received_at)
        if isinstance(verdict, Rejection):
            dead.append(DeadLetter(message, verdict))
        else:
            parsed.append((message, verdict))
    if parsed:
        events = in_one_piece([events, _columns_of_events(parsed, received_at)])
    unknown = sum(not event.is_known for _, event in parsed)
    return Verdicts(events, dead, unknown)


def appended_at(timestamps: Iterable[int], received_at: datetime) -> "pa.Array[Any]":
    """When Kafka got the messages; a producer can send any number, or none (-1)."""
    sent: Any = pa.array(timestamps, pa.int64())
    is_sane = pc.and_(
        pc.greater_equal(sent, pa.scalar(0)), pc.less_equal(sent, pa.scalar(_LATEST_MS))
    )
    moments: pa.Array[Any] = pc.if_else(is_sane, sent.cast(_MS), pa.scalar(received_at, _MS))
    return moments


def in_one_piece(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches of one schema, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    table = pa.Table.from_batches(parts, schema=parts[0].schema)
    whole = table.unify_dictionaries().combine_chunks().to_batches()
    return whole[0] if whole else parts[0]


def _judge_usual(
    messages: list[Message], usual: list[UsualMessage], rounds: int, received_at: datetime
) -> tuple[pa.RecordBatch, list[Message]]:
    """The columns of those that hold, and the messages of which more has to be looked at.

    The first `rounds` of them are of game rounds.
    """
    event_ids = pa.array([u.event_id for u in usual], pa.string())
    occurred = pa.array([u.occurred_at for u in usual], pa.string())
    client = pa.array([u.client_ts for u in usual], pa.string())
    numbers = pa.array([u.number for u in usual], pa.int32())
    of_rounds = _columns_of_rounds([u.context for u in usual[:rounds]])
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
    holds = [_is_consistent(numbers[:rounds], of_rounds), _repeat(True, len(usual) - rounds)]
    is_fine = pc.and_(is_fine, pa.concat_arrays(holds)).fill_null(False)
    if not pc.all(is_fine).as_py() and messages:
        fine = is_fine.to_pylist()
        refuted = [m for m, is_one in zip(messages, fine, strict=True) if not is_one]
        some, some_usual = list(compress(messages, fine)), list(compress(usual, fine))
        events, _ = _judge_usual(some, some_usual, sum(fine[:rounds]), received_at)
        return events, refuted

    columns = {
        "offset": pa.array([m.offset for m in messages], pa.uint64()),
        "appended_at": appended_at([m.timestamp for m in messages], received_at),
        "event_id": _uuids(event_ids),
        "user_id": pa.array([u.user_id for u in usual], pa.uint64()),
        "action_type": pa.DictionaryArray.from_arrays(numbers, _TYPES),
        "initiator": _INITIATORS.take(numbers),
        "occurred_at": occurred_at,
        "client_ts": client_ts,
        "session_id": pa.array([u.session_id for u in usual], pa.string()),
        "source": pa.array([u.source for u in usual], pa.string()).dictionary_encode(),
        "schema_version": _repeat(SCHEMA_VERSION, len(usual)),
        "context": pa.array(
            [context_text(m.value or b"", u) for m, u in zip(messages, usual, strict=True)],
            pa.binary(),
        ),
        "game_type": _GAMES.take(numbers),
    }
    for name, default in _ROUND_DEFAULTS.items():
        kind = EVENTS.field(name).type
        stated: Any = of_rounds[name].fill_null(default)
        if kind == LABELS:
            padded = pa.concat_arrays([stated, _repeat("", len(usual) - rounds)])
            columns[name] = padded.dictionary_encode()
        else:
            columns[name] = pa.concat_arrays([stated, blank(kind, len(usual) - rounds)])
    return pa.record_batch([columns[f.name].cast(f.type) for f in EVENTS], schema=EVENTS), []


def _is_between(moments: "pa.Array[Any]", first: datetime, last: datetime) -> Any:
    """Both ends included; null where the moment is."""
    return pc.and_(
        pc.greater_equal(moments, pa.scalar(first, _MS)),
        pc.less_equal(moments, pa.scalar(last, _MS)),
    )


# What is stored of a round, with what the contract says where a message does not.
_ROUND_DEFAULTS: dict[str, Any] = {
    "round_id": "",
    "round_state": "settled",
    "bet": 0,
    "payout": 0,
    "units": 1,
    "is_demo": False,
}


def _columns_of_rounds(rounds: list[Any]) -> dict[str, "pa.Array[Any]"]:
    """What was sent of usual rounds; null for what was not."""
    return {
        "round_id": pa.array([r.round_id for r in rounds], pa.string()),
        "round_state": pa.array([r.state for r in rounds], pa.string()),
        "bet": pa.array([r.bet for r in rounds], pa.int64()),
        "payout": pa.array([r.payout for r in rounds], pa.int64()),
        "units": pa.array([r.units for r in rounds], pa.uint32()),
        "is_demo": pa.array([r.is_demo for r in rounds], pa.bool_()),
        "result": pa.array([r.result for r in rounds], pa.string()),
    }


def _is_consistent(numbers: "pa.Array[Any]", rounds: dict[str, "pa.Array[Any]"]) -> Any:
    """Whether settled rounds have their stakes, and no other result than these make."""
    bet: Any = rounds["bet"]
    payout: Any = rounds["payout"]
    state: Any = rounds["round_state"]
    result: Any = rounds["result"]
    stakes = pc.case_when(
        pc.make_struct(
            pc.greater(payout, bet), pc.less(payout, bet), pc.not_equal(bet, pa.scalar(0))
        ),
        *(pa.scalar(nth, pa.int32()) for nth in range(len(_STAKES))),
    )
    expected: Any = _OUTCOMES.take(pc.add(pc.multiply(numbers, len(_STAKES)), stakes))
    agrees = pc.or_(pc.is_null(result), pc.equal(result, expected).fill_null(False))
    is_open = pc.not_equal(state, pa.scalar("settled")).fill_null(False)
    return pc.or_(is_open, pc.and_(pc.and_(bet.is_valid(), payout.is_valid()), agrees))


def _uuids(texts: Any) -> "pa.Array[Any]":
    """The bytes of UUIDs that are all written as such."""
    digits = "".join(texts.to_pylist()).replace("-", "")
    return pa.Array.from_buffers(UUIDS, len(texts), [None, pa.py_buffer(bytes.fromhex(digits))])


def _repeat(value: Any, count: int) -> "pa.Array[Any]":
    scalar: Any = pa.scalar(value)
    repeated: pa.Array[Any] = pa.repeat(scalar, count)
    return repeated


def blank(kind: pa.DataType, count: int) -> "pa.Array[Any]":
    """What a column holds of a message that has nothing for it: empty, zero, or null for a time."""
    if kind == LABELS:
        return label("", count)
    value: Any = pa.scalar(_EMPTY.get(kind, 0), kind)
    blanks: pa.Array[Any] = pa.repeat(value, count)
    return blanks


def label(text: str, count: int) -> "pa.Array[Any]":
    """A column that says the same in each of `count` rows."""
    indices = pa.repeat(pa.scalar(0, pa.int32()), count)
    return pa.DictionaryArray.from_arrays(indices, pa.array([text], pa.string()))


def _columns_of_events(
    parsed: list[tuple[Message, Event]], received_at: datetime
) -> pa.RecordBatch:
    of_messages: dict[str, Any] = {
        "offset": [m.offset for m, _ in parsed],
        "appended_at": appended_at([m.timestamp for m, _ in parsed], received_at),
        "event_id": [uuid.UUID(event.event_id).bytes for _, event in parsed],
    }
    columns: list[pa.Array[Any]] = []
    for field in EVENTS:
        values: Any = of_messages.get(field.name)
        if values is None:
            values = [getattr(event, field.name) for _, event in parsed]
        columns.append(pa.array(values, field.type))
    return pa.record_batch(columns, schema=EVENTS)
