"""How far ingestion has come: the broker's end offsets against what the ledger covers."""

import time
from collections.abc import Callable
from typing import TypeVar

from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import Consumer, KafkaException, TopicPartition
from msgspec import Struct

from ingest.ledger import current, read_positions
from tally.errors import TallyError
from tally.settings import Settings
from tally.warehouse import connect

T = TypeVar("T")

POLL_S = 0.1
BROKER_LIMIT_S = 10.0


class Backlog(Struct, frozen=True):
    """The messages of one partition that are in Kafka and not readable yet."""

    partition: int
    next_offset: int
    end_offset: int

    @property
    def messages(self) -> int:
        """How many of them."""
        return max(0, self.end_offset - self.next_offset)

    @property
    def is_covered(self) -> bool:
        """Whether the ledger covers the log up to its end."""
        # A ledger that is ahead belongs to a topic that was made anew: nothing of it is stored.
        return self.next_offset == self.end_offset


class Broker:
    """The broker as seen from outside of the consumer group."""

    def __init__(self, settings: Settings) -> None:
        self.topic = settings.actions_topic
        self._address = settings.endpoint("kafka_bootstrap")
        self._consumer = Consumer(
            {
                "bootstrap.servers": self._address,
                "group.id": settings.ingest_group,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 2,
            }
        )

    def describe(self) -> tuple[str, list[int]]:
        """The cluster's id and the topic's partitions.

        Raises `TallyError` where the broker does not answer or has no such topic.
        """
        metadata = self._ask(lambda: self._consumer.list_topics(timeout=BROKER_LIMIT_S))
        topic = metadata.topics.get(self.topic)
        if topic is None or topic.error is not None:
            raise TallyError(f"Kafka at {self._address} has no topic {self.topic}.")
        return str(metadata.cluster_id), sorted(topic.partitions)

    def log_bounds(self, partition: int) -> tuple[int, int]:
        """The first offset that the broker still has, and the end of the log."""
        tp = TopicPartition(self.topic, partition)
        first, end = self._ask(
            lambda: self._consumer.get_watermark_offsets(tp, timeout=BROKER_LIMIT_S)
        )
        return first, end

    def committed(self, partitions: list[int]) -> dict[int, int]:
        """The group's committed offsets; 0 where it never committed."""
        asked = [TopicPartition(self.topic, partition) for partition in partitions]
        found = self._ask(lambda: self._consumer.committed(asked, timeout=BROKER_LIMIT_S))
        return {tp.partition: max(0, tp.offset) for tp in found}

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except KafkaException as error:
            raise TallyError(
                f"Kafka at {self._address} does not answer: {error.args[0].str()}"
            ) from error

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


def read_backlog(client: Client, broker: Broker) -> list[Backlog]:
    """The backlog of every partition of the current cluster."""
    cluster_id, partitions = broker.describe()
    bounds = {partition: broker.log_bounds(partition) for partition in partitions}
    positions = read_positions(client, broker.topic)
    backlog = []
    for partition, (log_start, log_end) in bounds.items():
        position = current(positions, cluster_id, partition, broker.topic)
        # What the ledger gave up for lost is lost only where the broker does not have it either.
        reached = max(position.next_offset, min(position.accounted, log_start))
        backlog.append(Backlog(partition, reached, log_end))
    return backlog


def wait_until_stored(
    settings: Settings, *, timeout_s: float, say: Callable[[str], None] = print
) -> None:
    """Return when the ledger covers the end offsets of all partitions.

    Raises `TallyError` when it does not within `timeout_s` seconds.
    """
    limit = time.monotonic() + timeout_s
    told = ""
    broker = Broker(settings)
    client: Client | None = None
    try:
        while True:
            try:
                client = connect(settings) if client is None else client
                behind = [b for b in read_backlog(client, broker) if not b.is_covered]
                text = _describe(behind)
            except (TallyError, ClickHouseError, OSError) as error:
                behind, text = None, f"waiting for an answer: {error}"
            if behind == []:
                say("everything in Kafka is readable in the warehouse")
                return
            if time.monotonic() >= limit:
                raise TallyError(
                    f"Not stored after {timeout_s:g} s: {text}.",
                    hint="Is `tally ingest` running? Its log says what it waits for.",
                )
            if text != told:
                say(text)
                told = text
            time.sleep(POLL_S)
    finally:
        broker.close()


def _describe(behind: list[Backlog]) -> str:
    messages = sum(b.messages for b in behind)
    named = ", ".join(f"{b.partition} ({b.next_offset:,} of {b.end_offset:,})" for b in behind[:4])
    more = f" and {len(behind) - 4} more" if len(behind) > 4 else ""
    return f"waiting for {messages:,} messages in partitions {named}{more}"
