"""Whatever is killed, everything that Kafka took is in raw once and the ledger has no hole."""

import functools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest import migrations
from ingest.migrations import Migration, read_chain
from tally.warehouse import connect
from tests.integration.ingest.conftest import Proving
from tests.integration.ingest.pipeline import (
    PARTITIONS,
    Pipeline,
    encode,
    free_port,
    ready,
    slot_round,
    until,
)
from tests.integration.ingest.proxy import Proxy
from tests.servers import RunningServer, start_clickhouse, start_kafka

EVENTS = 10_000
DOWN_S = 60
LEAVING_S = 6  # what leaving costs beyond the drain


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"\n".join(encode(slot_round(user_id=n % 500 + 1)) for n in range(EVENTS)))
    return path


@pytest.fixture
def own_warehouse(tmp_path: Path) -> Iterator[RunningServer]:
    """A warehouse that a test may kill."""
    with start_clickhouse(tmp_path / "warehouse") as server:
        yield server


@pytest.fixture(params=["embedded", "kafka"])
def any_pipeline(request: pytest.FixtureRequest) -> Pipeline:
    """Once on the embedded broker, once on Apache Kafka."""
    made: Pipeline = request.getfixturevalue(f"{request.param}_pipeline")
    return made


def test_ingestion_killed_amid_a_replay(any_pipeline: Pipeline, jsonl: Path) -> None:
    pipeline = any_pipeline
    pipeline.changes["ingest_max_rows"] = 1_000
    pipeline.start()
    assert pipeline.command("replay", str(jsonl), "--format", "jsonl").returncode == 0
    until(lambda: pipeline.count() > 0, "the first events")
    pipeline.kill()
    stored = pipeline.count()
    assert stored < EVENTS, "it was killed too late to prove anything"
    pipeline.start()
    pipeline.wait()
    assert pipeline.count() == EVENTS
    pipeline.assert_contiguous()
    assert pipeline.stop() == 0


def test_warehouse_killed_amid_a_replay(
    tmp_path: Path, own_warehouse: RunningServer, broker: RunningServer, jsonl: Path
) -> None:
    pipeline = Pipeline(tmp_path, own_warehouse.url, broker.url, {"ingest_max_rows": 1_000})
    pipeline.migrate()
    pipeline.start()
    try:
        assert pipeline.command("replay", str(jsonl), "--format", "jsonl").returncode == 0
        until(lambda: pipeline.count() > 0, "the first events")
        own_warehouse.kill()
        until(lambda: "waiting to" in pipeline.log, "word of what it waits for")
        port = int(own_warehouse.url.rpartition(":")[2])
        with start_clickhouse(tmp_path / "warehouse", port=port):
            pipeline.wait()
            assert pipeline.count() == EVENTS
            pipeline.assert_contiguous()
            assert pipeline.stop() == 0
    finally:
        pipeline.kill()


def test_the_ledger_decides_where_to_read_on_not_the_group(any_pipeline: Pipeline) -> None:
    """Stored without a ledger row: killed between the two. Read again, counted once."""
    pipeline = any_pipeline
    values = [encode(slot_round()) for _ in range(100)]
    pipeline.start()
    pipeline.produce(values, partition=0)
    pipeline.wait()
    assert pipeline.stop() == 0
    pipeline.query("alter table raw.ingest_ledger delete where {here} settings mutations_sync = 2")
    pipeline.start()
    pipeline.wait()
    assert pipeline.count() == 100
    pipeline.assert_contiguous()


def test_a_broker_that_was_replaced_is_reported_and_the_new_one_is_read_from_its_start(
    tmp_path: Path, own_warehouse: RunningServer
) -> None:
    with start_kafka(tmp_path / "first", partitions=PARTITIONS) as first:
        pipeline = Pipeline(tmp_path, own_warehouse.url, first.url)
        pipeline.migrate()
        pipeline.start()
        pipeline.produce([encode(slot_round()) for _ in range(50)], partition=0)
        pipeline.wait()
        assert pipeline.stop() == 0
    with start_kafka(tmp_path / "second", partitions=PARTITIONS) as second:
        pipeline.broker_url = second.url
        pipeline.produce([encode(slot_round()) for _ in range(20)], partition=0)
        pipeline.start()
        pipeline.wait()
        pipeline.assert_contiguous()
        assert pipeline.count() == 20
        assert "was replaced" in pipeline.log
        before = pipeline.ledger()
        assert sum(kind == "replaced" for ranges in before.values() for *_, kind in ranges) == 1
        # Said once, not at every start.
        assert pipeline.stop() == 0
        told = pipeline.log.count("was replaced")
        pipeline.start()
        pipeline.produce([encode(slot_round())], partition=0)
        pipeline.wait()
        assert pipeline.log.count("was replaced") == told
        assert pipeline.stop() == 0


