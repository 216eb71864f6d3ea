"""Small batches of several partitions share one insert; whatever befalls it, each is there once."""

import asyncio
import time
from asyncio import TaskGroup
from types import SimpleNamespace
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.httpclient import HttpClient

from ingest.batch import Batch
from ingest.consumer import SESSION_S
from ingest.presence import end_inserts
from ingest.streams import Stream
from ingest.surge import FEWEST
from ingest.writer import WarehouseWriter
from tally.warehouse import connect
from tests.integration.ingest.conftest import Proving
from tests.integration.ingest.pipeline import (
    PARTITIONS,
    Pipeline,
    encode,
    free_port,
    inserting_slowly,
    metric,
    ready,
    slot_round,
    until,
)
from tests.integration.ingest.proxy import Proxy

EACH = 60  # messages a partition
ONE_BY_ONE = "are stored one by one"


@pytest.fixture
def pipeline(faulty_pipeline: Pipeline) -> Pipeline:
    """Whose batches wait so long that those of all partitions meet."""
    faulty_pipeline.changes["ingest_linger_ms"] = 1_000
    return faulty_pipeline


def produce_everywhere(pipeline: Pipeline) -> None:
    for partition in range(PARTITIONS):
        pipeline.produce([*pipeline.rounds(EACH), b"{"], partition=partition)


def assert_each_once(pipeline: Pipeline, rounds: int = 1) -> None:
    events, letters = rounds * EACH * PARTITIONS, rounds * PARTITIONS
    account = pipeline.verify()
    found = (account["events"], account["duplicates"], account["dead_letters"])
    assert found == (events, 0, letters)
    for table, rows in (("arrivals", events), ("events final", events), ("event_ids", events)):
        assert pipeline.query(f"select count() from raw.{table} where {{here}}") == [(rows,)], table


def test_there_are_fewer_inserts_than_batches(pipeline: Pipeline) -> None:
    port = free_port()
    pipeline.changes["ingest_metrics_port"] = port
    produce_everywhere(pipeline)
    pipeline.start()
    pipeline.wait()
    until(lambda: metric(port, "tally_ingest_batches_total") >= PARTITIONS, "the metrics")
    inserts = metric(port, "tally_ingest_insert_seconds_count")
    assert 1 <= inserts < metric(port, "tally_ingest_batches_total")
    assert_each_once(pipeline)
    assert pipeline.stop() == 0


def test_the_answer_to_a_shared_insert_is_lost(pipeline: Pipeline, proving: Proving) -> None:
    """It is done and nobody hears of it: each batch is looked for and found."""
    with Proxy(proving.warehouse.url) as proxy:
        pipeline.warehouse_url = proxy.url
        pipeline.start()
        pipeline.warehouse_url = proving.warehouse.url  # for what the test itself asks
        proxy.loses_answers_about = "raw.landing"
        produce_everywhere(pipeline)
        until(lambda: ONE_BY_ONE in pipeline.log, "a shared insert that failed")
        proxy.loses_answers_about = ""
        pipeline.wait()
        assert pipeline.stop() == 0
    assert_each_once(pipeline)


def test_a_view_fails_under_a_shared_insert(pipeline: Pipeline) -> None:
    """Some tables have all of it and others nothing; whose messages are fine need not wait."""
    with pipeline.failing_arrivals("endsWith(stream, '/0')"):
        produce_everywhere(pipeline)
        pipeline.start()
        until(lambda: ONE_BY_ONE in pipeline.log, "a shared insert that failed")
        until(lambda: len(pipeline.own_ledger()) == PARTITIONS - 1, "the other partitions")
    pipeline.wait()
    assert_each_once(pipeline)
    assert pipeline.stop() == 0


def test_a_zombie_between_claim_and_insert_shares_nothing_any_more(pipeline: Pipeline) -> None:
    """Its lease is over: each batch has the token under which the heir has stored it."""
    produce_everywhere(pipeline)
    zombie = pipeline
    zombie.start("tests.integration.ingest.dying", "stands-still-after-claim", "1")
    until(lambda: zombie.is_still, "the zombie")
    assert zombie.count() == 0
    zombie.wake_behind_an_heir(lambda: produce_everywhere(zombie))
    assert_each_once(zombie, rounds=2)


def test_a_batch_that_is_given_up_while_it_waits_is_not_in_the_insert(
    embedded_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its partition has another owner by then, who stores it too."""
    tokens: list[str] = []
    original = HttpClient.raw_insert

    def noting(self: HttpClient, table: str, *arguments: Any, **options: Any) -> Any:
        if table == "raw.landing":
            tokens.append(options["settings"]["insert_deduplication_token"])
        return original(self, table, *arguments, **options)

    monkeypatch.setattr(HttpClient, "raw_insert", noting)
    # Of a topic that no account is asked for: the ledger has no row of them.
    batches = [batch_of(Stream("cluster", "given-up", n)) for n in range(PARTITIONS)]
    given_up, *others = batches

    async def insert() -> None:
        writer = WarehouseWriter(embedded_pipeline.settings)
        async with TaskGroup() as inserts, writer._slots, writer._slots:  # of two full batches
            for batch in batches:
                inserts.create_task(writer.insert(batch))
            await asyncio.sleep(0.1)  # they have met, and wait
            assert not tokens
            given_up.leased_until = 0.0
        writer.close()

    asyncio.run(insert())
    assert tokens == [",".join(batch.token for batch in others), given_up.token]


def batch_of(stream: Stream) -> Batch:
    batch = Batch(stream, 0, 0.0)
    values = [encode(slot_round()) for _ in range(EACH)]
    batch.add(
        [
            SimpleNamespace(offset=n, timestamp=0, key=b"1", value=value, headers=())
            for n, value in enumerate(values)
        ]
    )
    batch.leased_until = time.monotonic() + SESSION_S
    return batch


def test_a_surge_that_every_partition_has_a_part_of_is_not_stored(
    embedded_pipeline: Pipeline,
) -> None:
    """Each part is too small to be one, and all of them go together."""
    pipeline, port = embedded_pipeline, free_port()
    pipeline.changes |= {"ingest_linger_ms": 1_000, "ingest_metrics_port": port}
    for partition in range(PARTITIONS):
        pipeline.produce([b"{"] * (FEWEST - 1), partition=partition)
    pipeline.start()
    until(lambda: ready(port)[1]["paused"] is not None, "the pause")
    assert pipeline.stop() == 0
    ((letters,),) = pipeline.query("select count() from raw.dead_letters final where {here}")
    assert int(str(letters)) < FEWEST


def test_an_heir_ends_what_its_former_owner_still_inserts(pipeline: Pipeline) -> None:
    stream, client = Stream("cluster", "topic", 1), connect(pipeline.settings)
    tokens = [f"{stream}:12-30", "cluster/topic/2:0-9:without-abc"]
    with inserting_slowly(pipeline.settings, tokens) as ending:
        for another in (
            Batch(stream, 1, 0.0),  # 12 begins with it
            Batch(Stream("cluster", "topic", 11), 12, 0.0),
            Batch(Stream("other-cluster", "topic", 1), 12, 0.0),
        ):
            end_inserts(client, another)
        assert not ending.done()
        end_inserts(client, Batch(Stream("cluster", "topic", 2), 0, 0.0))
        with pytest.raises(DatabaseError, match="QUERY_WAS_CANCELLED"):
            ending.result(5)
    assert pipeline.query("select count() from raw.arrivals where stream = 'slow'") == [(0,)]
