"""Messages of every kind of the event contract, by name, for the parser and for the pipeline."""

import json
from typing import Any

from tally.events import Reason

EVENT_ID = "018f3a5e-7c1b-7d2e-9a43-0123456789ab"

# Each action type with a context as it is documented.
VALID_CONTEXTS = {
    "SIGN_UP": {"invite_code_hash": "h"},
    "LOGIN": {"method": "password"},
    "LOGOUT": {},
    "DAILY_LOGIN": {"streak_count": 3},
    "LOGIN_FAILED": {"reason": "password"},
    "LOGIN_LOCKED": {},
    "TOKEN_REFRESHED": {},
    "SLOT_SPIN": {"round_id": "r", "state": "started", "bet": 1},
    "GACHA_SPIN": {"round_id": "r", "bet": 10, "payout": 0, "units": 10},
    "RPS_PLAY": {"round_id": "r", "bet": 1, "payout": 1, "result": "draw", "is_demo": True},
    "CRASH_ROUND": {"round_id": "r", "bet": 1, "payout": 0, "config_version": "v2"},
    "SHOP_BUY": {"purchase_id": "p", "state": "success", "item_id": "i", "amount": 500},
    "REWARD_GRANTED": {"reward_type": "daily", "amount": -5, "balance_after": 0},
    "STREAK_CLAIM": {"streak_count": 7},
    "ACHIEVEMENT_PROGRESS": {"achievement_code": "a", "progress": 0.5, "unlocked": False},
    "BATTLE_PASS_PROGRESS": {"season": "s1", "tier": 2, "xp": 10},
    "LEVEL_UP": {"level": 2},
    "EVENT_JOIN": {"event_code": "e"},
    "EVENT_CLAIM": {"event_code": "e"},
    "AGE_VERIFIED": {"result": "passed"},
    "FRAUD_BLOCKED": {"rule": "velocity"},
    "ADMIN_ACTION": {"action": "grant", "actor": "admin-1"},
    "WS_CONNECTED": {"path": "/ws"},
    "WS_DISCONNECTED": {"path": "/ws", "close_code": 1000},
    "DEPRECATED_ENDPOINT_CALLED": {"path": "/a", "method": "GET", "successor": "/b"},
    "API_REQUEST": {"route": "/a", "caller": "web", "status": 200, "duration_ms": 1.5},
}


def encoded(**changes: Any) -> bytes:
    """A settled slot round with changes; `...` as a value takes the field out."""
    fields: dict[str, Any] = {
        "event_id": EVENT_ID,
        "user_id": 7,
        "action_type": "SLOT_SPIN",
        "occurred_at": "2026-03-01T11:59:58.123Z",
        "context": {"round_id": "r1", "bet": 100, "payout": 250},
    }
    fields |= changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def stakes(**changes: Any) -> bytes:
    """The same with changes in its context."""
    return encoded(context={"round_id": "r1", "bet": 100, "payout": 250} | changes)


GOOD = encoded()

