"""The event's id, time and message."""

import json
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from simulator.events import (
    UUID_RANDOM_BITS,
    Event,
    date_of,
    day_start,
    encode,
    milliseconds,
    rfc3339,
    uuid7,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, milliseconds(datetime(2200, 1, 1, tzinfo=UTC)))


@given(MOMENTS, st.integers(0, 2**UUID_RANDOM_BITS - 1))
def test_ids_are_uuids_of_version_7_that_hold_their_time(at: int, randomness: int) -> None:
    parsed = UUID(uuid7(at, randomness))
    assert (parsed.version, parsed.variant) == (7, "specified in RFC 4122")
    assert parsed.int >> 80 == at
    assert str(parsed) == uuid7(at, randomness)


@given(MOMENTS, st.integers(0, 2**UUID_RANDOM_BITS - 1), st.integers(0, 2**UUID_RANDOM_BITS - 1))
def test_no_random_bit_is_lost_in_an_id(at: int, one: int, other: int) -> None:
    assert (uuid7(at, one) == uuid7(at, other)) == (one == other)


@given(MOMENTS)
def test_times_are_rfc_3339_in_utc_with_milliseconds(at: int) -> None:
    text = rfc3339(at)
    assert datetime.fromisoformat(text) == EPOCH + timedelta(milliseconds=at)
    assert len(text) == len("2025-01-01T00:00:00.000Z")


def test_a_day_begins_at_midnight_in_utc() -> None:
    midnight = day_start(date(2024, 2, 29))
    assert rfc3339(midnight) == "2024-02-29T00:00:00.000Z"
    assert date_of(midnight) == date(2024, 2, 29)
    assert date_of(midnight - 1) == date(2024, 2, 28)


def test_a_message_is_the_envelope_and_leaves_out_an_unknown_device_time() -> None:
    event = Event("id", 42, "LOGIN", 1_735_689_600_001, "s", "auth", {"method": "google"})
    expected = {
        "event_id": "id",
        "user_id": 42,
        "action_type": "LOGIN",
        "occurred_at": "2025-01-01T00:00:00.001Z",
        "session_id": "s",
        "source": "auth",
        "context": {"method": "google"},
    }
    assert json.loads(encode(event)) == expected
    event.client_at = event.at - 1
    assert json.loads(encode(event)) == expected | {"client_ts": "2025-01-01T00:00:00.000Z"}
