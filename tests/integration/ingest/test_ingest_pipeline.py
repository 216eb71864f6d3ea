"""What is in Kafka is in raw: once, whole, and with a verdict on what is not an event."""

import base64
import json
import urllib.request

from ingest.batch import SCHEMA, Batch
from ingest.batch import encode as encoded
from ingest.consumer import FEWEST_MORE
from ingest.streams import Stream
from ingest.writer import INSERT_SETTINGS, ROWS_TOGETHER
from tally.events import ACTIONS
from tally.warehouse import connect
from tests.integration.ingest.pipeline import (
    PARTITIONS,
    Pipeline,
    encode,
    free_port,
    metric,
    ready,
    slot_round,
    until,
)
from tests.messages import BAD_MESSAGES, VALID_CONTEXTS


def test_bad_messages_are_kept_with_their_bytes_and_the_good_ones_around_them_count(
    pipeline: Pipeline,
) -> None:
    bad = [(reason.value, value) for reason, value in BAD_MESSAGES.values()]
    mixed: list[bytes | None] = [encode(slot_round())]
    for _, value in bad:
        mixed += [value, encode(slot_round())]
    pipeline.start()
    pipeline.produce(mixed, partition=1, key=b"k\xff")
    pipeline.wait()

    assert pipeline.count() == len(bad) + 1
    rows = pipeline.query(
        "select reason, base64Encode(value), base64Encode(key), topic, partition, offset, error "
        "from raw.dead_letters final where {here} order by offset"
    )
    assert [(r[0], base64.b64decode(str(r[1]))) for r in rows] == [
        (reason, value or b"") for reason, value in bad
    ]
    assert {base64.b64decode(str(row[2])) for row in rows} == {b"k\xff"}
    assert [row[5] for row in rows] == list(range(1, 2 * len(bad), 2))
    assert all(row[3] == "user-actions" and row[4] == 1 and row[6] for row in rows)

    sent = pipeline.dead_letter_topic(len(bad))
    by_offset = {int(headers["offset"]): (headers["reason"], value) for headers, value in sent}
    assert [by_offset[offset] for offset in sorted(by_offset)] == bad
    assert all(headers["error"] and headers["partition"] == "1" for headers, _ in sent)
    assert pipeline.stop() == 0


def test_all_columns_arrive_as_they_were_sent(pipeline: Pipeline) -> None:
    event = slot_round(
        user_id=2**53 - 1,
        client_ts="2026-03-01T20:59:58.5+09:00",
        session_id="세션-🎰",
        source="게임",
        trace="ü",
        context={"round_id": "라운드", "state": "voided", "units": 10, "is_demo": True, "n": "é\n"},
    )
    pipeline.start()
    pipeline.produce([encode(event)])
    pipeline.wait()
    (row,) = pipeline.query(
        "select toString(event_id), user_id, action_type, initiator, toString(occurred_at), "
        "toString(client_ts), session_id, source, schema_version, context, round_id, round_state, "
        "game_type, bet, payout, units, is_demo from raw.events final where {here}"
    )
    assert row[:9] == (
        event["event_id"], 2**53 - 1, "SLOT_SPIN", "user", "2026-03-01 11:59:58.123",
        "2026-03-01 11:59:58.500", "세션-🎰", "게임", 1,
    )  # fmt: skip
    assert json.loads(str(row[9])) == event["context"] | {"_extra": {"trace": "ü"}}
    assert row[10:] == ("라운드", "voided", "slot", 0, 0, 10, True)


def test_every_action_type_lands(pipeline: Pipeline) -> None:
    pipeline.start()
    pipeline.produce(
        [encode(slot_round(action_type=name, context=c)) for name, c in VALID_CONTEXTS.items()]
    )
    pipeline.wait()
    rows = pipeline.query(
        "select action_type, initiator, game_type, context from raw.events final where {here}"
    )
    found = {name: (initiator, game, json.loads(str(c))) for name, initiator, game, c in rows}
    assert found == {
        name: (action.initiator, action.game_type or "", VALID_CONTEXTS[name])
        for name, action in ACTIONS.items()
    }


