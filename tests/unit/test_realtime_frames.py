"""What a player is told of an event, and what the game backend may say."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from serving_api.realtime.closing import MAX_REASON_BYTES, reason
from serving_api.realtime.frames import frame, frames_of, parse_update
from tally.events import Event, parse

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def told(action_type: str, **context: Any) -> list[dict[str, Any]]:
    message = {
        "event_id": "019a9c1e-5e00-7000-8000-000000000101",
        "user_id": 7,
        "action_type": action_type,
        "occurred_at": "2026-11-22T20:59:58.123456+09:00",
        "context": context,
    }
    event = parse(json.dumps(message).encode(), received_at=NOW)
    assert isinstance(event, Event), event
    return [json.loads(each) for each in frames_of(event, "token", NOW)]


def test_an_action_is_told_with_the_servers_time_and_a_token_to_read_after_it() -> None:
    (said,) = told("SLOT_SPIN", round_id="r", bet=1, payout=2, extra={"deep": [1]})
    assert said == {
        "type": "user_action",
        "user_id": 7,
        "timestamp": "2026-11-22T12:00:00.000Z",
        "data": {
            "event_id": "019a9c1e-5e00-7000-8000-000000000101",
            "action_type": "SLOT_SPIN",
            "context": {"round_id": "r", "bet": 1, "payout": 2, "extra": {"deep": [1]}},
            "server_ts": "2026-11-22T11:59:58.123Z",
            "consistency_token": "token",
        },
    }


@pytest.mark.parametrize(
    ("action_type", "context", "kinds"),
    [
        ("DAILY_LOGIN", {}, ["user_action"]),
        ("DAILY_LOGIN", {"streak_count": 3}, ["user_action", "streak_update"]),
        ("STREAK_CLAIM", {"streak_count": 3}, ["user_action", "streak_update"]),
        ("LEVEL_UP", {"level": 3}, ["user_action"]),
        ("A_NEW_ACTION", {"streak_count": 3}, ["user_action"]),
    ],
)
def test_some_actions_have_a_frame_of_their_own(
    action_type: str, context: dict[str, Any], kinds: list[str]
) -> None:
    assert [each["type"] for each in told(action_type, **context)] == kinds


def update(**message: Any) -> bytes:
    return json.dumps({"user_id": 7, **message}).encode()


def test_a_hint_that_numbers_changed_brings_no_numbers() -> None:
    hint, data = parse_update(update(type="stats_update", data={"stats": {"wins": 9}}))
    assert (hint.user_id, data) == (7, None)


def test_what_the_backend_does_not_say_is_left_out_and_what_nobody_knows_too() -> None:
    changes = {"exp": 0, "password": "x"}
    _, data = parse_update(update(type="profile_update", data={"changes": changes}))
    said = json.loads(frame("profile_update", 7, data, NOW))
    assert said["data"] == {"changes": {"exp": 0}}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"type": "profile_update"}',
        update(type="initial_state", data={}),
        update(type="user_action", data={}),
        update(type="profile_update", data={}),
        update(type="profile_update", data={"changes": {"level": "7"}}),
        update(type="reward_granted", data={"reward_type": "x", "amount": 1.5}),
        b'{"type": "stats_update", "user_id": "7"}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_update(raw)


def test_a_reason_fits_into_a_close_frame_whatever_it_says() -> None:
    assert len(reason("🎰" * 100).encode()) <= MAX_REASON_BYTES
    assert reason("short") == "short"