def test_messages_that_the_broker_forgot_are_recorded_as_lost(pipeline: Pipeline) -> None:
    """The embedded broker keeps about 5 MiB a partition."""
    pipeline.produce([encode(slot_round())], partition=0)
    pipeline.start()
    pipeline.wait()
    assert pipeline.stop() == 0
    note = "x" * 15_000
    for _ in range(10):
        values = [encode(slot_round(context={**slot_round()["context"], "note": note}))  # type: ignore[dict-item]
                  for _ in range(70)]  # fmt: skip
        pipeline.produce(values, partition=0)
    pipeline.start()
    pipeline.wait()
    pipeline.assert_contiguous()
    (ranges,) = pipeline.own_ledger().values()
    lost = sum(last - first + 1 for first, last, kind in ranges if kind == "lost")
    assert lost > 0
    assert pipeline.count() == 701 - lost
    assert f"LOST {lost} messages" in pipeline.log


def test_ingestion_survives_a_poisoned_start(any_pipeline: Pipeline) -> None:
    """Only bad messages, on every partition, before anything good: the partitions go on."""
    pipeline = any_pipeline
    for partition in range(3):
        pipeline.produce([b"\x00", None, b"{}"], partition=partition)
    pipeline.start()
    pipeline.produce([encode(slot_round())], partition=1)
    pipeline.wait()
    assert pipeline.count() == 1
    pipeline.assert_contiguous()


def test_a_message_that_the_warehouse_refuses_is_found_and_the_others_are_stored(
    tmp_path: Path, own_warehouse: RunningServer, broker: RunningServer
) -> None:
    """The token of the whole batch has failed; its halves are stored down to the message."""
    pipeline = Pipeline(tmp_path, own_warehouse.url, broker.url)
    pipeline.migrate()
    pipeline.query("alter table raw.events add constraint c check user_id not in (13, 17)")
    users = [*range(1, 101)]
    pipeline.produce([encode(slot_round(user_id=user)) for user in users], partition=0)
    pipeline.start()
    try:
        pipeline.wait()
        assert pipeline.count() == 98
        rows = pipeline.query(
            "select offset, reason, value != '' from raw.dead_letters final order by offset"
        )
        assert rows == [(12, "refused", 1), (16, "refused", 1)]
        account = pipeline.verify()
        assert (account["events"], account["dead_letters"]) == (98, 2)
        assert pipeline.stop() == 0
    finally:
        pipeline.end()


def test_a_view_that_fails_is_waited_for(faulty_pipeline: Pipeline) -> None:
    """Some tables have the batch and others not, until the view works again: then each has it."""
    pipeline = faulty_pipeline
    with pipeline.failing_arrivals(f"user_id = {pipeline.users[7]}"):
        pipeline.produce(pipeline.rounds(100), partition=0)
        pipeline.start()
        until(lambda: "waiting to store batch" in pipeline.log, "word of what it waits for")
    pipeline.wait()
    assert pipeline.verify()["events"] == 100
    assert pipeline.query("select count() from raw.arrivals where {here}") == [(100,)]
    assert pipeline.stop() == 0


def says(pipeline: Pipeline, text: str) -> bool:
    return text in pipeline.log


def rows_of(pipeline: Pipeline, table: str) -> int:
    ((rows,),) = pipeline.query(f"select count() from {table} where {{here}}")
    return int(str(rows))


def test_an_insert_whose_answer_is_lost(faulty_pipeline: Pipeline, proving: Proving) -> None:
    """It is done and nobody hears of it: claims and batches are sent again and are there once."""
    pipeline = faulty_pipeline
    with Proxy(proving.warehouse.url) as proxy:
        pipeline.warehouse_url = proxy.url
        pipeline.start()
        pipeline.warehouse_url = proving.warehouse.url  # for what the test itself asks
        for asked, step, written in (
            ("raw.event_ids", "claim", "raw.event_ids"),
            ("raw.landing", "store", "raw.arrivals"),
        ):
            before = rows_of(pipeline, written)
            proxy.loses_answers_about = asked
            pipeline.produce([*pipeline.rounds(100), b"{"], partition=0)
            until(functools.partial(says, pipeline, f"waiting to {step}"), "a lost answer")
            assert rows_of(pipeline, written) > before, "nothing was done"
            proxy.loses_answers_about = ""
            pipeline.wait()
        account = pipeline.verify()
        assert (account["events"], account["duplicates"], account["dead_letters"]) == (200, 0, 2)
        for table in ("raw.events", "raw.arrivals", "raw.event_ids"):
            assert rows_of(pipeline, table) == 200
        assert pipeline.stop() == 0


