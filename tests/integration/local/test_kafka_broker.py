"""The embedded broker, asked by the clients that production uses."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from tally.local.kafka import RETAINED_BYTES
from tests.servers import RunningServer, start_kafka

TOPIC = "user-actions"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with start_kafka(tmp_path_factory.mktemp("broker") / "kafka") as running:
        yield running


async def _cluster(broker: RunningServer) -> tuple[str, dict[str, int]]:
    """The cluster's id, and the number of partitions by topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        cluster = await admin.describe_cluster()
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    return cluster["cluster_id"], {each["topic"]: len(each["partitions"]) for each in topics}


async def test_it_starts_with_the_topics_and_partitions_of_the_settings(
    broker: RunningServer,
) -> None:
    _, topics = await _cluster(broker)
    assert topics == {"user-actions": 12, "user-actions.dlq": 12, "stats-updates": 12}


async def test_each_start_is_another_cluster(broker: RunningServer, tmp_path: Path) -> None:
    with start_kafka(tmp_path / "kafka", partitions=3) as other:
        other_id, topics = await _cluster(other)
    assert topics[TOPIC] == 3
    assert other_id != (await _cluster(broker))[0]


def test_its_start_says_that_it_keeps_nothing(tmp_path: Path) -> None:
    with start_kafka(tmp_path / "kafka") as broker:
        assert broker.stop() == 0
    assert "keeps NOTHING on disk" in (tmp_path / "kafka.log").read_text()


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("codec", [None, "gzip"])
async def test_a_message_comes_back_as_it_was_sent(
    broker: RunningServer, codec: str | None, idempotent: bool
) -> None:
    value = os.urandom(2000)
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, compression_type=codec, enable_idempotence=idempotent
    )
    await producer.start()
    try:
        sent = await producer.send_and_wait(
            TOPIC, value, key=b"42", partition=1, headers=[("origin", b"test")]
        )
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap)
    await consumer.start()
    try:
        partition = TopicPartition(TOPIC, 1)
        consumer.assign([partition])
        consumer.seek(partition, sent.offset)
        message = await consumer.getone()
    finally:
        await consumer.stop()
    assert (message.key, message.value, message.headers) == (b"42", value, (("origin", b"test"),))


async def test_a_commit_keeps_its_metadata(broker: RunningServer) -> None:
    partition = TopicPartition(TOPIC, 2)
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=broker.bootstrap, group_id="keeper", enable_auto_commit=False
    )
    await consumer.start()
    try:
        assert len(consumer.assignment()) == 12
        await consumer.commit({partition: OffsetAndMetadata(7, '{"end": 9}')})
        assert await consumer.committed(partition) == 7
    finally:
        await consumer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        # Without naming partitions this call fails here: the broker answers null for "all".
        offsets = await admin.list_consumer_group_offsets("keeper", partitions=[partition])
    finally:
        await admin.close()
    assert offsets == {partition: OffsetAndMetadata(7, '{"end": 9}')}


async def test_what_is_over_five_mebibytes_is_forgotten_oldest_first(broker: RunningServer) -> None:
    partition, size, count = TopicPartition(TOPIC, 3), 100_000, 100
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    try:
        for _ in range(count):
            await producer.send_and_wait(TOPIC, os.urandom(size), partition=partition.partition)
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="none")
    await consumer.start()
    try:
        consumer.assign([partition])
        first = (await consumer.beginning_offsets([partition]))[partition]
        assert (await consumer.end_offsets([partition]))[partition] == count
        assert RETAINED_BYTES - 2 * size < (count - first) * size <= RETAINED_BYTES
        consumer.seek(partition, first - 1)
        with pytest.raises(OffsetOutOfRangeError):
            await consumer.getone()
    finally:
        await consumer.stop()
