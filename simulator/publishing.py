"""Publishes messages to the actions topic, no faster than a forgetful broker can afford."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tally.errors import TallyError
from tally.settings import Settings
from tally.unread import UnreadBytes

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
        window: "Window | None",
    ) -> None:
        self._topic = topic
        self._producer = producer
        self._window = window

    async def publish(self, messages: Iterable[tuple[int, bytes]]) -> None:
        """Send (user id, value) pairs; returns when the broker has all of them."""
        if self._window is not None:
            await self._window.wait_for_room()
        sizes = []
        sent = []
        for user_id, value in messages:
            sent.append(await self._producer.send(self._topic, value, key=b"%d" % user_id))
            sizes.append(len(value))
        for size, metadata in zip(sizes, await asyncio.gather(*sent), strict=True):
            if self._window is not None:
                self._window.sent(metadata.partition, metadata.offset, size)


class Window:
    """Keeps what this process sent and the ingest group has not committed within a limit."""

    def __init__(self, topic: str, group: str, limit: int, admin: AIOKafkaAdminClient) -> None:
        self._topic = topic
        self._group = group
        self._limit = limit
        self._admin = admin
        self._unread = UnreadBytes()

    def sent(self, partition: int, offset: int, size: int) -> None:
        """Count a delivered message."""
        self._unread.add(partition, offset, size)

    async def wait_for_room(self) -> None:
        """Return when every partition has room for a batch of a quarter of the limit."""
        told = time.monotonic()
        while self._is_full():
            self._unread.read_up_to(await self._committed())
            if self._is_full():
                await asyncio.sleep(POLL_S)
            if time.monotonic() - told >= COMPLAIN_AFTER_S:
                logger.warning("waiting for ingestion to read what was sent; is it running?")
                told = time.monotonic()

    def _is_full(self) -> bool:
        return self._unread.fullest >= self._limit * 3 // 4

    async def _committed(self) -> dict[int, int]:
        offsets = await self._admin.list_consumer_group_offsets(
            self._group,
            partitions=[TopicPartition(self._topic, each) for each in self._unread.partitions],
        )
        return {partition.partition: found.offset for partition, found in offsets.items()}


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
        window = (
            None
            if limit is None
            else Window(settings.actions_topic, settings.ingest_group, limit, admin)
        )
        yield Publisher(settings.actions_topic, producer, window)
    except KafkaError as error:
        raise TallyError(
            f"Kafka at {address} did not take the messages: {error}",
            hint="Is the stack up? `tally status` says.",
        ) from error
    finally:
        await producer.stop()
        await admin.close()
