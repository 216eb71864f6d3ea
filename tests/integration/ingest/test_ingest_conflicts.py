"""One id, two payloads: the first accepted counts, the other is a dead letter."""

import json
import uuid
from datetime import UTC, datetime
from itertools import permutations
from types import SimpleNamespace

from clickhouse_connect.driver import Client

from ingest import claims
from ingest.migrations.chain import read_chain
from ingest.verdicts import judge
from tally.warehouse import connect
from tests.integration.ingest.pipeline import Pipeline, encode, slot_round

SHAPE = "select toString(event_id), user_id, toString(occurred_at), bet from raw.events final"


def other(event: dict[str, object], **changes: object) -> dict[str, object]:
    """The same id with another stake, or with what is named."""
    return event | (changes or {"context": {"round_id": "x", "bet": 1, "payout": 0}})


def conflicts(pipeline: Pipeline) -> list[tuple[int, int]]:
    rows = pipeline.query(
        "select partition, offset from raw.dead_letters final "
        "where reason = 'conflict' and {here} order by partition, offset"
    )
    return [(int(str(partition)), int(str(offset))) for partition, offset in rows]


def test_the_first_payload_counts_within_a_batch(pipeline: Pipeline) -> None:
    event = slot_round()
    pipeline.produce([encode(event), encode(other(event)), encode(event)], partition=0)
    pipeline.start()
    pipeline.wait()
    assert conflicts(pipeline) == [(0, 1)]
    assert pipeline.query(SHAPE + " where {here}") == [
        (event["event_id"], 1, "2026-03-01 11:59:58.123", 100)
    ]
    ((headers, value),) = pipeline.dead_letter_topic(1)
    assert (headers["reason"], value) == ("conflict", encode(other(event)))
    assert str(event["event_id"]) in headers["error"]
    assert "offset 0 of" in headers["error"]


def test_across_users_partitions_months_and_restarts(kafka_pipeline: Pipeline) -> None:
    pipeline = kafka_pipeline
    event = slot_round(user_id=1, occurred_at="2026-01-31T23:59:59.999Z")
    pipeline.start()
    pipeline.produce([encode(event)], partition=0)
    pipeline.wait()
    assert pipeline.stop() == 0
    pipeline.start()
    pipeline.produce([encode(other(event, user_id=2))], partition=1)
    pipeline.produce(
        [encode(other(event, occurred_at="2026-02-01T00:00:00.000Z")), encode(event)], partition=2
    )
    upper = other(event, event_id=str(event["event_id"]).upper())
    pipeline.produce([encode(upper), encode(other(event))], partition=0)
    pipeline.wait()
    assert conflicts(pipeline) == [(0, 2), (1, 0), (2, 0)]
    pipeline.query("optimize table raw.events final")
    assert pipeline.query(SHAPE + " where {here}") == [
        (event["event_id"], 1, "2026-01-31 23:59:59.999", 100)
    ]
    account = pipeline.verify()
    assert (account["events"], account["duplicates"], account["dead_letters"]) == (1, 2, 3)


def test_reading_the_same_offsets_again_is_no_conflict(kafka_pipeline: Pipeline) -> None:
    """Whatever was stored of a range, its second reading gives the same verdicts."""
    pipeline = kafka_pipeline
    events = [slot_round() for _ in range(50)]
    values = [encode(e) for e in events] + [encode(other(e)) for e in events[::2]]
    pipeline.start()
    pipeline.produce(values, partition=0)
    pipeline.wait()
    assert pipeline.stop() == 0
    before = pipeline.query(SHAPE + " where {here} order by event_id")
    pipeline.query("alter table raw.ingest_ledger delete where {here} settings mutations_sync = 2")
    # Another slice: other tokens, so that all of it is written again.
    pipeline.changes["ingest_max_rows"] = 7
    pipeline.start()
    pipeline.wait()
    assert len(conflicts(pipeline)) == 25
    assert pipeline.query(SHAPE + " where {here} order by event_id") == before
    assert pipeline.verify()["events"] == 50