def test_duplicates_count_once_within_and_across_batches(pipeline: Pipeline) -> None:
    events = [encode(slot_round()) for _ in range(50)]
    pipeline.start()
    pipeline.produce(events + events[::-1])
    pipeline.wait()
    pipeline.produce(events)
    pipeline.wait()
    assert pipeline.count() == 50
    assert pipeline.query("select count() from raw.arrivals where {here}")[0][0] == 150


def test_one_batch_may_touch_more_than_a_hundred_months(pipeline: Pipeline) -> None:
    months = [f"{2015 + n // 12}-{n % 12 + 1:02d}-15T00:00:00Z" for n in range(130)]
    pipeline.changes |= {"ingest_max_rows": len(months), "ingest_linger_ms": 60_000}
    pipeline.produce([encode(slot_round(occurred_at=month)) for month in months], partition=0)
    pipeline.start()
    pipeline.wait()
    assert pipeline.count() == 130
    assert [len(ranges) for ranges in pipeline.own_ledger().values()] == [1]


def test_a_huge_message_is_a_dead_letter_whole(pipeline: Pipeline) -> None:
    huge = encode(slot_round(note="x" * 3_000_000))
    pipeline.start()
    pipeline.produce([encode(slot_round()), huge, encode(slot_round())], partition=0)
    pipeline.wait()
    assert pipeline.count() == 2
    assert pipeline.query(
        "select reason, length(value) from raw.dead_letters final where {here}"
    ) == [("too_large", len(huge))]
    ((headers, _),) = pipeline.dead_letter_topic(1)
    assert headers["reason"] == "too_large"


def test_metrics_count_what_happened(pipeline: Pipeline) -> None:
    port = free_port()
    pipeline.changes["ingest_metrics_port"] = port
    pipeline.start()
    known, unknown = slot_round(), slot_round(action_type="NEW_ACTION")
    pipeline.produce([encode(known), encode(unknown), b"["], partition=0)
    pipeline.wait()
    until(lambda: metric(port, "tally_ingest_batches_total") >= 1, "the metrics")
    assert metric(port, "tally_ingest_messages_total") == 3
    assert metric(port, "tally_ingest_rows_total") == 2
    assert metric(port, 'tally_ingest_dead_letters_total{reason="not_json"}') == 1
    assert metric(port, "tally_ingest_unknown_actions_total") == 1
    assert metric(port, 'tally_ingest_stored_offset{partition="0"}') == 2
    assert metric(port, "tally_ingest_insert_seconds_count") >= 1


def test_the_same_token_twice_stores_once_in_every_table(pipeline: Pipeline) -> None:
    """The answer to an insert is lost and the insert is sent again."""
    stream = Stream("lost-answer", "user-actions", 0)

    class Message:
        timestamp, key, headers = 0, None, ()

        def __init__(self, offset: int, value: bytes) -> None:
            self.offset, self.value = offset, value

    batch = Batch(stream, 0, 0.0)
    batch.add([Message(n, encode(slot_round()) if n % 10 else b"bad") for n in range(100)])
    payload, client = encoded([batch]), connect(pipeline.settings)
    for _ in range(3):
        client.raw_insert(
            "raw.landing", column_names=SCHEMA.names, insert_block=payload, fmt="ArrowStream",
            settings={**INSERT_SETTINGS, "insert_deduplication_token": batch.token},
        )  # fmt: skip
    for table, expected in (("events", 90), ("arrivals", 90), ("dead_letters", 10)):
        where = f"from raw.{table} where stream = 'lost-answer/user-actions/0'"
        assert client.command(f"select count() {where}") == expected


def test_ingestion_waits_for_kafka_and_the_commands_say_so(pipeline: Pipeline) -> None:
    pipeline.broker_url = f"127.0.0.1:{free_port()}"
    done = pipeline.command("wait", "--timeout", "0")
    assert done.returncode == 1
    assert "does not answer" in done.stderr


