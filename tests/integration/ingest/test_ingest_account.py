"""`tally verify-ingest` finds what was corrupted, names it and ends with 1."""

import json

import pytest

from tests.integration.ingest.pipeline import Pipeline, encode, slot_round


@pytest.fixture
def stored(kafka_pipeline: Pipeline) -> Pipeline:
    """Six events, one of them twice, and a dead letter: offsets 0 to 7 of partition 0."""
    pipeline = kafka_pipeline
    events = [encode(slot_round(user_id=n + 1)) for n in range(6)]
    pipeline.start()
    pipeline.produce([*events[:4], b"{"], partition=0)
    pipeline.wait()
    pipeline.produce([*events[4:], events[0]], partition=0)
    pipeline.wait()
    assert pipeline.stop() == 0
    return pipeline


def test_a_sound_account(stored: Pipeline) -> None:
    assert stored.verify() == {
        "events": 6, "duplicates": 1, "dead_letters": 1, "erased": 0, "gaps": 0, "lost": 0,
    }  # fmt: skip
    told = stored.command("verify-ingest").stdout
    assert "every one accounted for, once" in told


CORRUPTIONS = {
    "an event is gone": (
        "alter table raw.events delete where {here} and offset = 2",
        "1 offsets were accepted and their event is not there: 2",
    ),
    "an arrival is gone": (
        "alter table raw.arrivals delete where {here} and offset = 2",
        "events without arrival in 0 to 4: 2",
    ),
    "a message is gone": (
        "alter table raw.dead_letters delete where {here} and offset = 4",
        "0 dead letters are stored in 0 to 4, 1 in the ledger",
    ),
    "a ledger row is gone": (
        "alter table raw.ingest_ledger delete where {here} and first_offset = 0",
        "the ledger begins at 5",
    ),
    "an event is there twice": (
        (
            "insert into raw.events select * replace (user_id + 1000 as user_id) from raw.events "
            "where {here} and offset = 3"
        ),
        "is stored 2 times",
    ),
    "a message is accepted and a dead letter": (
        (
            "insert into raw.dead_letters (stream, topic, partition, offset, reason) "
            "select stream, 'user-actions', 0, offset, 'schema' from raw.events "
            "where {here} and offset = 3"
        ),
        "both accepted and dead letters in 0 to 4: 3",
    ),
    "an erased event is still there": (
        (
            "insert into raw.erased_offsets select stream, offset from raw.events "
            "where {here} and offset = 3"
        ),
        "erased and still stored in 0 to 4 (run `tally erase` again): 3",
    ),
    "an event of nowhere": (
        (
            "insert into raw.events select * replace (99 as offset, generateUUIDv4() as event_id) "
            "from raw.events where {here} and events.offset = 3"
        ),
        "1 offsets are stored in no range of the ledger: 99",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_found(stored: Pipeline, name: str) -> None:
    statement, fault = CORRUPTIONS[name]
    wait = " settings mutations_sync = 2" if statement.startswith("alter") else ""
    stored.query(statement + wait)
    done = stored.command("verify-ingest", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    faults = [f for each in document["streams"] for f in each["faults"]] + document["faults"]
    assert not document["clean"]
    assert any(fault in found for found in faults), faults
    told = stored.command("verify-ingest")
    assert told.returncode == 1
    assert fault in told.stdout


def test_what_is_not_stored_yet_is_a_fault(stored: Pipeline) -> None:
    stored.produce([encode(slot_round())], partition=0)
    stored.produce([encode(slot_round())], partition=2)
    done = stored.command("verify-ingest")
    assert done.returncode == 1
    assert "not stored yet: 8 to 8" in done.stdout
    assert "not stored yet: 0 to 0" in done.stdout
