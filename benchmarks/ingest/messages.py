"""The messages that every contestant reads: a simulated world's, in the topic before they start."""

from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from simulator.events import encode
from simulator.world import World
from tally.errors import TallyError

PLAYERS = 5_000
START = date(2026, 7, 1)
PRODUCE_LIMIT_S = 120.0


def write_messages(path: Path, count: int) -> None:
    """Write the first `count` messages of the world, one a line."""
    events = World(1, PLAYERS, 60, START).events()
    with path.open("wb") as file:
        file.writelines(encode(event) + b"\n" for event in islice(events, count))


def read_messages(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Keys (the user) and values."""
    with path.open("rb") as file:
        for line in file:
            user = line.partition(b'"user_id":')[2].partition(b",")[0]
            yield user, line.rstrip(b"\n")


def produce(bootstrap: str, topic: str, path: Path, partitions: int) -> int:
    """Make the topic and put the file's messages there, keyed by user; returns their number."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "queue.buffering.max.messages": 500_000,
        }
    )
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    count = 0
    for key, value in read_messages(path):
        while True:
            try:
                producer.produce(topic, value=value, key=key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
        producer.poll(0)
    if producer.flush(PRODUCE_LIMIT_S) or failed:
        raise TallyError(f"The broker did not take the messages: {failed[:1]}")
    return count
