"""Sends messages to the actions topic, acknowledged by every replica, or says that it could not."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from serving_api.actions.messages import Message
from tally.settings import Settings

logger = logging.getLogger(__name__)

SEND_SECONDS = 3.0
CONNECT_SECONDS = 2.0


class KafkaUnavailableError(Exception):
    """Kafka is away or did not acknowledge in time; sending the same ids again is safe."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Where an acknowledged message is."""

    partition: int
    offset: int


class ActionProducer:
    """One producer of the process, connected by the first message that needs it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self.cluster_id = ""

    async def send(self, messages: Sequence[Message]) -> list[Sent | KafkaUnavailableError]:
        """Send every message; the outcome of each, in their order.

        Raises `KafkaUnavailableError` where none was sent.
        """
        producer = await self._connected()
        outcomes = await asyncio.gather(
            *(self._send(producer, message) for message in messages), return_exceptions=True
        )
        found: list[Sent | KafkaUnavailableError] = []
        for outcome in outcomes:
            if isinstance(outcome, Sent | KafkaUnavailableError):
                found.append(outcome)
            else:
                raise outcome
        if not any(isinstance(outcome, Sent) for outcome in found):
            raise KafkaUnavailableError(str(found[0]))
        return found

    async def _send(self, producer: AIOKafkaProducer, message: Message) -> Sent:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                sent = await producer.send_and_wait(
                    # The key of every producer of this topic: a user stays on one partition.
                    self._settings.actions_topic,
                    message.value,
                    key=b"%d" % message.user_id,
                )
        except (TimeoutError, OSError, KafkaError) as error:
            raise KafkaUnavailableError(f"{type(error).__name__}: {error}") from error
        return Sent(sent.partition, sent.offset)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                self._producer = await self._connect()
            return self._producer

    async def _connect(self) -> AIOKafkaProducer:
        address = self._settings.kafka_bootstrap
        if address is None:
            raise KafkaUnavailableError("no broker is configured: TALLY_KAFKA_BOOTSTRAP is not set")
        producer = AIOKafkaProducer(
            bootstrap_servers=address,
            acks="all",
            # Not idempotent: aiokafka never gives up what such a producer was handed, so that with
            # Kafka away `stop` waits for ever. What is sent twice counts once, by its event id.
            request_timeout_ms=int(SEND_SECONDS * 1000),
        )
        admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=2_000)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await producer.start()
                await admin.start()
                self.cluster_id = str((await admin.describe_cluster())["cluster_id"])
        except (TimeoutError, OSError, KafkaError) as error:
            await producer.stop()
            raise KafkaUnavailableError(f"{type(error).__name__}: {error}") from error
        finally:
            await admin.close()
        return producer

    async def aclose(self) -> None:
        """Send what is under way, which ends within `SEND_SECONDS`, and disconnect."""
        if self._producer is not None:
            await self._producer.stop()
