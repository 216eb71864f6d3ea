"""The messages of a batch in columns: what comes out is what went in."""

from types import SimpleNamespace

import pytest

from ingest.batch import Batch
from ingest.messages import Messages
from ingest.streams import Stream
from tally.events import Reason, Rejection

REPLAYED = (("replay_of", b"c/t/0@1"),)


def record(offset, key=b"7", value=b"x", headers=()):
    return SimpleNamespace(offset=offset, timestamp=offset, key=key, value=value, headers=headers)


@pytest.fixture
def messages() -> Messages:
    """Two parts, of messages with and without key, value and headers."""
    made = Messages()
    made.add([record(3), record(4, key=None, value=b""), record(7, headers=REPLAYED)])
    made.add([record(8, key=b"", value=None), record(9, value="ü".encode())])
    return made


def facts(found):
    return [(m.offset, m.timestamp, m.key, m.value, tuple(m.headers)) for m in found]


def test_what_is_picked_is_whole_and_in_order(messages):
    assert len(messages) == 5
    assert facts(messages.at([9, 4, 8, 7, 5])) == [
        (4, 4, None, b"", ()),
        (7, 7, b"7", b"x", REPLAYED),
        (8, 8, b"", None, ()),
        (9, 9, b"7", "ü".encode(), ()),
    ]
    assert messages.at([]) == []
    assert [messages.offset_of(n) for n in range(5)] == [3, 4, 7, 8, 9]
    assert messages.timestamps.to_pylist() == [3, 4, 7, 8, 9]


def test_a_range_has_its_messages_and_no_other(messages):
    some = messages.between(4, 9)
    assert [m.offset for m in some.at(range(20))] == [4, 7, 8]
    assert (len(some), some.offset_of(1)) == (3, 7)
    assert len(messages.between(5, 7)) == 0


def test_what_is_blanked_keeps_its_place_and_the_others_their_bytes(messages):
    messages.blank([7, 9])
    assert facts(messages.at([3, 7, 9])) == [
        (3, 3, b"7", b"x", ()),
        (7, 7, None, None, REPLAYED),
        (9, 9, None, None, ()),
    ]


@pytest.mark.parametrize("fed", [1, 2, 6])
def test_offsets_that_were_jumped_over_are_gaps(fed):
    batch = Batch(Stream("c", "t", 0), 2, 0.0)
    records = [record(offset) for offset in (4, 5, 9, 10, 11, 13)]
    for first in range(0, len(records), fed):
        batch.add(records[first : first + fed])
    batch.add([])
    assert [(gap.first_offset, gap.last_offset) for gap in batch.gaps] == [(2, 3), (6, 8), (12, 12)]
    assert (batch.next_offset, len(batch), batch.message_bytes) == (14, 6, 12)


def test_a_letter_of_an_accepted_message_is_the_message_as_it_came():
    good = (
        b'{"event_id":"018f3a5e-7c1b-7d2e-9a43-0123456789ab","user_id":7,"action_type":"LOGIN",'
        b'"occurred_at":"2026-03-01T11:59:58.123Z","context":{}}'
    )
    batch = Batch(Stream("c", "t", 0), 0, 0.0)
    batch.add([record(0, key=b"k", value=good, headers=REPLAYED), record(1, value=good)])
    batch.reject({0: Rejection(Reason.CONFLICT, "second")})
    letters = [row for row in batch.rows().to_pylist() if row["reason"]]
    assert [(row["key"], row["value"], row["replay_of"]) for row in letters] == [
        (b"k", good, "c/t/0@1")
    ]
