"""Where a partition is read on, decided from the ledger and the broker's log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.ledger import LedgerRow, Position, current, plan_start
from ingest.streams import Stream, parse_stream

OWN = Stream("cluster-b", "user-actions", 0)
FORMER = Stream("cluster-a", "user-actions", 0)


def plan(*positions: Position, start: int = 0, end: int = 100, partitions: int = 3):
    return plan_start(positions, OWN, log_start=start, log_end=end, partitions=partitions)


def kinds(found) -> list[tuple[str, int, int]]:
    return [(row.kind, row.first_offset, row.last_offset) for row in found.findings]


def test_a_partition_that_was_never_read_starts_at_its_log():
    found = plan()
    assert (found.stream, found.offset, found.findings) == (OWN, 0, ())


def test_it_goes_on_behind_what_is_stored():
    assert plan(Position(OWN, 40, 40, 60)).offset == 40


def test_what_retention_took_before_it_was_read_is_lost():
    found = plan(Position(OWN, 40, 40, 60), start=45)
    assert (found.offset, kinds(found)) == (45, [("lost", 40, 44)])


def test_a_log_that_was_cut_before_the_first_read_is_lost_too():
    found = plan(start=7)
    assert (found.offset, kinds(found)) == (7, [("lost", 0, 6)])


def test_a_loss_is_reported_once():
    found = plan(Position(OWN, 40, 45, 60), start=45)
    assert (found.offset, kinds(found)) == (45, [])


def test_a_reported_loss_that_can_be_read_after_all_is_read():
    found = plan(Position(OWN, 40, 45, 60), start=30)
    assert (found.stream, found.offset, kinds(found)) == (OWN.renewed(), 40, [])


def test_a_broker_that_comes_back_is_read_on_as_a_stream_that_no_reader_has_passed():
    found = plan(Position(OWN, 40, 40, 40, replaced=True))
    assert (found.stream, found.offset, kinds(found)) == (OWN.renewed(), 40, [])
    again = plan(Position(OWN, 40, 40, 40, replaced=True), Position(OWN.renewed(), 44, 44, 44))
    assert (again.stream, again.offset) == (OWN.renewed(), 44)


def test_only_the_newest_stream_of_a_former_broker_is_ended():
    found = plan(Position(FORMER, 5, 8, 8), Position(FORMER.renewed(), 9, 9, 9))
    assert [(str(r.stream), r.kind) for r in found.findings] == [
        ("cluster-a/user-actions/0+1", "replaced")
    ]


def test_a_replaced_broker_ends_the_former_stream():
    found = plan(Position(FORMER, 40, 40, 60))
    assert (found.stream, found.offset) == (OWN, 0)
    assert kinds(found) == [("lost", 40, 59), ("replaced", 40, 40)]
    assert {row.stream for row in found.findings} == {FORMER}


def test_a_replaced_broker_of_which_all_is_stored_lost_nothing_known():
    assert kinds(plan(Position(FORMER, 60, 60, 60))) == [("replaced", 60, 60)]


def test_a_replaced_broker_is_reported_once():
    assert kinds(plan(Position(FORMER, 60, 60, 60, replaced=True))) == []


def test_partitions_that_the_new_topic_lacks_are_reported_by_partition_0():
    gone = Position(Stream("cluster-a", "user-actions", 7), 5, 5, 5)
    assert kinds(plan(gone)) == [("replaced", 5, 5)]
    assert kinds(plan(gone, partitions=12)) == []


def test_a_topic_that_was_made_anew_is_another_stream():
    found = plan(Position(OWN, 500, 500, 520), end=100)
    assert (str(found.stream), found.offset) == ("cluster-b/user-actions/0+1", 0)
    assert kinds(found) == [("lost", 500, 519), ("replaced", 500, 500)]
    again = plan(Position(OWN, 500, 520, 520, replaced=True), Position(found.stream, 9, 9, 9))
    assert (again.stream, again.offset, again.findings) == (found.stream, 9, ())


def test_the_newest_stream_of_a_partition_is_current():
    old, new = Position(OWN, 5, 5, 5), Position(OWN.renewed(), 2, 2, 2)
    assert current([new, old], "cluster-b", 0, "user-actions") == new
    assert current([new, old], "cluster-b", 1, "user-actions").next_offset == 0


@given(
    st.text(st.characters(blacklist_characters="\n"), min_size=1),
    st.from_regex(r"[a-zA-Z0-9._-]{1,20}", fullmatch=True),
    st.integers(0, 10_000),
    st.integers(0, 50),
)
def test_a_streams_name_says_which_it_is(cluster, topic, partition, epoch):
    stream = Stream(cluster, topic, partition, epoch)
    assert parse_stream(str(stream)) == stream


def test_a_name_that_is_no_stream_is_refused():
    with pytest.raises(ValueError, match="not the name of a stream"):
        parse_stream("user-actions/0")


@given(
    stored=st.integers(0, 50),
    extra=st.integers(0, 20),
    start=st.integers(0, 60),
    length=st.integers(0, 60),
)
def test_no_offset_is_skipped_silently(stored, extra, start, length):
    """Whatever the log looks like: stored, lost and still to read cover it without a hole."""
    found = plan(Position(OWN, stored, stored + extra, stored + extra), start=start,
                 end=start + length)  # fmt: skip
    if found.stream == OWN:
        covered = stored + extra
        for row in found.findings:
            assert row.first_offset == covered
            covered = row.last_offset + 1
        assert found.offset == covered
    elif start + length >= stored:
        assert (found.offset, found.findings) == (max(stored, start), ())
        assert found.offset < stored + extra
    else:
        assert start + length < stored
        assert found.offset == start
        assert start == 0 or found.findings[-1] == LedgerRow(
            found.stream, 0, start - 1, "lost", end_offset=start + length
        )
