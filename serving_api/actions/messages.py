"""From what a caller posts to the message that is sent: the contract, and whose event it is."""

import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from tally.events import Event, Rejection, initiator_of, parse
from tally.events.document import MalformedDocumentError, check_structure

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Message:
    """A message that ingestion will accept."""

    event_id: str
    user_id: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is sent; `reason` is one of the event contract, or `forbidden`."""

    reason: str
    error: str
    event_id: str | None = None


def prepare(
    raw: bytes, *, own: int | None, event_id: str | None, received_at: datetime
) -> Message | Refusal:
    """The message for one posted event, `raw` being its JSON.

    `own` is the player who posts: the event is theirs, whatever it says, and must be of an action
    that users make themselves. None may write for anyone. `event_id` is used where the event has
    none; without either it gets a new one.
    """
    try:
        document = _decode(raw)
        if not isinstance(document, dict):
            return Refusal("not_object", "expected a JSON object")
        # Encoded again it would not show what a decoder accepts in silence: a key given twice.
        check_structure(raw, document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Refusal("not_json", str(error))
    except (MalformedDocumentError, RecursionError) as error:
        return Refusal("schema", str(error))
    given: dict[str, Any] = {"event_id": event_id or new_event_id(), **document}
    if own is not None:
        given["user_id"] = own
    value = _encode(given)
    verdict = parse(value, received_at=received_at)
    if isinstance(verdict, Rejection):
        said = given["event_id"]
        return Refusal(verdict.reason, verdict.error, said if isinstance(said, str) else None)
    return _allowed(verdict, value, own)


def _allowed(event: Event, value: bytes, own: int | None) -> Message | Refusal:
    if own is not None and initiator_of(event.action_type) != "user":
        error = f"{event.action_type} is the system's to write, not a player's"
        return Refusal("forbidden", error, event.event_id)
    return Message(event.event_id, event.user_id, value)


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562): ids of one time lie together in the warehouse."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << 80) | (7 << 76) | (2 << 62)
    number |= (secrets.randbits(12) << 64) | secrets.randbits(62)
    return str(uuid.UUID(int=number))