def test_wait_says_what_is_missing_when_ingestion_does_not_run(pipeline: Pipeline) -> None:
    assert pipeline.command("wait", "--timeout", "5").returncode == 0
    pipeline.produce([encode(slot_round())], partition=1)
    done = pipeline.command("wait", "--timeout", "0.3")
    assert done.returncode == 1
    assert "1 messages in partitions 1 (0 of 1)" in done.stderr
    assert "tally ingest" in done.stderr


def test_a_second_member_that_this_broker_refuses_takes_over_when_it_is_alone(
    pipeline: Pipeline,
) -> None:
    """The embedded broker refuses a follower that syncs after its leader: for 60 s once.

    So how soon the second has a share is luck here, and `test_ingest_apache_kafka.py` asks for it.
    """
    pipeline.start()
    other = pipeline.another("other")
    for number in range(PARTITIONS):
        pipeline.produce([encode(slot_round()) for _ in range(200)], partition=number)
    other.start(is_awaited=False)
    try:
        until(lambda: "joining the group again" in other.log or "assigned" in other.log, "a try")
        for number in range(PARTITIONS):
            pipeline.produce([encode(slot_round()) for _ in range(200)], partition=number)
        pipeline.wait()
        assert pipeline.stop() == 0
        pipeline.produce([encode(slot_round()) for _ in range(10)], partition=0)
        pipeline.wait()
    finally:
        assert other.stop() == 0
    assert pipeline.count() == 400 * PARTITIONS + 10


def test_readiness_says_what_is_waited_for(pipeline: Pipeline) -> None:
    port = free_port()
    pipeline.changes["ingest_metrics_port"] = port
    pipeline.start()
    until(lambda: ready(port)[0] == 200, "readiness")
    assert ready(port)[1]["partitions"] == PARTITIONS
    pipeline.query("rename table raw.landing to raw.landing_away")
    try:
        pipeline.produce([encode(slot_round())], partition=0)
        until(lambda: ready(port)[0] == 503, "word of what it waits for")
        (waiting,) = ready(port)[1]["waiting"]  # type: ignore[misc]
        assert "store batch" in str(waiting)
        assert "a table that is missing" in str(waiting)
    finally:
        pipeline.query("rename table raw.landing_away to raw.landing")
    pipeline.wait()
    until(lambda: ready(port)[0] == 200, "readiness")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        assert answer.status == 200


def test_a_backlog_is_stored_in_batches_as_large_as_it_allows(pipeline: Pipeline) -> None:
    """Small ones would cost the warehouse thrice as much a row, and no other test would see it."""
    count = ROWS_TOGETHER + 3_000
    for partition in range(3):
        pipeline.produce(pipeline.rounds(count), partition=partition)
    pipeline.start()
    pipeline.wait()
    assert pipeline.count() == 3 * count
    for ranges in pipeline.own_ledger().values():
        assert len([last for first, last, _ in ranges if last - first >= FEWEST_MORE]) == 1, ranges


def test_a_surge_of_bad_messages_pauses_before_it_is_stored(pipeline: Pipeline) -> None:
    port = free_port()
    pipeline.changes["ingest_metrics_port"] = port
    pipeline.produce([encode(slot_round()) for _ in range(10)] + [b"{"] * 2_000, partition=0)
    pipeline.start()
    until(lambda: ready(port)[1]["paused"] is not None, "the pause")
    assert ready(port)[0] == 503
    assert "not_json" in str(ready(port)[1]["paused"])
    assert metric(port, "tally_ingest_paused") == 1
    before = pipeline.query("select count() from raw.dead_letters where {here}")
    assert before[0][0] < 1_000  # type: ignore[operator]
    assert pipeline.stop() == 0
    assert pipeline.query("select count() from raw.dead_letters where {here}") == before
    # It is meant: let them through.
    pipeline.changes["ingest_max_dead_ratio"] = 1
    pipeline.start()
    pipeline.wait()
    assert pipeline.count() == 10
    assert pipeline.query("select count() from raw.dead_letters final where {here}") == [(2_000,)]
