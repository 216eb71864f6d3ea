"""Messages of an erased user: refused whatever they say, and nothing of them is kept or comes back.

The list is global and the warehouse is the tests' own together, so each test has users of its own.
"""

import itertools
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from ingest.erased import IS_LETTER, ErasedUsers
from orchestration.lib import erasure
from tally.warehouse import connect
from tests.integration.ingest.pipeline import Pipeline, encode, slot_round, until

_users = itertools.count(900_001)


@pytest.fixture
def new_user() -> Callable[[], int]:
    return lambda: next(_users)


def list_erased(pipeline: Pipeline, *users: int) -> None:
    """What `tally erase` does first."""
    erasure.put_on_list(connect(pipeline.settings), users)


def finish(pipeline: Pipeline) -> None:
    """What `tally erase` does then, of raw."""
    client = connect(pipeline.settings)
    done = [each.table for each in erasure.erase(client, ["raw"], print)]
    assert {"raw.events", "raw.arrivals"} <= set(done)


def rows_of(pipeline: Pipeline, user: int) -> dict[str, int]:
    """How many rows of the user each table has that has users."""
    tables = ("events", "round_events", "arrivals")
    counted = "select count() from raw.{} where user_id = {}"
    return {table: int(str(pipeline.query(counted.format(table, user))[0][0])) for table in tables}


NOTHING = {"events": 0, "round_events": 0, "arrivals": 0}


def letters(pipeline: Pipeline) -> list[tuple[object, ...]]:
    return [
        tuple(row)
        for row in pipeline.query(
            "select offset, reason, key, value from raw.dead_letters final where {here} "
            "order by offset"
        )
    ]


def test_nothing_of_an_erased_user_is_taken_or_kept(
    kafka_pipeline: Pipeline, new_user: Callable[[], int]
) -> None:
    pipeline, erased, other = kafka_pipeline, new_user(), new_user()
    list_erased(pipeline, erased)
    name = str(erased).encode()
    pipeline.start()
    claimed = slot_round(user_id=erased)
    bad = encode(slot_round(user_id=erased, occurred_at="yesterday", source="전진"))
    pipeline.produce(
        [encode(claimed), encode(slot_round(user_id=other)), encode(claimed), bad, bad[:60]],
        partition=0,
        key=name,
    )
    # Only the key says whose it was; and here the value says that it was another's.
    of_another = encode(slot_round(user_id=other))[:80]
    pipeline.produce([b"\xff", of_another], partition=0, key=name)
    pipeline.wait()
    assert rows_of(pipeline, erased) == NOTHING
    assert rows_of(pipeline, other) == {"events": 1, "round_events": 1, "arrivals": 1}
    blank = [(offset, "erased_user", "", "") for offset in (0, 2, 3, 4, 5)]
    assert letters(pipeline)[:5] == blank
    offset, reason, key, value = letters(pipeline)[5]
    assert (offset, reason, key) == (6, "not_json", str(erased))
    assert str(other) in str(value)
    assert pipeline.verify() | {"gaps": 0} == {
        "events": 1, "duplicates": 0, "dead_letters": 6, "erased": 0, "gaps": 0, "lost": 0,
    }  # fmt: skip
    claims = "select count() from raw.event_ids where event_id = UUIDStringToNum('{}')"
    assert pipeline.query(claims.format(claimed["event_id"])) == [(0,)]
    on_topic = pipeline.dead_letter_topic(6)
    kept = [value for headers, value in on_topic if headers["reason"] == "erased_user"]
    assert kept == [b""] * 5

    stream = pipeline.here.split("'")[1]
    told = pipeline.command("dlq", "replay", f"{stream}0:3")
    assert told.returncode == 1
    assert "is of an erased user: nothing is left of it" in told.stderr
    told = pipeline.command("dlq", "replay", "--reason", "erased_user")
    assert "A erased_user stays one" in told.stderr


def test_who_is_erased_while_events_flow_is_gone_at_once_and_stays_gone(
    kafka_pipeline: Pipeline, new_user: Callable[[], int]
) -> None:
    """Ingestion that has read the list a moment ago still ends without a row of the user's."""
    pipeline, erased, other = kafka_pipeline, new_user(), new_user()
    pipeline.start()
    both = [encode(slot_round(user_id=user)) for user in (erased, other)]
    pipeline.produce(both, partition=0)
    pipeline.wait()
    before = rows_of(pipeline, erased)
    assert before == {"events": 1, "round_events": 1, "arrivals": 1}
    for _ in range(3):
        pipeline.produce([encode(slot_round(user_id=user)) for user in (other, erased)])
        pipeline.wait()
        list_erased(pipeline, erased)
        known = rows_of(pipeline, erased)
        pipeline.produce([encode(slot_round(user_id=user)) for user in (erased, other)])
        pipeline.wait()
        after = rows_of(pipeline, erased)
        assert all(after[table] <= known[table] for table in after), (known, after)

    finish(pipeline)
    assert rows_of(pipeline, erased) == NOTHING
    assert pipeline.verify()["events"] == rows_of(pipeline, other)["events"] == 7

    # Read again from 0, in other batches, the topic brings nothing back.
    assert pipeline.stop() == 0
    pipeline.query("alter table raw.ingest_ledger delete where {here} settings mutations_sync = 2")
    pipeline.changes["ingest_max_rows"] = 4
    pipeline.start()
    pipeline.wait()
    assert rows_of(pipeline, erased) == NOTHING
    account = pipeline.verify()
    assert (account["events"], account["dead_letters"], account["erased"]) == (7, 7, 0)


