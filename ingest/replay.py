"""Produces a file's messages to Kafka: in order, backwards, shuffled or with duplicates."""

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from msgspec import Struct
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from ingest.progress import Broker
from ingest.sources import READERS, Outgoing
from tally.errors import TallyError
from tally.settings import Settings
from tally.unread import UnreadBytes

T = TypeVar("T")

CHUNK_BYTES = 4 * 2**20
SAY_EVERY_S = 5.0
POLL_S = 0.02
DELIVERY_LIMIT_S = 60.0


class Order(Struct, frozen=True):
    """In what order messages are sent, and with what probability each is sent twice."""

    seed: int | None = None
    reverse: bool = False
    duplicate: float = 0.0

    def apply(self, messages: Iterable[T]) -> Iterator[T]:
        """The messages in this order. Only a shuffle or a reversal holds them all in memory."""
        draw = random.Random(0 if self.seed is None else self.seed)  # noqa: S311 - reproducible
        repeated = _with_duplicates(messages, self.duplicate, draw) if self.duplicate else messages
        if self.seed is None and not self.reverse:
            return iter(repeated)
        everything = list(repeated)
        if self.reverse:
            everything.reverse()
        else:
            draw.shuffle(everything)
        return iter(everything)


def _with_duplicates(messages: Iterable[T], probability: float, draw: random.Random) -> Iterator[T]:
    for message in messages:
        yield message
        if draw.random() < probability:
            yield message


class Window:
    """Keeps what is produced and not yet read by ingestion within a limit, in bytes a partition."""

    def __init__(self, settings: Settings, limit: int) -> None:
        self._limit = limit
        self._broker = Broker(settings)
        self._unread = UnreadBytes()
        _, partitions = self._broker.describe()
        committed = self._broker.committed(partitions)
        self._before = {
            p: (end, max(0, end - max(first, committed[p])))
            for p in partitions
            for first, end in [self._broker.log_bounds(p)]
        }

    @property
    def chunk_bytes(self) -> int:
        """How much may be sent before asking again; all of it may go to one partition."""
        return max(1, min(CHUNK_BYTES, self._limit // 4))

    def assume(self, mean_bytes: float) -> None:
        """Count what lay there unread before, as messages of this mean size."""
        for partition, (end, messages) in self._before.items():
            if messages:
                self.sent(partition, end - 1, int(messages * mean_bytes))
        self._before.clear()

    def sent(self, partition: int, offset: int, size: int) -> None:
        """Count a delivered message."""
        self._unread.add(partition, offset, size)

    def wait_for_room(self, say: Callable[[str], None]) -> None:
        """Return when every partition holds less than half of the limit unread."""
        told = time.monotonic()
        while self._is_full():
            self._unread.read_up_to(self._broker.committed(self._unread.partitions))
            if not self._is_full():
                return
            if time.monotonic() - told >= SAY_EVERY_S:
                told = time.monotonic()
                say(f"waiting for ingestion: {self._unread.total:,} bytes are unread in Kafka")
            time.sleep(POLL_S)

    def _is_full(self) -> bool:
        return self._unread.fullest >= self._limit // 2

    def close(self) -> None:
        """Disconnect."""
        self._broker.close()


class Sender:
    """An idempotent producer: a message is in the log once and in order, or an error is raised."""

    def __init__(self, settings: Settings, window: Window | None) -> None:
        self._topic = settings.actions_topic
        self._address = settings.endpoint("kafka_bootstrap")
        self._window = window
        self._error: KafkaError | None = None
        self.delivered = 0
        self._producer = Producer(
            {
                "bootstrap.servers": self._address,
                "enable.idempotence": True,
                "acks": "all",
                # The partition that every Java client and aiokafka choose for the same key.
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
                "message.max.bytes": 64 * 2**20,
                "log_level": 2,
            }
        )

    def send(self, chunk: Iterable[Outgoing]) -> None:
        """Produce a chunk and wait until the broker has all of it."""
        for message in chunk:
            self._producer.produce(
                self._topic, value=message.value, key=message.key, on_delivery=self._on_delivery
            )
            self._producer.poll(0)
        left = self._producer.flush(DELIVERY_LIMIT_S)
        if self._error is not None:
            raise TallyError(
                f"Kafka at {self._address} refused a message: {self._error.str()}"
            ) from KafkaException(self._error)
        if left:
            raise TallyError(
                f"Kafka at {self._address} took no message within {DELIVERY_LIMIT_S:.0f} s.",
                hint=f"{self.delivered:,} messages are delivered; sending the file again is safe.",
            )

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = self._error or error
            return
        self.delivered += 1
        if self._window is not None:
            size = len(message.value() or b"") + len(message.key() or b"")
            self._window.sent(message.partition() or 0, message.offset() or 0, size)


def _chunks(
    messages: Iterator[Outgoing], most_bytes: int, rate: float | None
) -> Iterator[list[Outgoing]]:
    """Lists of messages, at most so many bytes each, and a tenth of a second's worth at a rate."""
    most = max(1, int(rate / 10)) if rate is not None else sys.maxsize
    chunk: list[Outgoing] = []
    size = 0
    for message in messages:
        chunk.append(message)
        size += len(message.value)
        if size >= most_bytes or len(chunk) >= most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def replay_file(
    settings: Settings, path: Path, file_format: str, order: Order, *, rate: float | None = None
) -> int:
    """Produce the events of a file, at most `rate` a second; returns the number of messages sent.

    Raises `TallyError` where the file or the broker fails.
    """
    total = round(_count_lines(path) * (1 + order.duplicate))
    limit = settings.kafka_max_unread_bytes
    window = None if limit is None else Window(settings, limit)
    sender = Sender(settings, window)
    started = time.monotonic()
    try:
        with _Teller(path.name, total) as teller:
            messages = order.apply(READERS[file_format](path))
            most_bytes = CHUNK_BYTES if window is None else window.chunk_bytes
            for chunk in _chunks(messages, most_bytes, rate):
                if window is not None:
                    window.assume(sum(len(m.value) for m in chunk) / len(chunk))
                    window.wait_for_room(teller.say)
                sender.send(chunk)
                teller.advance(sender.delivered)
                if rate is not None:
                    time.sleep(max(0.0, started + sender.delivered / rate - time.monotonic()))
    finally:
        if window is not None:
            window.close()
    seconds = time.monotonic() - started
    click.echo(f"sent {sender.delivered:,} messages of {path.name} in {seconds:.1f} s")
    return sender.delivered


def _count_lines(path: Path) -> int:
    """About how many messages a file holds, without parsing it."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(CHUNK_BYTES), b""))


class _Teller:
    """A progress bar on a terminal, and one line an interval elsewhere."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total = name, total
        self._said = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            from rich.console import Console

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TaskProgressColumn(show_speed=True),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(name, total=total)

    def __enter__(self) -> "_Teller":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, sent: int) -> None:
        """Tell how many are sent."""
        if self._bar is not None:
            self._bar.update(self._task, completed=sent)
        elif time.monotonic() - self._said >= SAY_EVERY_S:
            self._said = time.monotonic()
            click.echo(f"{self._name}: {sent:,} of about {self._total:,} messages sent", err=True)

    def say(self, text: str) -> None:
        """Tell what is waited for."""
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            click.echo(text, err=True)
