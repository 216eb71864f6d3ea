"""From the bytes of a message to an accepted event or the reason for its rejection.

Never an exception and never a repair: `parse` is what stands between any producer and the numbers.
It costs about 4 us for a 250-byte round, most of it in msgspec's C code.
"""

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from tally.events.document import MalformedDocumentError, check_structure
from tally.events.model import (
    ACTION_TYPE_PATTERN,
    ACTIONS,
    UNKNOWN_ACTION,
    UUID_PATTERN,
    Action,
    Envelope,
    Initiator,
    Round,
    outcome,
)

MAX_MESSAGE_BYTES = 256 * 1024
MAX_CONTEXT_BYTES = 16 * 1024
MAX_CLOCK_SKEW = timedelta(minutes=5)
OLDEST = datetime(2015, 1, 1, tzinfo=UTC)

# What the warehouse's DateTime64 can hold. `client_ts` is diagnostic, so it has no other limit.
STORABLE_FROM = datetime(1900, 1, 1, tzinfo=UTC)
STORABLE_UNTIL = datetime(2299, 12, 31, tzinfo=UTC)

_ENVELOPE_FIELDS = frozenset(Envelope.__struct_fields__)
_EXTRA = "_extra"

_is_uuid = re.compile(UUID_PATTERN).fullmatch
_is_action_type = re.compile(ACTION_TYPE_PATTERN).fullmatch
_is_rfc3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
).fullmatch
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Reason(StrEnum):
    """Why a message is a dead letter."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    TOO_LARGE = "too_large"
    SCHEMA = "schema"
    FUTURE_TIMESTAMP = "future_timestamp"
    TOO_OLD = "too_old"
    CONTRADICTION = "contradiction"
    TOMBSTONE = "tombstone"
    CONFLICT = "conflict"
    ERASED_USER = "erased_user"
    REFUSED = "refused"


class Rejection(Struct, frozen=True):
    """The verdict on a message that does not count; `error` is for the producer's engineer."""

    reason: Reason
    error: str


class Event(Struct, gc=False):
    """An accepted event. Times are UTC at millisecond precision; `context` is JSON text.

    The round's fields are empty and zero for an event that is not one of a game round.
    """

    event_id: str
    user_id: int
    action_type: str
    initiator: Initiator
    occurred_at: datetime
    client_ts: datetime | None
    session_id: str
    source: str
    schema_version: int
    context: bytes
    round_id: str = ""
    round_state: str = ""
    game_type: str = ""
    bet: int = 0
    payout: int = 0
    units: int = 0
    is_demo: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the contract knows the action type."""
        return self.action_type in ACTIONS


class _RejectedError(Exception):
    def __init__(self, reason: Reason, error: str) -> None:
        self.rejection = Rejection(reason, error)


def parse(raw: bytes | None, *, received_at: datetime) -> Event | Rejection:
    """Validate one message.

    `received_at` is aware; an event more than five minutes ahead of it is rejected.
    """
    if raw is None:
        return Rejection(Reason.TOMBSTONE, "the message has no value (a tombstone)")
    if len(raw) > MAX_MESSAGE_BYTES:
        return Rejection(
            Reason.TOO_LARGE, f"{len(raw):,} bytes, at most {MAX_MESSAGE_BYTES:,} are taken"
        )
    try:
        return _parse(raw, received_at)
    except _RejectedError as error:
        return error.rejection


def _parse(raw: bytes, received_at: datetime) -> Event:
    document = _document(raw)
    try:
        envelope = msgspec.convert(document, Envelope)
    except msgspec.ValidationError as error:
        raise _schema(error) from None
    context = envelope.context
    _check_keys(raw, document, envelope)

    if not _is_uuid(envelope.event_id):
        raise _RejectedError(Reason.SCHEMA, "event_id: expected a UUID with its dashes")
    action = ACTIONS.get(envelope.action_type)
    if action is None:
        if not _is_action_type(envelope.action_type):
            raise _RejectedError(
                Reason.SCHEMA, f"action_type: expected to match ^{ACTION_TYPE_PATTERN}$"
            )
        action = UNKNOWN_ACTION
    occurred_at = _occurred_at(envelope.occurred_at, received_at)
    client_ts = None if envelope.client_ts is UNSET else _client_ts(envelope.client_ts)

    encoded = _encode(context)
    if len(encoded) > MAX_CONTEXT_BYTES:
        raise _RejectedError(
            Reason.SCHEMA,
            f"context: {len(encoded):,} bytes, at most {MAX_CONTEXT_BYTES:,} are taken",
        )
    if not document.keys() <= _ENVELOPE_FIELDS:
        encoded = _encode(_with_extra(document, context))

    event = Event(
        envelope.event_id.lower(),
        envelope.user_id,
        envelope.action_type,
        action.initiator,
        occurred_at,
        client_ts,
        envelope.session_id,
        envelope.source,
        envelope.schema_version,
        encoded,
    )
    try:
        details = msgspec.convert(context, action.context)
    except msgspec.ValidationError as error:
        raise _schema(error, within="context.") from None
    if action.game_type is not None:
        assert isinstance(details, Round)
        _add_round(event, action, details)
    return event


def _document(raw: bytes) -> dict[str, Any]:
    """The message as a JSON object."""
    try:
        document = _decode(raw)
    except msgspec.ValidationError as error:  # a number that no reader can hold
        raise _RejectedError(Reason.SCHEMA, str(error)) from None
    except RecursionError:
        raise _RejectedError(Reason.SCHEMA, "nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as not_utf8:
            raise _RejectedError(Reason.NOT_UTF8, str(not_utf8)) from None
        raise _RejectedError(Reason.NOT_JSON, str(error)) from None
    if not isinstance(document, dict):
        raise _RejectedError(
            Reason.NOT_OBJECT, f"expected a JSON object, got {type(document).__name__}"
        )
    return document


def _check_keys(raw: bytes, document: dict[str, Any], envelope: Envelope) -> None:
    """Reject duplicate keys, NUL characters and deep nesting.

    A decoder drops the earlier of two equal keys without a word, but not its colon. Without
    escapes, the colons of the text are one a key (kept or dropped) plus those inside strings. So
    where their count equals the keys of the two objects plus the colons of the timestamps, nothing
    was dropped and nothing else is there to look at. That is the usual message; the others are
    walked.
    """
    explained = len(document) + len(envelope.context) + envelope.occurred_at.count(":")
    if envelope.client_ts is not UNSET:
        explained += envelope.client_ts.count(":")
    if raw.count(b":") == explained and b"\\" not in raw and b"[" not in raw:
        return
    try:
        check_structure(raw, document)
    except MalformedDocumentError as error:
        raise _RejectedError(Reason.SCHEMA, str(error)) from None
    except RecursionError:
        raise _RejectedError(Reason.SCHEMA, "nested too deeply") from None


def _timestamp(field: str, text: str) -> datetime:
    """A timestamp in the zone it was sent with."""
    if _is_rfc3339(text):
        try:
            return datetime.fromisoformat(text.upper())
        except ValueError as error:
            raise _RejectedError(Reason.SCHEMA, f"{field}: {error}") from None
    raise _RejectedError(
        Reason.SCHEMA, f"{field}: expected an RFC 3339 timestamp with a zone, got {text[:64]!r}"
    )


def _utc_milliseconds(moment: datetime) -> datetime:
    """Cut, never rounded: 23:59:59.9999 must not become an event of the next day."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    below = moment.microsecond % 1000
    return moment.replace(microsecond=moment.microsecond - below) if below else moment


