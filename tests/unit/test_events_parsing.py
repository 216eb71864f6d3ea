"""What a producer may send, and what becomes of everything else."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import verdicts as columnar
from tally.events import ACTIONS, Event, Reason, Rejection, initiator_of, outcome, parse
from tally.events.parsing import MAX_CONTEXT_BYTES, MAX_MESSAGE_BYTES
from tests.messages import BAD_MESSAGES, JUDGED_BEYOND_THE_MESSAGE, VALID_CONTEXTS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENT_ID = "018f3a5e-7c1b-7d2e-9a43-0123456789ab"


def message(**changes):
    """A settled slot round, with changes; `...` as a value takes the field out."""
    fields = {
        "event_id": EVENT_ID,
        "user_id": 7,
        "action_type": "SLOT_SPIN",
        "occurred_at": "2026-03-01T11:59:58.123Z",
        "context": {"round_id": "r1", "bet": 100, "payout": 250},
    }
    fields |= changes
    return {name: value for name, value in fields.items() if value is not ...}


GOOD = json.dumps(message(), separators=(",", ":")).encode()


def context(**changes):
    return message(context=message()["context"] | changes)


def judge(document) -> Event | Rejection:
    """The verdict of `parse`, with which that of ingestion must agree, also on compact JSON."""
    if isinstance(document, bytes):
        raw = document
    else:
        raw = json.dumps(document).encode()
        compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        agree(compact.encode("utf-8", "surrogatepass"))
    return agree(raw)


def agree(raw: bytes) -> Event | Rejection:
    verdict = parse(raw, received_at=NOW)
    # Among others: messages are looked at together as long as all are usual.
    records = [
        SimpleNamespace(offset=offset, timestamp=5, key=b"", value=value, headers=())
        for offset, value in enumerate([GOOD, GOOD, GOOD, raw, GOOD])
    ]
    columns = columnar.judge(records, NOW)
    rows = [row for row in columns.events.to_pylist() if row["offset"] == 3]
    assert columns.events.num_rows == 4 + len(rows)
    if isinstance(verdict, Rejection):
        assert not rows
        assert [letter.rejection for letter in columns.dead] == [verdict]
    else:
        (row,) = rows
        assert (row.pop("offset"), row.pop("appended_at").timestamp()) == (3, 0.005)
        row["event_id"] = str(uuid.UUID(bytes=row["event_id"]))
        assert row == msgspec.structs.asdict(verdict)
        assert columns.dead == []
        assert columns.unknown_actions == (not verdict.is_known)
    return verdict


def accepted(document) -> Event:
    verdict = judge(document)
    assert isinstance(verdict, Event), verdict
    return verdict


def rejected(document, reason: Reason) -> str:
    verdict = judge(document)
    assert isinstance(verdict, Rejection), verdict
    assert verdict.reason is reason, verdict
    return verdict.error


def raw_with(old: bytes, new: bytes) -> bytes:
    raw = json.dumps(message()).encode()
    assert old in raw
    return raw.replace(old, new, 1)


def test_a_settled_round_carries_its_stakes_and_defaults():
    event = accepted(message())
    assert event == Event(
        event_id=EVENT_ID,
        user_id=7,
        action_type="SLOT_SPIN",
        initiator="user",
        occurred_at=datetime(2026, 3, 1, 11, 59, 58, 123_000, tzinfo=UTC),
        client_ts=None,
        session_id="",
        source="unknown",
        schema_version=1,
        context=b'{"round_id":"r1","bet":100,"payout":250}',
        round_id="r1",
        round_state="settled",
        game_type="slot",
        bet=100,
        payout=250,
        units=1,
        is_demo=False,
    )


def test_no_value_is_a_tombstone():
    assert parse(None, received_at=NOW) == Rejection(
        Reason.TOMBSTONE, "the message has no value (a tombstone)"
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"\xff\xfe", Reason.NOT_UTF8),
        (raw_with(b'"r1"', b'"\xff"'), Reason.NOT_UTF8),
        (raw_with(b'"r1"', b'"\xed\xa0\x80"'), Reason.NOT_UTF8),
        (b"{", Reason.NOT_JSON),
        (json.dumps(message()).encode() + b"x", Reason.NOT_JSON),
        (b"\xef\xbb\xbf" + json.dumps(message()).encode(), Reason.NOT_JSON),
        (raw_with(b"100", b"NaN"), Reason.NOT_JSON),
        (raw_with(b"100", b"Infinity"), Reason.NOT_JSON),
        (raw_with(b"100", b"0100"), Reason.NOT_JSON),
        (raw_with(b'"r1"', b'"\\ud800"'), Reason.NOT_JSON),
        (raw_with(b'"r1"', b'"a\x00b"'), Reason.NOT_JSON),
        (b"[]", Reason.NOT_OBJECT),
        (b'"text"', Reason.NOT_OBJECT),
        (b"null", Reason.NOT_OBJECT),
        (b"[" * 100_000, Reason.SCHEMA),
        (raw_with(b"100", b"1e400"), Reason.SCHEMA),
    ],
)
def test_bytes_that_are_no_json_object(raw, reason):
    rejected(raw, reason)


def test_the_message_may_have_256_kib_and_no_byte_more():
    spare = MAX_MESSAGE_BYTES - len(json.dumps(message(note="")))
    accepted(message(note="x" * spare))
    assert "262,145 bytes" in rejected(message(note="x" * (spare + 1)), Reason.TOO_LARGE)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (message(event_id=...), "event_id"),
        (message(user_id=...), "user_id"),
        (message(action_type=...), "action_type"),
        (message(occurred_at=...), "occurred_at"),
        (message(user_id="7"), "user_id"),
        (message(user_id=7.0), "user_id"),
        (message(user_id=7.5), "user_id"),
        (message(user_id=True), "user_id"),
        (message(user_id=None), "user_id"),
        (message(user_id=0), "user_id"),
        (message(user_id=-1), "user_id"),
        (message(user_id=2**53), "user_id"),
        (message(user_id=2**64), "user_id"),
        (message(event_id="018f3a5e7c1b7d2e9a430123456789ab"), "event_id"),
        (message(event_id=f"{{{EVENT_ID}}}"), "event_id"),
        (message(event_id=EVENT_ID + "\n"), "event_id"),
        (message(event_id=1), "event_id"),
        (message(action_type="slot_spin"), "action_type"),
        (message(action_type="A"), "action_type"),
        (message(action_type="A" * 65), "action_type"),
        (message(action_type="SLOT_SPINS\n"), "action_type"),
        (message(occurred_at=1_772_366_398), "occurred_at"),
        (message(occurred_at="2026-03-01T11:59:58"), "occurred_at"),
        (message(occurred_at="2026-03-01"), "occurred_at"),
        (message(occurred_at="20260301T115958Z"), "occurred_at"),
        (message(occurred_at="2026-02-29T11:59:58Z"), "occurred_at"),
        (message(occurred_at="2026-03-01T24:00:00Z"), "occurred_at"),
        (message(occurred_at="2026-03-01T11:59:58+0900"), "occurred_at"),
        (message(occurred_at="2026-03-01T11:59:58+09:75"), "occurred_at"),
        (message(occurred_at="٢٠٢٦-03-01T11:59:58Z"), "occurred_at"),
        (message(client_ts="yesterday"), "client_ts"),
        (message(client_ts=None), "client_ts"),
        (message(client_ts="1850-01-01T00:00:00Z"), "client_ts"),
        (message(client_ts="9999-12-31T23:59:59-12:00"), "client_ts"),
        (message(session_id="x" * 65), "session_id"),
        (message(session_id=None), "session_id"),
        (message(source="x" * 65), "source"),
        (message(schema_version=2), "schema_version"),
        (message(schema_version="1"), "schema_version"),
        (message(schema_version=0), "schema_version"),
        (message(context="{}"), "context"),
        (message(context=None), "context"),
        (message(context=[]), "context"),
        (message(context=...), "context.round_id"),
        (context(round_id=""), "context.round_id"),
        (context(round_id=5), "context.round_id"),
        (context(state="won"), "context.state"),
        (context(bet="100"), "context.bet"),
        (context(bet=1.5), "context.bet"),
        (context(bet=100.0), "context.bet"),
        (context(bet=-1), "context.bet"),
        (context(payout=None), "context.payout"),
        (context(units=0), "context.units"),
        (context(is_demo=1), "context.is_demo"),
        (context(result="won"), "context.result"),
        (message(context={"round_id": "r1", "payout": 1}), "context.bet"),
        (message(context={"round_id": "r1", "bet": 1}), "context.payout"),
        (message(action_type="LEVEL_UP", context={"level": "3"}), "context.level"),
        (message(action_type="REWARD_GRANTED", context={"amount": 3}), "context.reward_type"),
        (
            message(action_type="AGE_VERIFIED", context={"result": "ok", "birth_date": "x"}),
            "context",
        ),
        (
            message(
                action_type="SHOP_BUY",
                context={"purchase_id": "p", "state": "maybe", "item_id": "i", "amount": 1},
            ),
            "context.state",
        ),
    ],
)
def test_a_broken_field_is_named(document, field):
    assert rejected(document, Reason.SCHEMA).startswith(f"{field}:")


def test_years_that_no_clock_shows_are_too_old_or_in_the_future():
    rejected(message(occurred_at="1850-01-01T00:00:00Z"), Reason.TOO_OLD)
    rejected(message(occurred_at="0001-01-01T00:00:00+05:00"), Reason.TOO_OLD)
    rejected(message(occurred_at="9999-12-31T23:59:59-12:00"), Reason.FUTURE_TIMESTAMP)


def test_the_past_begins_in_2015():
    rejected(message(occurred_at="2014-12-31T23:59:59.999Z"), Reason.TOO_OLD)
    accepted(message(occurred_at="2015-01-01T00:00:00Z"))


def test_five_minutes_ahead_is_the_limit():
    limit = NOW + timedelta(minutes=5)
    accepted(message(occurred_at=limit.isoformat()))
    late = (limit + timedelta(milliseconds=1)).isoformat()
    rejected(message(occurred_at=late), Reason.FUTURE_TIMESTAMP)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-28T23:59:59.999Z", datetime(2026, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC)),
        ("2026-02-28T23:59:59.999999Z", datetime(2026, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC)),
        ("2026-02-28T23:59:59.9999999999Z", datetime(2026, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC)),
        ("2026-03-01T00:00:00+09:00", datetime(2026, 2, 28, 15, tzinfo=UTC)),
        ("2024-02-29t12:00:00z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("2026-02-28T12:00:00.5-00:30", datetime(2026, 2, 28, 12, 30, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_times_become_utc_cut_to_milliseconds(text, expected):
    event = accepted(message(occurred_at=text, client_ts=text))
    assert (event.occurred_at, event.client_ts) == (expected, expected)
    assert event.occurred_at.tzinfo is UTC


@pytest.mark.parametrize(
    "raw",
    [
        raw_with(b'"user_id": 7', b'"user_id": 7, "user_id": 7'),
        raw_with(b'"bet": 100', b'"bet": 100, "bet": 100'),
        raw_with(b'"bet": 100', b'"deep": [{"a": {"x": 1, "x": 2}}], "bet": 100'),
        raw_with(b'"bet": 100', b'"be\\u0074": 1, "bet": 100'),
        # The dropped value hides as many escaped colons as the duplicate key adds.
        raw_with(b'"bet": 100', b'"n": "\\u003a", "bet": 1, "bet": 100'),
        raw_with(b'"bet": 100', b'"n": {"a": 1}, "n": {"a": "::"}, "bet": 100'),
        raw_with(b'"context"', b'"context": {"round_id": "r2"}, "context"'),
    ],
)
def test_a_key_that_stands_twice_is_refused_at_any_depth(raw):
    assert "twice" in rejected(raw, Reason.SCHEMA)


@pytest.mark.parametrize(
    "raw",
    [
        raw_with(b'"r1"', b'"a\\u0000b"'),
        raw_with(b'"bet"', b'"a\\u0000b": 1, "bet"'),
        raw_with(b'"bet"', b'"list": [["\\u0000"]], "bet"'),
        raw_with(b'"user_id"', b'"session_id": "\\u0000", "user_id"'),
    ],
)
def test_nul_characters_are_refused_everywhere(raw):
    assert "NUL" in rejected(raw, Reason.SCHEMA)


def test_an_escaped_backslash_before_u0000_is_no_nul():
    accepted(raw_with(b'"r1"', b'"a\\\\u0000b"'))


def test_nesting_ends_at_32_levels():
    deep = "[" * 29 + "]" * 29
    accepted(raw_with(b'"bet"', b'"x": ' + deep.encode() + b', "bet"'))
    deeper = "[" * 40 + "]" * 40
    error = rejected(raw_with(b'"bet"', b'"x": ' + deeper.encode() + b', "bet"'), Reason.SCHEMA)
    assert "deeper" in error


def test_the_context_may_have_16_kib():
    empty = len(msgspec.json.encode(context(note="")["context"]))
    accepted(context(note="x" * (MAX_CONTEXT_BYTES - empty)))
    error = rejected(context(note="x" * (MAX_CONTEXT_BYTES - empty + 1)), Reason.SCHEMA)
    assert error.startswith("context: 16,385 bytes")


def test_unknown_fields_are_kept():
    event = accepted(
        message(
            trace={"id": 12345678901234567890123},
            context={"round_id": "r", "bet": 1, "payout": 0, "wheel": [1, "zwölf", None]},
        )
    )
    assert msgspec.json.decode(event.context) == {
        "round_id": "r",
        "bet": 1,
        "payout": 0,
        "wheel": [1, "zwölf", None],
        "_extra": {"trace": {"id": 12345678901234567890123}},
    }


def test_the_reserved_name_of_unknown_envelope_fields_is_never_overwritten():
    kept = accepted(message(action_type="NEW", context={"_extra": 1}))
    assert kept.context == b'{"_extra":1}'
    error = rejected(message(action_type="NEW", context={"_extra": 1}, trace=1), Reason.SCHEMA)
    assert "_extra" in error


def test_an_unknown_action_type_counts_as_the_users():
    event = accepted(message(action_type="TOURNAMENT_JOIN", context={"round_id": "x", "bet": "?"}))
    assert (event.initiator, event.is_known, event.round_id, event.units) == ("user", False, "", 0)


def test_equal_ids_in_other_letters_are_one_id():
    assert accepted(message(event_id=EVENT_ID.upper())).event_id == EVENT_ID


@pytest.mark.parametrize(
    ("action_type", "bet", "payout", "right"),
    [
        ("SLOT_SPIN", 100, 101, "win"),
        ("SLOT_SPIN", 100, 99, "loss"),
        ("RPS_PLAY", 100, 100, "draw"),
        ("CRASH_ROUND", 0, 1, "win"),
        ("CRASH_ROUND", 0, 0, "loss"),
        ("GACHA_SPIN", 100, 500, "none"),
        ("GACHA_SPIN", 0, 0, "none"),
    ],
)
def test_a_declared_result_must_follow_from_the_stakes(action_type, bet, payout, right):
    game = ACTIONS[action_type].game_type
    assert game is not None
    assert outcome(game, bet, payout) == right
    for declared in ("win", "loss", "draw", "none"):
        document = message(
            action_type=action_type,
            context={"round_id": "r", "bet": bet, "payout": payout, "result": declared},
        )
        if declared == right:
            accepted(document)
        else:
            assert right in rejected(document, Reason.CONTRADICTION)


@pytest.mark.parametrize("state", ["started", "cancelled", "voided"])
def test_a_round_that_is_not_settled_needs_no_stakes(state):
    event = accepted(message(context={"round_id": "r", "state": state}))
    assert (event.round_state, event.bet, event.payout) == (state, 0, 0)


def test_only_some_actions_are_the_users_own():
    system = {name for name in ACTIONS if initiator_of(name) == "system"}
    assert system == {
        "LOGIN_FAILED", "LOGIN_LOCKED", "TOKEN_REFRESHED", "REWARD_GRANTED", "FRAUD_BLOCKED",
        "ADMIN_ACTION", "WS_CONNECTED", "WS_DISCONNECTED", "DEPRECATED_ENDPOINT_CALLED",
        "API_REQUEST",
    }  # fmt: skip


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_bad_message_has_its_reason(name):
    reason, raw = BAD_MESSAGES[name]
    verdict = parse(raw, received_at=NOW)
    assert isinstance(verdict, Rejection), verdict
    assert verdict.reason is reason, verdict


def test_every_reason_has_a_bad_message():
    of_messages = {reason for reason, _ in BAD_MESSAGES.values()}
    assert of_messages | JUDGED_BEYOND_THE_MESSAGE == set(Reason)
    assert not of_messages & JUDGED_BEYOND_THE_MESSAGE


@pytest.mark.parametrize("action_type", ACTIONS)
def test_every_action_type_takes_its_documented_context(action_type):
    event = accepted(message(action_type=action_type, context=VALID_CONTEXTS[action_type]))
    assert event.initiator == ACTIONS[action_type].initiator
    assert event.is_known


# Hypothesis reads the Unicode tables at the first text, which takes seconds on a busy machine.
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@patiently
@given(st.binary(max_size=300))
def test_any_bytes_get_a_verdict(raw):
    assert isinstance(judge(raw), Rejection)


@patiently
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_a_damaged_message_gets_a_verdict(position, damage):
    raw = json.dumps(message()).encode()
    at = position % len(raw)
    verdict = judge(raw[:at] + damage + raw[at + len(damage) :])
    assert isinstance(verdict, Event | Rejection)


@patiently
@given(
    st.dictionaries(st.sampled_from(list(message())), JSON_VALUES),
    st.dictionaries(
        st.sampled_from(["round_id", "state", "bet", "payout", "result", "units", "other"]),
        JSON_VALUES,
    ),
    st.sampled_from(sorted(ACTIONS)),
)
def test_any_json_gets_a_verdict_and_what_is_accepted_fits_the_warehouse(fields, inner, action):
    verdict = judge(message(action_type=action, context=inner) | fields)
    if isinstance(verdict, Event):
        uuid.UUID(verdict.event_id)
        assert 1 <= verdict.user_id < 2**53
        assert 0 <= verdict.bet < 2**53
        assert 0 <= verdict.payout < 2**53
        assert b"\0" not in verdict.context
        assert verdict.occurred_at.microsecond % 1000 == 0
        assert isinstance(msgspec.json.decode(verdict.context), dict)


class _Pairs(list):
    """The keys and values of an object that may have a key twice."""


@st.composite
def _objects(draw, depth=2):
    values = st.integers(0, 9) | st.sampled_from(["a:b", "", ":", "\\"])
    if depth:
        values |= _objects(depth=depth - 1) | st.lists(_objects(depth=depth - 1), max_size=2)
    return _Pairs(draw(st.lists(st.tuples(st.sampled_from(["a", "b", "c:", "d"]), values))))


def _render(value) -> str:
    if isinstance(value, _Pairs):
        return "{" + ",".join(f"{json.dumps(k)}:{_render(v)}" for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_render, value)) + "]"
    return json.dumps(value).replace(":", r"\u003a") if value == ":" else json.dumps(value)


def _repeats(value) -> bool:
    if isinstance(value, _Pairs):
        keys = [k for k, _ in value]
        return len(set(keys)) < len(keys) or any(_repeats(v) for _, v in value)
    return isinstance(value, list) and any(map(_repeats, value))


@patiently
@given(_objects())
def test_duplicate_keys_are_found_exactly(extra):
    verdict = judge(raw_with(b'"bet"', b'"x": ' + _render(extra).encode() + b', "bet"'))
    assert isinstance(verdict, Rejection) == _repeats(extra)
