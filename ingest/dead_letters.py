"""Sends rejected messages to the dead-letter topic: their bytes, with the verdict in headers."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from ingest.retry import until_done
from ingest.streams import Stream
from ingest.verdicts import DeadLetter

# The broker's limit is the one that counts; the client's own (1 MiB) would be met by a letter that
# the broker took, plus its headers.
MAX_REQUEST_BYTES = 64 * 2**20
MAX_ERROR_CHARACTERS = 2_000


def headers(stream: Stream, letter: DeadLetter) -> list[tuple[str, bytes]]:
    """What a reader of the dead-letter topic needs to know: verdict and origin."""
    return [
        ("reason", letter.rejection.reason.encode()),
        ("error", letter.rejection.error[:MAX_ERROR_CHARACTERS].encode("utf-8", "replace")),
        ("cluster_id", stream.cluster_id.encode()),
        ("topic", stream.topic.encode()),
        ("partition", str(stream.partition).encode()),
        ("offset", str(letter.message.offset).encode()),
    ]


class DeadLetterTopic:
    """Produces dead letters. A retry may repeat one: its origin headers tell."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_request_size=MAX_REQUEST_BYTES,
        )

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Flush and disconnect."""
        await self._producer.stop()

    async def send(self, stream: Stream, letters: Sequence[DeadLetter]) -> None:
        """Produce the letters of one batch and wait until the broker has them all."""
        subject = f"{len(letters)} dead letters of {stream}"
        await until_done("send", subject, lambda: self._send_all(stream, letters))

    async def _send_all(self, stream: Stream, letters: Sequence[DeadLetter]) -> None:
        await asyncio.gather(*(self._send(stream, letter) for letter in letters))

    async def _send(self, stream: Stream, letter: DeadLetter) -> None:
        message, described = letter.message, headers(stream, letter)
        try:
            await self._produce(message.key, message.value, described)
        except MessageSizeTooLargeError:
            # Only the headers make it larger than what the broker took from its producer.
            described.append(("value", b"omitted: it is in raw.dead_letters"))
            await self._produce(message.key, None, described)

    async def _produce(
        self, key: bytes | None, value: bytes | None, described: list[tuple[str, bytes]]
    ) -> None:
        if key is None and value is None:
            value = b""  # the client sends no message without either, as Kafka itself would
        await (await self._producer.send(self._topic, value=value, key=key, headers=described))
