"""What only a real broker does: sessions that end, rebalances, restarts, transactions."""

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from tests.apache_kafka import ApacheKafka
from tests.integration.ingest.pipeline import (
    LIMIT_S,
    PARTITIONS,
    Pipeline,
    own_topics,
    until,
)

ROUNDS = 400


def test_ingestion_makes_the_topics_that_are_missing(kafka_pipeline: Pipeline) -> None:
    pipeline = kafka_pipeline
    pipeline.changes |= own_topics() | {"topic_partitions": 12}
    done = pipeline.command("topics")
    assert done.stdout.count("with 12 partitions") == 3, done.stderr
    assert pipeline.command("topics").stdout == "all topics are there\n"
    pipeline.changes |= own_topics()
    pipeline.start()
    pipeline.produce(pipeline.rounds(1), partition=11)
    pipeline.wait()
    assert pipeline.count() == 1


def test_partitions_that_are_added_are_read(kafka_pipeline: Pipeline) -> None:
    pipeline = kafka_pipeline
    pipeline.start()
    more = NewPartitions(pipeline.settings.actions_topic, PARTITIONS + 1)
    admin = AdminClient({"bootstrap.servers": pipeline.broker_url})
    admin.create_partitions([more])[more.topic].result(LIMIT_S)
    pipeline.produce(pipeline.rounds(1), partition=PARTITIONS)
    pipeline.wait()
    assert pipeline.verify()["events"] == 1


def test_two_consumers_three_and_one_while_messages_flow(faulty_pipeline: Pipeline) -> None:
    first = faulty_pipeline
    first.changes["ingest_max_rows"] = 50
    second, third = first.another("second"), first.another("third")
    sent = 0

    def produce() -> None:
        nonlocal sent
        for partition in range(PARTITIONS):
            first.produce(first.rounds(ROUNDS), partition=partition)
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
        assert first.count() < sent, "all was stored: no batch was under way"
        first.wait()
        assert first.stop() == 0
    finally:
        second.end()
        third.end()
    assert first.verify()["events"] == sent


def test_a_zombie_that_wakes_after_its_session_ended_changes_nothing(
    faulty_pipeline: Pipeline,
) -> None:
    zombie = faulty_pipeline
    zombie.changes["ingest_max_rows"] = 25
    zombie.start()
    for partition in range(PARTITIONS):
        zombie.produce(zombie.rounds(ROUNDS), partition=partition)
    until(lambda: zombie.count() > 0, "the first events")
    zombie.suspend()
    assert zombie.count() < ROUNDS * PARTITIONS, "all was stored: nothing was under way"

    def produce_more() -> None:
        for partition in range(PARTITIONS):
            zombie.produce(zombie.rounds(100), partition=partition)

    zombie.wake_behind_an_heir(produce_more)
    assert zombie.verify()["events"] == (ROUNDS + 100) * PARTITIONS


def test_a_broker_that_restarts_under_ingestion(
    faulty_pipeline: Pipeline, apache_kafka: ApacheKafka
) -> None:
    pipeline = faulty_pipeline
    pipeline.start()
    pipeline.produce(pipeline.rounds(ROUNDS), partition=0)
    apache_kafka.kill()
    apache_kafka.start_again()
    pipeline.produce(pipeline.rounds(ROUNDS), partition=1)
    pipeline.wait()
    apache_kafka.suspend()
    apache_kafka.resume()
    pipeline.produce(pipeline.rounds(10), partition=0)
    pipeline.wait()
    assert "was replaced" not in pipeline.log
    assert pipeline.stop() == 0
    assert pipeline.verify()["events"] == 2 * ROUNDS + 10


def test_a_name_that_outlives_the_process_has_its_partitions_back_without_a_rebalance(
    faulty_pipeline: Pipeline,
) -> None:
    """Static membership: the other member notices neither the kill nor the new start."""
    first = faulty_pipeline
    first.changes["ingest_instance"] = "first"
    second = first.another("second")
    second.changes["ingest_instance"] = "second"
    try:
        first.start()
        second.start()
        until(lambda: first.log.count("assigned") == 2, "both to have a share")
        told = second.log.count("assigned")
        first.kill()
        first.start()
        for partition in range(PARTITIONS):
            first.produce(first.rounds(50), partition=partition)
        first.wait()
        assert second.log.count("assigned") == told
        assert (first.stop(), second.stop()) == (0, 0)
    finally:
        second.end()
    assert first.verify()["events"] == 50 * PARTITIONS


def test_markers_of_transactions_are_gaps_and_aborted_messages_do_not_count(
    faulty_pipeline: Pipeline,
) -> None:
    """In the middle of partition 0, and at the end of partition 1 with nothing behind them."""
    pipeline = faulty_pipeline
    pipeline.start()
    producer = Producer(
        {"bootstrap.servers": pipeline.broker_url, "transactional.id": pipeline.folder.name}
    )
    producer.init_transactions(LIMIT_S)
    topic = pipeline.settings.actions_topic
    for partition, is_committed in ((0, True), (0, False), (1, True), (1, False)):
        producer.begin_transaction()
        for value in pipeline.rounds(3):
            producer.produce(topic, value=value, key=b"1", partition=partition)
        producer.flush(LIMIT_S)
        (producer.commit_transaction if is_committed else producer.abort_transaction)(LIMIT_S)
    pipeline.produce(pipeline.rounds(2), partition=0)
    pipeline.wait()
    account = pipeline.verify()
    assert (account["events"], account["gaps"]) == (3 + 3 + 2, 2 * (1 + 3 + 1))


def test_what_compaction_took_away_is_a_gap(faulty_pipeline: Pipeline) -> None:
    """A topic that keeps the last message of each key, cleaned before it is read."""
    pipeline = faulty_pipeline
    pipeline.changes["actions_topic"] = topic = f"{pipeline.settings.actions_topic}-compacted"
    compacted = {
        "cleanup.policy": "compact",
        "segment.ms": "50",
        "min.cleanable.dirty.ratio": "0.01",
    }
    admin = AdminClient({"bootstrap.servers": pipeline.broker_url})
    (made,) = admin.create_topics([NewTopic(topic, 1, 1, config=compacted)]).values()
    made.result(LIMIT_S)
    for key in (b"same", b"same", b"other", b"same"):
        pipeline.produce(pipeline.rounds(10), partition=0, key=key)
    reader = Consumer(
        {
            "bootstrap.servers": pipeline.broker_url,
            "group.id": "reader",
            "enable.partition.eof": True,
        }
    )

    def kept() -> int:
        """The messages still there, after one more: it lets the segment before be cleaned."""
        pipeline.produce(pipeline.rounds(1), partition=0, key=b"last")
        reader.assign([TopicPartition(topic, 0, 0)])
        found = 0
        while (message := reader.poll(LIMIT_S)) is not None and message.error() is None:
            found += 1
        return found

    until(lambda: kept() < 20, "the cleaner")
    reader.close()
    pipeline.start()
    pipeline.wait()
    account = pipeline.verify()
    assert account["gaps"] >= 20
    assert pipeline.stop() == 0