def test_a_user_is_erased_while_their_events_keep_coming(
    kafka_pipeline: Pipeline, new_user: Callable[[], int]
) -> None:
    pipeline, erased, other = kafka_pipeline, new_user(), new_user()
    pipeline.start()
    sent, stop = [0], threading.Event()

    def play() -> None:
        while not stop.is_set():
            pipeline.produce([encode(slot_round(user_id=user)) for user in (erased, other)] * 10)
            sent[0] += 1

    with ThreadPoolExecutor(1) as backend:
        playing = backend.submit(play)
        until(lambda: rows_of(pipeline, erased)["arrivals"] > 100, "events of the user")
        list_erased(pipeline, erased)
        finish(pipeline)
        before = sent[0]
        until(lambda: sent[0] > before + 20, "the user to play on")
        stop.set()
        playing.result()
    pipeline.wait()
    assert rows_of(pipeline, erased) == NOTHING
    account = pipeline.verify()
    assert account["events"] + account["duplicates"] == rows_of(pipeline, other)["arrivals"]
    assert account["erased"] > 100
    assert account["dead_letters"] > 100


@pytest.mark.parametrize("point", ["after-claim", "after-insert"])
def test_a_batch_that_is_made_again_after_the_erasure_leaves_nothing(
    kafka_pipeline: Pipeline, new_user: Callable[[], int], point: str
) -> None:
    """What the first attempt stored goes, and the second's letters are not taken for stored."""
    pipeline, erased, other = kafka_pipeline, new_user(), new_user()
    pipeline.changes["ingest_linger_ms"] = 500
    values = [encode(slot_round(user_id=user)) for user in (erased, other, erased)]
    pipeline.start("tests.integration.ingest.dying", point, "1")
    pipeline.produce([*values, b"{"], partition=0)
    assert pipeline.process is not None
    pipeline.process.wait(60)
    stored = 2 if point == "after-insert" else 0
    assert rows_of(pipeline, erased)["events"] == stored
    list_erased(pipeline, erased)
    pipeline.start()
    pipeline.wait()
    assert rows_of(pipeline, erased) == NOTHING
    assert [letter[:2] for letter in letters(pipeline)] == [
        (0, "erased_user"), (2, "erased_user"), (3, "not_json"),
    ]  # fmt: skip
    account = pipeline.verify()
    assert (account["events"], account["dead_letters"]) == (1, 3)


def test_a_listing_between_the_verdict_and_the_insert_is_seen_before_the_ledger(
    kafka_pipeline: Pipeline, new_user: Callable[[], int]
) -> None:
    """A consumer that stood still meanwhile takes back what it stored, and the account has it."""
    pipeline, erased, other = kafka_pipeline, new_user(), new_user()
    event = slot_round(user_id=erased)
    many = [encode(slot_round(user_id=erased)) for _ in range(12_000)]
    values = [encode(event), encode(slot_round(user_id=other)), *many, encode(event)]
    # All there before ingestion is, so that its first batch is of thousands.
    pipeline.produce(values, partition=0)
    pipeline.start("tests.integration.ingest.dying", "stands-still-after-verdict", "1")
    until(lambda: pipeline.is_still, "ingestion to stand still")
    assert rows_of(pipeline, erased) == NOTHING
    list_erased(pipeline, erased)
    pipeline.resume()
    pipeline.wait()
    assert rows_of(pipeline, erased) == NOTHING
    account = pipeline.verify()
    assert (account["events"], account["erased"] + account["dead_letters"]) == (1, 12_002)
    assert account["erased"] >= 2_000
    assert "erased" in pipeline.command("verify-ingest").stdout


def test_an_id_of_an_erased_event_is_not_free_for_another_payload(
    kafka_pipeline: Pipeline, new_user: Callable[[], int]
) -> None:
    pipeline, erased, other = kafka_pipeline, new_user(), new_user()
    event = slot_round(user_id=erased, event_id=str(uuid.uuid4()))
    pipeline.start()
    pipeline.produce([encode(event)], partition=0)
    pipeline.wait()
    list_erased(pipeline, erased)
    pipeline.produce([encode(event | {"user_id": other})], partition=0)
    pipeline.wait()
    assert letters(pipeline)[-1][1] == "conflict"


# Key and value of a letter, of the user 4711 or not.
LETTERS = {
    (b"4711", b"{"): True,
    (b"4711", b""): True,
    (b"04711", b"{"): True,
    (b"5", b"{"): False,
    (b"", b"{"): False,
    (b"x4711", b"{"): False,
    (b"5", b'{"user_id": 4711, "action_type": "x'): True,
    (b"5", b'\xff"user_id"\n:\t"4711"'): True,
    (b"4711", b'{"user_id": 5}'): False,
    (b"5", b'{"user_id": 47110}'): False,
    (b"5", b'{"user_id": 5, "context": {"user_id": 4711}}'): True,
    (b"4711", b'{"user_id": null}'): True,
    (b"5", b'{"user_id": 47110000000000000000000004711}'): False,
    ("４７１１".encode(), b"{"): False,
}


def test_ingestion_and_erasure_tell_the_same_letters(pipeline: Pipeline) -> None:
    """One rule, in Python for what comes and in SQL for what is there."""
    erased = ErasedUsers(frozenset({4711}))
    condition = IS_LETTER.replace(
        "(select groupUniqArray(user_id) from raw.erased_users)", "[4711]"
    )
    assert "[4711]" in condition
    client = connect(pipeline.settings)
    for (key, value), is_theirs in LETTERS.items():
        message = SimpleNamespace(offset=0, timestamp=0, headers=(), key=key, value=value)
        assert erased.is_named_by(message) == is_theirs, (key, value)
        given = f"unhex('{key.hex()}') as key, unhex('{value.hex()}') as value"
        found = client.query(f"select {condition} from (select {given})").result_rows
        assert found == [(int(is_theirs),)], (key, value)