def claimed(stream: str, message: dict[str, object], offset: int) -> claims.Claims:
    """What a batch of this one message claims."""
    value = json.dumps(message).encode()
    record = SimpleNamespace(offset=offset, timestamp=0, key=b"", value=value, headers=())
    return claims.claims_of(stream, judge([record], datetime.now(UTC)).events)


def insert(client: Client, *together: claims.Claims) -> None:
    """Claim in one block."""
    client.raw_insert(
        "raw.event_ids",
        column_names=claims.SCHEMA.names,
        insert_block=claims.encode(together),
        fmt="ArrowStream",
    )


def test_two_consumers_that_race_agree_on_the_first(pipeline: Pipeline) -> None:
    """Claims in every order of two rivals: both ask after both claimed, and answer the same."""
    client = connect(pipeline.settings)
    event = slot_round()

    for order in permutations(("rivals/a/0", "rivals/b/0", "rivals/c/0")):
        event["event_id"] = str(uuid.uuid4())
        made = {
            stream: claimed(stream, other(event, user_id=n + 1), offset=9 - n)
            for n, stream in enumerate(sorted(order))
        }
        for stream in order:
            insert(client, made[stream])
            found = claims.contested(client, made[stream].event_ids)
            # The answer that it gets now is the one that all get later.
            assert bool(claims.conflicts(made[stream], found)) == (stream != order[0])
        client.command("optimize table raw.event_ids final")
        for stream in order:
            found = claims.contested(client, made[stream].event_ids)
            assert bool(claims.conflicts(made[stream], found)) == (stream != order[0])


def test_of_batches_that_claim_together_one_is_the_first(pipeline: Pipeline) -> None:
    """Two partitions in one block, at the same offset: neither block number nor offset tells."""
    client = connect(pipeline.settings)
    event = slot_round()
    alone = slot_round()
    rivals = [
        claimed("together/b/0", event, offset=3),
        claimed("together/a/0", other(event), offset=3),
        claimed("together/c/0", alone, offset=3),
    ]
    insert(client, *rivals)

    def second() -> list[str]:
        found = claims.contested(client, b"".join(each.event_ids for each in rivals))
        return [each.stream for each in rivals if claims.conflicts(each, found)]

    assert second() == ["together/b/0"]
    insert(client, claimed("together/0/0", other(event, user_id=9), offset=1))
    client.command("optimize table raw.event_ids final")
    assert second() == ["together/b/0"]


def test_a_claim_is_missing_although_another_has_claimed_its_id(pipeline: Pipeline) -> None:
    client = connect(pipeline.settings)
    event = slot_round()
    first, second = (claimed(f"missing/{name}/0", event, offset=5) for name in "ab")
    assert claims.missing(client, [first, second]) == 2
    insert(client, first)
    assert claims.missing(client, [first]) == 0
    assert claims.missing(client, [first, second]) == 1
    insert(client, second)
    assert claims.missing(client, [first, second]) == 0


def test_the_migration_claims_what_was_stored_before_it(pipeline: Pipeline) -> None:
    """Its SQL makes the same hash of a stored row as ingestion makes of the message."""
    pipeline.start()
    values = [
        encode(slot_round(user_id=7, client_ts="2026-03-01T11:59:58.5+09:00", session_id="세션")),
        encode(slot_round(source="게임", context={"round_id": "é\\n", "bet": 1, "payout": 0})),
        encode({"event_id": str(uuid.uuid4()), "user_id": 3, "action_type": "LOGIN",
                "occurred_at": "2026-03-01T11:59:58Z", "trace": "t"}),
    ]  # fmt: skip
    pipeline.produce(values, partition=0)
    pipeline.wait()
    (_, backfill) = read_chain()[1].statements
    _, _, select = backfill.partition("select")
    made = select.replace("from raw.events", "from raw.events where {here}")
    assert pipeline.query(
        "select event_id, payload, stream, offset from raw.event_ids where {here} order by offset"
    ) == pipeline.query("select" + made)
