"""Publishes messages to the actions topic, no faster than a forgetful broker can afford."""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tally.errors import TallyError
from tally.settings import Settings

logger = logging.getLogger(__name__)

LINGER_MS = 5
BATCH_BYTES = 128 * 1024
POLL_S = 0.05
COMPLAIN_AFTER_S = 15.0


class Publisher:
    """Sends messages keyed by user, and waits while a partition holds too much that is unread."""

    def __init__(
        self,
        topic: str,
        producer: AIOKafkaProducer,
        unread: "UnreadBytes | None",
    ) -> None:
        self._topic = topic
        self._producer = producer
        self._unread = unread

    async def publish(self, messages: Iterable[tuple[int, bytes]]) -> None:
        """Send (user id, value) pairs; returns when the broker has all of them."""
        if self._unread is not None:
            await self._unread.wait_for_room()
        sizes = []
        sent = []
        for user_id, value in messages:
            sent.append(await self._producer.send(self._topic, value, key=b"%d" % user_id))
            sizes.append(len(value))
        for size, metadata in zip(sizes, await asyncio.gather(*sent), strict=True):
            if self._unread is not None:
                self._unread.add(metadata.partition, metadata.offset, size)


class UnreadBytes:
    """What this process sent and the ingest group has not committed yet, by partition."""

    def __init__(self, topic: str, group: str, limit: int, admin: AIOKafkaAdminClient) -> None:
        self._topic = topic
        self._group = group
        self._limit = limit
        self._admin = admin
        self._messages: defaultdict[int, deque[tuple[int, int]]] = defaultdict(deque)
        self._bytes: defaultdict[int, int] = defaultdict(int)

    def add(self, partition: int, offset: int, size: int) -> None:
        """Count a message of `size` bytes."""
        self._messages[partition].append((offset, size))
        self._bytes[partition] += size

    async def wait_for_room(self) -> None:
        """Return when every partition has room for a batch of a quarter of the limit."""
        told = time.monotonic()
        while self._is_full():
            await self._forget_committed()
            if self._is_full():
                await asyncio.sleep(POLL_S)
            if time.monotonic() - told >= COMPLAIN_AFTER_S:
                logger.warning("waiting for ingestion to read what was sent; is it running?")
                told = time.monotonic()

    def _is_full(self) -> bool:
        return max(self._bytes.values(), default=0) >= self._limit * 3 // 4

    async def _forget_committed(self) -> None:
        offsets = await self._admin.list_consumer_group_offsets(
            self._group,
            partitions=[TopicPartition(self._topic, partition) for partition in self._messages],
        )
        for partition, found in offsets.items():
            messages = self._messages[partition.partition]
            while messages and messages[0][0] < found.offset:
                self._bytes[partition.partition] -= messages.popleft()[1]


@asynccontextmanager
async def open_publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """A publisher to the settings' broker. Raises `TallyError` where it does not answer."""
    address = settings.endpoint("kafka_bootstrap")
    producer = AIOKafkaProducer(
        bootstrap_servers=address,
        acks="all",
        enable_idempotence=True,
        linger_ms=LINGER_MS,
        max_batch_size=BATCH_BYTES,
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    try:
        await producer.start()
        await admin.start()
        limit = settings.kafka_max_unread_bytes
        unread = (
            None
            if limit is None
            else UnreadBytes(settings.actions_topic, settings.ingest_group, limit, admin)
        )
        yield Publisher(settings.actions_topic, producer, unread)
    except KafkaError as error:
        raise TallyError(
            f"Kafka at {address} did not take the messages: {error}",
            hint="Is the stack up? `tally status` says.",
        ) from error
    finally:
        await producer.stop()
        await admin.close()
