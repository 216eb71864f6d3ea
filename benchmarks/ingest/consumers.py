"""Reading the topic and nothing else, with either Python client: what no consumer can do without.

`python -m benchmarks.ingest.consumers BOOTSTRAP TOPIC ROWS aiokafka|confluent` prints JSON.
"""

import asyncio
import gc
import resource
import sys
import time
from collections.abc import Callable

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import OFFSET_BEGINNING, Consumer
from confluent_kafka import TopicPartition as Assigned

from ingest.service import GC_THRESHOLDS

BATCH = 5_000


async def consume_aiokafka(bootstrap: str, topic: str, rows: int, begin: Callable[[], None]) -> int:
    """As ingestion does: `getmany` on all partitions, every value touched."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=2 * 2**20
    )
    await consumer.start()
    await consumer._client.force_metadata_update()
    consumer.assign([TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)])
    await consumer.seek_to_beginning()
    begin()
    seen = size = 0
    while seen < rows:
        for records in (await consumer.getmany(timeout_ms=50, max_records=BATCH)).values():
            seen += len(records)
            size += sum(len(record.value) for record in records)
    await consumer.stop()
    return size


def consume_confluent(bootstrap: str, topic: str, rows: int, begin: Callable[[], None]) -> int:
    """librdkafka's own threads read ahead; every value is touched."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "benchmark-confluent",
            "enable.auto.commit": False,
            "queued.max.messages.kbytes": 64 * 1024,
        }
    )
    partitions = consumer.list_topics(topic).topics[topic].partitions
    begin()
    consumer.assign([Assigned(topic, p, OFFSET_BEGINNING) for p in partitions])
    seen = size = 0
    while seen < rows:
        messages = consumer.consume(BATCH, 0.05)
        seen += len(messages)
        size += sum(len(message.value()) for message in messages)
    consumer.close()
    return size


def main() -> None:
    """Consume the topic and print the figures."""
    bootstrap, topic, rows, client = sys.argv[1:]
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    started: list[float] = []

    def begin() -> None:
        started[:] = [time.monotonic(), time.process_time()]

    if client == "aiokafka":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(consume_aiokafka(bootstrap, topic, int(rows), begin))
    else:
        consume_confluent(bootstrap, topic, int(rows), begin)
    figures = {
        "rows": int(rows),
        "seconds": time.monotonic() - started[0],
        "cpu": {"client": time.process_time() - started[1]},
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(msgspec.json.encode(figures).decode())


if __name__ == "__main__":
    main()