@pytest.mark.parametrize(
    "lost", ["raw.event_ids", "raw.events", "raw.round_events", "raw.arrivals", "raw.dead_letters"]
)
def test_a_table_that_remembers_a_batch_and_has_lost_it(
    lost: str, faulty_pipeline: Pipeline, proving: Proving
) -> None:
    """A warehouse that is killed between token and rows says of the retry that it is done."""
    pipeline = faulty_pipeline
    is_claim = lost == "raw.event_ids"
    with Proxy(proving.warehouse.url) as proxy:
        pipeline.warehouse_url = proxy.url
        pipeline.start()
        pipeline.warehouse_url = proving.warehouse.url  # for what the test itself asks
        proxy.loses_answers_about = "raw.event_ids" if is_claim else "raw.landing"
        # The bad one first: what comes last may be in a batch of its own.
        pipeline.produce([b"{", *pipeline.rounds(100)], partition=0)
        step = "claim" if is_claim else "store"
        until(functools.partial(says, pipeline, f"waiting to {step}"), "a lost answer")
        theirs = "{here}"
        if lost == "raw.round_events":
            theirs = "event_id in (select event_id from raw.events where {here})"
        pipeline.query(f"alter table {lost} delete where {theirs} settings mutations_sync = 1")
        proxy.loses_answers_about = ""
        pipeline.wait()
    assert says(pipeline, "are not there" if is_claim else "is not whole")
    account = pipeline.verify()
    assert (account["events"], account["duplicates"], account["dead_letters"]) == (100, 0, 1)
    for table in ("raw.event_ids", "raw.arrivals"):
        assert rows_of(pipeline, table) == 100, table
    ((rounds,),) = pipeline.query(
        "select uniqExact(event_id) from raw.round_events"
        " where event_id in (select event_id from raw.events where {here})"
    )
    assert rounds == 100
    assert pipeline.stop() == 0


def test_a_warehouse_that_is_down_for_a_minute(faulty_pipeline: Pipeline, proving: Proving) -> None:
    """Messages flow on, SIGTERM still works, and a new start waits as well."""
    pipeline = faulty_pipeline
    port = free_port()
    pipeline.changes |= {
        "ingest_max_rows": 50, "ingest_metrics_port": port, "ingest_drain_seconds": 2,
    }  # fmt: skip
    pipeline.start()
    pipeline.produce(pipeline.rounds(2_000), partition=0)
    until(lambda: pipeline.count() > 0, "the first events")
    proving.kill_warehouse()
    down_since = time.monotonic()
    sent_meanwhile = 0
    try:
        until(lambda: "needs a connection" in str(ready(port)[1]["waiting"]), "the words")
        assert ready(port)[0] == 503
        asked = time.monotonic()
        assert pipeline.stop() == 0
        assert time.monotonic() - asked < 2 + LEAVING_S
        pipeline.start()
        while time.monotonic() - down_since < DOWN_S:
            pipeline.produce(pipeline.rounds(20), partition=1)
            sent_meanwhile += 20
            time.sleep(1)  # the minute is the fault
    finally:
        proving.start_warehouse_again()
    pipeline.wait()
    until(lambda: ready(port)[0] == 200, "readiness")
    assert pipeline.verify()["events"] == 2_000 + sent_meanwhile
    assert pipeline.stop() == 0


def test_a_migration_under_running_ingestion(
    tmp_path: Path, own_warehouse: RunningServer, broker: RunningServer
) -> None:
    """A typed column with a default: no stop, no loss, old and new events have it."""
    pipeline = Pipeline(tmp_path, own_warehouse.url, broker.url, {"ingest_max_rows": 25})
    pipeline.migrate()
    pipeline.start()
    process = pipeline.process
    assert process is not None
    chain = read_chain()
    wheel = Migration(
        len(chain) + 1,
        "wheel.sql",
        "0" * 64,
        (
            (
                "alter table raw.events add column wheel LowCardinality(String) "
                "default JSONExtractString(context, 'wheel')"
            ),
        ),
    )
    stake = {"bet": 1, "payout": 0, "wheel": "gold"}
    events = [slot_round(context={"round_id": f"r{n}", **stake}) for n in range(6_000)]
    try:
        pipeline.produce([encode(event) for event in events[:5_000]], partition=0)
        until(lambda: pipeline.count() > 0, "the first events")
        assert list(migrations.migrate(connect(pipeline.settings), [*chain, wheel])) == [wheel]
        assert pipeline.count() < 5_000, "all was stored: nothing ran under the migration"
        pipeline.produce([encode(event) for event in events[5_000:]], partition=1)
        pipeline.wait()
        assert process.poll() is None
        assert "waiting to" not in pipeline.log
        assert pipeline.verify()["events"] == 6_000
        assert pipeline.query("select countIf(wheel = 'gold'), count() from raw.events final") == [
            (6_000, 6_000)
        ]
        assert pipeline.stop() == 0
    finally:
        pipeline.end()