def _occurred_at(text: str, received_at: datetime) -> datetime:
    moment = _timestamp("occurred_at", text)
    if moment < OLDEST:
        raise _RejectedError(Reason.TOO_OLD, f"occurred_at: {text} is before {OLDEST:%Y-%m-%d}")
    if moment > received_at and moment - received_at > MAX_CLOCK_SKEW:
        raise _RejectedError(
            Reason.FUTURE_TIMESTAMP,
            f"occurred_at: {text} is more than {MAX_CLOCK_SKEW} ahead of its arrival at "
            f"{received_at:%Y-%m-%dT%H:%M:%SZ}",
        )
    return _utc_milliseconds(moment)


def _client_ts(text: str) -> datetime:
    moment = _timestamp("client_ts", text)
    if not STORABLE_FROM <= moment < STORABLE_UNTIL:
        raise _RejectedError(Reason.SCHEMA, f"client_ts: {text} is not between 1900 and 2299")
    return _utc_milliseconds(moment)


def _with_extra(document: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """The context with the unknown fields of the envelope in `_extra`."""
    if _EXTRA in context:
        raise _RejectedError(
            Reason.SCHEMA,
            "context._extra: reserved for unknown envelope fields, of which this message has some",
        )
    return context | {_EXTRA: {k: v for k, v in document.items() if k not in _ENVELOPE_FIELDS}}


def _add_round(event: Event, action: Action, details: Round) -> None:
    assert action.game_type is not None
    bet = 0 if details.bet is UNSET else details.bet
    payout = 0 if details.payout is UNSET else details.payout
    if details.state == "settled":
        if details.bet is UNSET or details.payout is UNSET:
            missing = "bet" if details.bet is UNSET else "payout"
            raise _RejectedError(
                Reason.SCHEMA, f"context.{missing}: required field of a settled round is missing"
            )
        if details.result is not UNSET:
            expected = outcome(action.game_type, bet, payout)
            if details.result != expected:
                raise _RejectedError(
                    Reason.CONTRADICTION,
                    f"context.result: declared {details.result}, but bet {bet} and payout {payout} "
                    f"of a {action.game_type} round make {expected}",
                )
    event.round_id = details.round_id
    event.round_state = details.state
    event.game_type = action.game_type
    event.bet = bet
    event.payout = payout
    event.units = details.units
    event.is_demo = details.is_demo


_AT = re.compile(r"^(?P<problem>.*) - at `(?:key in )?\$\.?(?P<path>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<field>.*?)`")


def _schema(error: msgspec.ValidationError, within: str = "") -> _RejectedError:
    """The field first, then what is wrong with it."""
    text = str(error)
    if missing := _MISSING.match(text):
        text = f"{within}{missing['field']}: required field is missing"
    elif found := _AT.match(text):
        text = f"{within}{found['path']}: {found['problem'].replace('`', '')}"
    elif within:
        text = f"{within.removesuffix('.')}: {text.replace('`', '')}"
    return _RejectedError(Reason.SCHEMA, text)
