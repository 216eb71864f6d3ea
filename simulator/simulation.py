"""A world on its way out: deliveries in batches to a destination, at a pace, with progress."""

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from simulator.events import SECOND, rfc3339
from simulator.faults import Delivery, Verdict
from simulator.truth import Truth

logger = logging.getLogger(__name__)

# 450 KiB of messages: a quarter of what the embedded broker may hold unread, in one partition.
BATCH = 1_500
REPORT_EVERY_SECONDS = 10.0


class Destination(Protocol):
    """Where deliveries go."""

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        """Return when all of them are where they must be."""


def now() -> int:
    """The real time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass
class Simulation:
    """Sends `deliveries`, of simulated time from `begins` to `ends` (None: without end).

    `rate` is in deliveries a second (None: as fast as possible). With `live`, nothing is sent
    before its time has come. `stop` ends the simulation after the batch under way, or
    `grace_seconds` later where that batch cannot be sent.
    """

    deliveries: Iterable[Delivery]
    destination: Destination
    begins: int
    ends: int | None
    truth: Truth | None = None
    rate: float | None = None
    live: bool = False
    clock: Callable[[], int] = now
    grace_seconds: float = 5.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    verdicts: Counter[Verdict] = field(default_factory=Counter)

    async def run(self) -> None:
        """Send everything, or until `stop`."""
        started = time.monotonic()
        with _Reporter(self.begins, self.ends) as reporter:
            for batch in self._batches():
                if self.live:
                    await self._sleep((batch[0].at - self.clock()) / SECOND)
                elif self.rate is not None:
                    due = started + self.verdicts.total() / self.rate
                    await self._sleep(due - time.monotonic())
                if self.stop.is_set() or not await self._send(batch):
                    return
                self._count(batch)
                reporter.report(self.verdicts.total(), batch[-1].at)

    async def _send(self, batch: Sequence[Delivery]) -> bool:
        """Whether the batch was sent: a destination that waits for others is left at `stop`."""
        sending = asyncio.ensure_future(self.destination.send(batch))
        stopping = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait((sending, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not sending.done():
            await asyncio.wait((sending,), timeout=self.grace_seconds)
        if not sending.done():
            sending.cancel()
            return False
        await sending
        return True

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            try:
                await asyncio.wait_for(self.stop.wait(), seconds)
            except TimeoutError:
                return

    def _batches(self) -> Iterator[list[Delivery]]:
        """Full batches; a live one is closed by the first delivery whose time has not come."""
        size = BATCH if self.rate is None else max(1, min(BATCH, int(self.rate / 10)))
        batch: list[Delivery] = []
        for delivery in self.deliveries:
            if len(batch) == size or (self.live and batch and delivery.at > self.clock()):
                yield batch
                batch = []
            batch.append(delivery)
        if batch:
            yield batch

    def _count(self, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            self.verdicts[delivery.verdict] += 1
            if self.truth is not None and delivery.verdict is Verdict.ACCEPTED:
                self.truth.accept(delivery.event)


class _Reporter:
    """Progress in simulated time: a bar on a terminal, elsewhere a log line an interval."""

    def __init__(self, begins: int, ends: int | None) -> None:
        self._begins = begins
        self._ends = ends
        self._next_line = time.monotonic() + REPORT_EVERY_SECONDS
        self._started = time.monotonic()
        self._bar = Progress(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(
            "simulating", total=None if ends is None else max(1, ends - begins)
        )

    def __enter__(self) -> "_Reporter":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def report(self, sent: int, at: int) -> None:
        elapsed = time.monotonic() - self._started
        line = f"{rfc3339(at)[:16]}Z  {sent:,} deliveries, {sent / max(elapsed, 0.001):,.0f}/s"
        self._bar.update(self._task, completed=at - self._begins, description=line)
        if self._bar.disable and time.monotonic() >= self._next_line:
            self._next_line += REPORT_EVERY_SECONDS
            logger.info("simulated until %s", line)
