"""What only a real broker does: sessions that end, rebalances, restarts, transactions."""

from pathlib import Path

from confluent_kafka import Producer

from tests.apache_kafka import start_apache_kafka
from tests.integration.ingest.pipeline import (
    LIMIT_S,
    PARTITIONS,
    Pipeline,
    encode,
    own_topics,
    slot_round,
    until,
)
from tests.servers import RunningServer

ROUNDS = 2_000


def rounds(count: int) -> list[bytes | None]:
    return [encode(slot_round()) for _ in range(count)]


def test_ingestion_makes_the_topics_that_are_missing(kafka_pipeline: Pipeline) -> None:
    pipeline = kafka_pipeline
    pipeline.changes |= own_topics() | {"topic_partitions": 12}
    done = pipeline.command("topics")
    assert done.stdout.count("with 12 partitions") == 3, done.stderr
    assert pipeline.command("topics").stdout == "all topics are there\n"
    pipeline.changes |= own_topics()
    pipeline.start()
    pipeline.produce(rounds(1), partition=11)
    pipeline.wait()
    assert pipeline.count() == 1


def test_two_consumers_three_and_one_while_messages_flow(kafka_pipeline: Pipeline) -> None:
    first = kafka_pipeline
    first.changes["ingest_max_rows"] = 300
    second, third = first.another("second"), first.another("third")
    sent = 0

    def produce() -> None:
        nonlocal sent
        for partition in range(PARTITIONS):
            first.produce(rounds(ROUNDS), partition=partition)
            sent += ROUNDS

    try:
        first.start()
        second.start()
        produce()
        third.start()
        produce()
        assert second.stop() == 0
        produce()
        third.kill()
        produce()
        first.wait()
        assert first.stop() == 0
    finally:
        second.end()
        third.end()
    assert first.count() == sent
    first.assert_contiguous()


def test_a_zombie_that_wakes_after_its_session_ended_changes_nothing(
    kafka_pipeline: Pipeline,
) -> None:
    zombie = kafka_pipeline
    zombie.changes["ingest_max_rows"] = 100
    zombie.start()
    for partition in range(PARTITIONS):
        zombie.produce(rounds(ROUNDS), partition=partition)
    until(lambda: zombie.count() > 0, "the first events")
    zombie.suspend()
    heir = zombie.another("heir")
    try:
        heir.start()
        heir.wait()
        zombie.resume()
        for partition in range(PARTITIONS):
            zombie.produce(rounds(100), partition=partition)
        heir.wait()
        assert zombie.stop() == 0
        zombie.wait()
        assert heir.stop() == 0
    finally:
        heir.end()
    assert zombie.count() == (ROUNDS + 100) * PARTITIONS
    zombie.assert_contiguous()


def test_a_broker_that_restarts_under_ingestion(
    tmp_path: Path, shared_warehouse: RunningServer
) -> None:
    with start_apache_kafka(tmp_path / "node") as node:
        pipeline = Pipeline(tmp_path, shared_warehouse.url, node.url)
        pipeline.migrate()
        pipeline.create_topics()
        try:
            pipeline.start()
            pipeline.produce(rounds(ROUNDS), partition=0)
            node.kill()
            node.start_again()
            pipeline.produce(rounds(ROUNDS), partition=1)
            pipeline.wait()
            node.suspend()
            node.resume()
            pipeline.produce(rounds(10), partition=0)
            pipeline.wait()
            assert pipeline.count() == 2 * ROUNDS + 10
            pipeline.assert_contiguous()
            assert "was replaced" not in pipeline.log
            assert pipeline.stop() == 0
        finally:
            pipeline.end()


def test_markers_of_transactions_are_gaps_and_aborted_messages_do_not_count(
    kafka_pipeline: Pipeline,
) -> None:
    pipeline = kafka_pipeline
    pipeline.start()
    producer = Producer(
        {"bootstrap.servers": pipeline.broker_url, "transactional.id": pipeline.folder.name}
    )
    producer.init_transactions(LIMIT_S)
    topic = pipeline.settings.actions_topic
    for commit in (True, False, True, False):
        producer.begin_transaction()
        for value in rounds(3):
            producer.produce(topic, value=value, key=b"1", partition=0)
        producer.flush(LIMIT_S)
        (producer.commit_transaction if commit else producer.abort_transaction)(LIMIT_S)
    pipeline.wait()
    assert pipeline.count() == 6
    (ranges,) = pipeline.own_ledger().values()
    assert max(last for _, last, _ in ranges) == 4 * (3 + 1) - 1