BAD_MESSAGES: dict[str, tuple[Reason, bytes | None]] = {
    "a tombstone": (Reason.TOMBSTONE, None),
    "bytes that are no text": (Reason.NOT_UTF8, b"\xff\x00\xfe"),
    "a byte that is no text": (Reason.NOT_UTF8, GOOD.replace(b"SLOT", b"SL\xffT")),
    "nothing": (Reason.NOT_JSON, b""),
    "a cut message": (Reason.NOT_JSON, GOOD[:-1]),
    "trailing garbage": (Reason.NOT_JSON, GOOD + b"}"),
    "a byte order mark": (Reason.NOT_JSON, b"\xef\xbb\xbf" + GOOD),
    "NaN": (Reason.NOT_JSON, GOOD.replace(b"250", b"NaN")),
    "a lone surrogate": (Reason.NOT_JSON, GOOD.replace(b'"bet"', b'"\\ud800": 1, "bet"')),
    "an array": (Reason.NOT_OBJECT, b"[1]"),
    "a text": (Reason.NOT_OBJECT, b'"text"'),
    "null": (Reason.NOT_OBJECT, b"null"),
    "more than 256 KiB": (Reason.TOO_LARGE, encoded(note="x" * 300_000)),
    "no event id": (Reason.SCHEMA, encoded(event_id=...)),
    "no user": (Reason.SCHEMA, encoded(user_id=...)),
    "no action type": (Reason.SCHEMA, encoded(action_type=...)),
    "no time": (Reason.SCHEMA, encoded(occurred_at=...)),
    "a text for a number": (Reason.SCHEMA, encoded(user_id="7")),
    "a fraction for an integer": (Reason.SCHEMA, encoded(user_id=1.5)),
    "a whole float for an integer": (Reason.SCHEMA, stakes(bet=100.0)),
    "a user below 1": (Reason.SCHEMA, encoded(user_id=0)),
    "a user above 2^53 - 1": (Reason.SCHEMA, encoded(user_id=2**53)),
    "null for a number": (Reason.SCHEMA, encoded(user_id=None)),
    "a number for an id": (Reason.SCHEMA, encoded(event_id=1)),
    "a number for a text": (Reason.SCHEMA, encoded(session_id=5)),
    "null for a text": (Reason.SCHEMA, encoded(source=None)),
    "a number for a text in the context": (Reason.SCHEMA, stakes(round_id=5)),
    "a session of 65 characters": (Reason.SCHEMA, encoded(session_id="x" * 65)),
    "a source of 65 characters": (Reason.SCHEMA, encoded(source="x" * 65)),
    "an id without dashes": (Reason.SCHEMA, encoded(event_id=EVENT_ID.replace("-", ""))),
    "an action type in small letters": (Reason.SCHEMA, encoded(action_type="slot_spin")),
    "a time without a zone": (Reason.SCHEMA, encoded(occurred_at="2026-03-01T11:59:58")),
    "a number for a time": (Reason.SCHEMA, encoded(occurred_at=1_772_366_398)),
    "a client's time that is none": (Reason.SCHEMA, encoded(client_ts="yesterday")),
    "an unknown schema version": (Reason.SCHEMA, encoded(schema_version=9)),
    "null for the context": (Reason.SCHEMA, encoded(context=None)),
    "a text for the context": (Reason.SCHEMA, encoded(context="{}")),
    "a context over 16 KiB": (Reason.SCHEMA, stakes(note="x" * 17_000)),
    "a key twice in the envelope": (
        Reason.SCHEMA,
        GOOD.replace(b'"user_id"', b'"user_id": 7, "user_id"'),
    ),
    "a key twice in the context": (Reason.SCHEMA, GOOD.replace(b'"bet"', b'"bet": 1, "bet"')),
    "a NUL in a text": (Reason.SCHEMA, GOOD.replace(b'"r1"', b'"r\\u0000"')),
    "a NUL in a key": (Reason.SCHEMA, GOOD.replace(b'"bet"', b'"\\u0000": 1, "bet"')),
    "a settled round without payout": (
        Reason.SCHEMA,
        encoded(context={"round_id": "r1", "bet": 1}),
    ),
    "the year 9999": (Reason.FUTURE_TIMESTAMP, encoded(occurred_at="9999-01-01T00:00:00Z")),
    "the year 1850": (Reason.TOO_OLD, encoded(occurred_at="1850-01-01T00:00:00Z")),
    "the day before 2015": (Reason.TOO_OLD, encoded(occurred_at="2014-12-31T23:59:59Z")),
    "a result against the stakes": (Reason.CONTRADICTION, stakes(payout=0, result="win")),
}

# Reasons that no message has by itself: another one with its id (test_ingest_conflicts.py), the
# warehouse (test_ingest_crashes.py), a user who was erased (test_ingest_erasure.py).
JUDGED_BEYOND_THE_MESSAGE = frozenset({Reason.CONFLICT, Reason.REFUSED, Reason.ERASED_USER})
