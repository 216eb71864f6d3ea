"""Where deliveries go: a file, or the platform (the backend's own record and Kafka)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import BinaryIO

from simulator.faults import Delivery
from simulator.publishing import Publisher, open_publisher
from simulator.record import SystemOfRecord, open_record
from tally.settings import Settings


class FileDestination:
    """Messages as JSON lines; no message holds a newline, not even a malformed one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        """Write the messages."""
        self._file.writelines(
            delivery.value + b"\n" for delivery in deliveries if delivery.value is not None
        )


class Platform:
    """The system of record, where there is one, and then the topic.

    In this order, as in the backend that is played: what dies in between is in the record and was
    never sent, which reconciliation must find.
    """

    def __init__(self, record: SystemOfRecord | None, publisher: Publisher) -> None:
        self._record = record
        self._publisher = publisher

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        """Commit the new actions to the record, then publish."""
        if self._record is not None:
            actions = [delivery for delivery in deliveries if delivery.recorded]
            await asyncio.to_thread(self._record.write, actions)
        await self._publisher.publish(
            (delivery.event.user_id, delivery.value)
            for delivery in deliveries
            if delivery.value is not None
        )


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncIterator[Platform]:
    """The platform of the settings; without a `postgres_url` there is no system of record."""
    async with open_publisher(settings) as publisher:
        if settings.postgres_url is None:
            yield Platform(None, publisher)
            return
        with open_record(settings.postgres_url) as record:
            yield Platform(record, publisher)
