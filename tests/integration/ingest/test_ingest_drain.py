"""SIGTERM: what was read is stored or left by intent, within the deadline, and then it is gone."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.ingest.pipeline import Pipeline, encode, free_port, metric, slot_round, until
from tests.servers import RunningServer, start_clickhouse

AN_HOUR_MS = 3_600_000
DRAIN_S = 2
# What leaving costs beyond the drain: goodbyes to Kafka, the end of the interpreter.
LEAVING_S = 6


@pytest.fixture
def reading(kafka_pipeline: Pipeline) -> Pipeline:
    """Ingestion that stores nothing by itself: only the signal closes a batch."""
    pipeline = kafka_pipeline
    pipeline.changes |= {"ingest_linger_ms": AN_HOUR_MS, "ingest_metrics_port": free_port()}
    pipeline.start()
    return pipeline


def wait_until_read(pipeline: Pipeline, count: int) -> None:
    port = pipeline.settings.ingest_metrics_port
    assert port is not None
    until(lambda: metric(port, "tally_ingest_messages_total") == count, "the messages to be read")


def test_what_was_read_is_stored_before_it_leaves(reading: Pipeline) -> None:
    reading.produce([encode(slot_round()) for _ in range(30)], partition=2)
    wait_until_read(reading, 30)
    assert reading.count() == 0
    assert reading.stop() == 0
    reading.wait(timeout_s=0.5)
    assert reading.count() == 30


def test_a_surge_is_not_let_through_by_the_signal(reading: Pipeline) -> None:
    """The batch was never due, so the guard has not seen it: the drain has to ask."""
    reading.produce([encode(slot_round())] * 5 + [b"{"] * 2_000, partition=0)
    reading.produce([encode(slot_round())], partition=1)
    wait_until_read(reading, 2_006)
    assert reading.stop() == 0
    assert "PAUSED" in reading.log
    assert reading.query("select count() from raw.dead_letters where {here}") == [(0,)]
    reading.changes |= {"ingest_max_dead_ratio": 1, "ingest_linger_ms": 50}
    reading.start()
    reading.wait()
    account = reading.verify()
    assert (account["events"], account["duplicates"], account["dead_letters"]) == (2, 4, 2_000)


@pytest.fixture
def own_warehouse(tmp_path: Path) -> Iterator[RunningServer]:
    with start_clickhouse(tmp_path / "warehouse") as server:
        yield server


def test_a_batch_without_an_answer_is_left_by_intent(
    tmp_path: Path, own_warehouse: RunningServer, broker: RunningServer
) -> None:
    """The warehouse hangs: the insert may have been taken or not, and nobody can say."""
    pipeline = Pipeline(tmp_path, own_warehouse.url, broker.url, {"ingest_drain_seconds": DRAIN_S})
    pipeline.migrate()
    pipeline.start()
    try:
        pipeline.produce([encode(slot_round())], partition=0)
        pipeline.wait()
        own_warehouse.suspend()
        pipeline.produce([encode(slot_round()) for _ in range(40)], partition=0)
        time.sleep(1)  # into the step that hangs; nothing outside shows which
        started = time.monotonic()
        assert pipeline.stop() == 0
        assert time.monotonic() - started < DRAIN_S + LEAVING_S
        assert "it is read again from 1" in pipeline.log
        own_warehouse.resume()
        pipeline.start()
        pipeline.wait()
        assert pipeline.count() == 41
        pipeline.assert_contiguous()
        assert pipeline.stop() == 0
    finally:
        own_warehouse.resume()
        pipeline.end()
