"""The account of a stream: the ledger's ranges against what is stored of each."""

from datetime import UTC, datetime

import pytest

from ingest import intents
from ingest.account import Account, RangeCount, StreamAccount, account_for
from ingest.intents import Intent
from ingest.ledger import LedgerRow
from ingest.streams import Stream

STREAM = Stream("cluster", "user-actions", 0)
NAME = str(STREAM)


def row(first: int, last: int, kind="stored", *, accepted: int | None = None, dead: int = 0):
    count = last - first + 1 - dead if accepted is None else accepted
    return LedgerRow(
        STREAM, first, last, kind, accepted=count if kind == "stored" else 0, dead=dead
    )


def test_a_whole_stream_is_clean():
    rows = [row(0, 9, dead=2), row(10, 12, "lost"), row(13, 14, "gap"), row(15, 19)]
    counts = {0: RangeCount(6, 2, 2), 15: RangeCount(5)}
    assert account_for(NAME, rows, counts) == StreamAccount(NAME, 0, 20, 11, 2, 2, 2, 3)


def test_a_gap_inside_of_a_stored_range_is_counted_once():
    rows = [row(0, 9, accepted=7), row(3, 5, "gap")]
    found = account_for(NAME, rows, {0: RangeCount(7)})
    assert (found.gaps, found.events, found.end_offset, found.faults) == (3, 7, 10, [])


@pytest.mark.parametrize(
    ("rows", "counts", "fault"),
    [
        ([row(0, 4), row(6, 9)], {0: (5,), 6: (4,)}, "the ledger has a hole from 5 to 5"),
        ([row(0, 4), row(3, 9)], {0: (5,), 3: (7,)}, "the ledger has 3 to 4 twice"),
        ([row(3, 4)], {3: (2,)}, "the ledger begins at 3"),
        ([row(0, 4)], {0: (4,)}, "4 accepted messages are stored in 0 to 4, 5 in the ledger"),
        ([row(0, 4)], {}, "0 accepted messages are stored in 0 to 4, 5 in the ledger"),
        ([row(0, 4, dead=1)], {0: (4,)}, "0 dead letters are stored in 0 to 4, 1 in the ledger"),
        ([row(0, 4, accepted=4)], {0: (4,)}, "the ledger knows 4 of 5 offsets in 0 to 4"),
        ([row(0, 4)], {0: (5, 0, 0, (2,))}, "both accepted and dead letters in 0 to 4: 2"),
        ([row(0, 4)], {0: (5, 0, 0, (), (1,))}, "events without arrival in 0 to 4: 1"),
    ],
)
def test_every_fault_is_named(rows, counts, fault):
    found = account_for(NAME, rows, {first: RangeCount(*c) for first, c in counts.items()})
    assert found.faults == [fault]
    assert Account("user-actions", [found]).every_fault == [f"{NAME}: {fault}"]


def test_a_stream_that_goes_on_after_a_loss_was_revoked_may_begin_anywhere():
    assert account_for(f"{NAME}+1", [row(40, 44)], {40: RangeCount(5)}).faults == []


def test_an_intent_is_what_it_was_after_the_broker_kept_it():
    clock = datetime(2026, 3, 1, 12, 0, 0, 123000, UTC)
    intent = Intent(NAME, 10, 19, clock)
    kept = intents.decode(intent.encode())
    assert kept == intent
    assert kept.continues(STREAM, 10)
    assert not kept.continues(STREAM, 11)
    assert not kept.continues(STREAM.renewed(), 10)


@pytest.mark.parametrize(
    "metadata",
    ["", "{", "[]", "some tool's note", '{"stream": "a/b/0"}',
     '{"stream":"a/b/0","first_offset":9,"last_offset":1,"received_at":"2026-03-01T12:00:00Z"}',
     '{"stream":"a/b/0","first_offset":1,"last_offset":9,"received_at":"2026-03-01T12:00:00"}'],
)  # fmt: skip
def test_whatever_else_stands_in_a_commit_is_no_intent(metadata):
    assert intents.decode(metadata) is None
