"""Follows Kafka and tells the connected users of this process what happens to them.

Two topics: `user-actions`, where an accepted event becomes frames, and `stats-updates`, by which
the game backend says what is no action. Read without a group, from the end: what happened before a
connection is in its `initial_state`. While Kafka is away numbers still follow the ledger.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from serving_api.clock import Clock
from serving_api.consistency import ConsistencyToken
from serving_api.realtime.frames import CARD_ACTIONS, FORWARDED, frame, frames_of, parse_update
from serving_api.realtime.hub import Hub
from serving_api.realtime.metrics import RealtimeMetrics
from tally.events import Rejection, parse
from tally.settings import Settings
from tally.tokens import MAX_USER_ID

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
CONNECT_SECONDS = 10.0
POLL_MS = 1_000
FETCH_WAIT_MS = 25
# About 2 us a message whose user is not connected: others wait at most so long for the event loop.
MAX_RECORDS = 2_000
# An event is told once, however often its producer sends it within so many.
MAX_TOLD = 10_000

# Told of an event after which a card is another one, with the event's consistency token.
CardChanged = Callable[[int, ConsistencyToken], Coroutine[Any, Any, None]]


class Feed:
    """Reads both topics from the end for as long as the process lives."""

    def __init__(
        self,
        settings: Settings,
        hub: Hub,
        metrics: RealtimeMetrics,
        clock: Clock,
        card_changed: CardChanged,
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._metrics = metrics
        self._clock = clock
        self._card_changed = card_changed
        self._cluster_id = ""
        self._told: OrderedDict[str, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def follow(self) -> None:
        """Read until cancelled; while Kafka is away, try again."""
        if self._settings.kafka_bootstrap is None:
            logger.warning("events are not pushed: TALLY_KAFKA_BOOTSTRAP is not set")
            return
        while True:
            try:
                await self._read()
            except (OSError, KafkaError, TimeoutError) as error:
                logger.warning("events cannot be pushed while Kafka is away: %s", error)
            except Exception:
                logger.exception("events cannot be pushed")
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> None:
        address = self._settings.kafka_bootstrap
        consumer = AIOKafkaConsumer(
            self._settings.actions_topic,
            self._settings.updates_topic,
            bootstrap_servers=address,
            group_id=None,
            auto_offset_reset="latest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            # The embedded broker seems to answer an empty fetch only after this time, also when a
            # message comes meanwhile: with 250 ms the median frame came after 249 ms.
            fetch_max_wait_ms=FETCH_WAIT_MS,
            metadata_max_age_ms=30_000,
        )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await consumer.start()
                self._cluster_id = await _cluster_id(address)
                # Without a position the end is looked up at the first fetch, and an event in
                # between would be missed.
                await consumer.seek_to_end()
            while True:
                found = await consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
                for records in found.values():
                    for record in records:
                        self._take(record)
        finally:
            await consumer.stop()

    def _take(self, record: ConsumerRecord) -> None:
        # Producers key by user, so most messages are known to be nobody's without being read.
        user_id = _user_of(record.key)
        if user_id is not None and not self._hub.is_listening(user_id):
            return
        try:
            if record.topic == self._settings.actions_topic:
                self._take_action(record)
            else:
                self._take_update(record)
        except ValueError as error:
            self._metrics.rejected.labels(record.topic).inc()
            logger.debug("no frame is made of a message of %s: %s", record.topic, error)

    def _take_action(self, record: ConsumerRecord) -> None:
        now = self._clock()
        event = parse(record.value, received_at=now)
        if isinstance(event, Rejection):
            raise ValueError(event.error)
        if not self._hub.is_listening(event.user_id) or self._is_told(event.event_id):
            return
        token = ConsistencyToken(self._cluster_id, {record.partition: record.offset})
        for each in frames_of(event, str(token), now):
            self._hub.push(event.user_id, each, record.timestamp / 1000)
        if event.action_type in CARD_ACTIONS:
            task = asyncio.create_task(self._card_changed(event.user_id, token))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take_update(self, record: ConsumerRecord) -> None:
        update, said = parse_update(record.value or b"")
        if said is None:
            self._hub.numbers_changed([update.user_id])
        elif update.type in FORWARDED:
            told = frame(update.type, update.user_id, said, self._clock())
            self._hub.push(update.user_id, told, record.timestamp / 1000)

    def _is_told(self, event_id: str) -> bool:
        """Whether the event was told already; from now on it was."""
        if event_id in self._told:
            return True
        self._told[event_id] = None
        if len(self._told) > MAX_TOLD:
            self._told.popitem(last=False)
        return False


async def _cluster_id(address: str | None) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=2_000)
    try:
        await admin.start()
        return str((await admin.describe_cluster())["cluster_id"])
    finally:
        await admin.close()


def _user_of(key: bytes | None) -> int | None:
    """The user whom a message's key names; None where it names none, and the message is read."""
    if key is None or len(key) > 16 or not key.isdigit():
        return None
    user_id = int(key)
    return user_id if user_id <= MAX_USER_ID else None
