"""One run of `tally simulate`: a world, its faults, its destination and its truth."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import takewhile
from pathlib import Path

import orjson

from simulator.destinations import FileDestination, open_platform
from simulator.events import date_of, milliseconds
from simulator.faults import Faults, deliver
from simulator.scenarios import Scenario
from simulator.simulation import Destination, Simulation
from simulator.truth import Truth
from simulator.world import World
from tally.settings import Settings


@dataclass(frozen=True)
class Request:
    """What was asked for. `until` ends the world early or late; `live` goes on after it."""

    world: World | Scenario
    faults: Faults
    until: datetime | None = None
    live: bool = False
    rate: float | None = None
    out: Path | None = None
    truth: Path | None = None
    as_of: date | None = None


def run(settings: Settings, request: Request) -> str:
    """Run to the end, or to SIGINT or SIGTERM; returns a summary for the person who asked."""
    return asyncio.run(_run(settings, request))


async def _run(settings: Settings, request: Request) -> str:
    world = request.world
    ends = world.ends if request.until is None else milliseconds(request.until)
    events = world.events()
    if not request.live:
        events = takewhile(lambda event: event.at < ends, events)
    truth = Truth() if request.truth is not None else None
    async with _destination(settings, request.out) as destination:
        simulation = Simulation(
            deliver(events, request.faults, world.seed),
            destination,
            begins=world.begins,
            ends=None if request.live else ends,
            truth=truth,
            rate=request.rate,
            live=request.live,
        )
        with _stopped_by_signals(simulation.stop.set):
            await simulation.run()
    if truth is not None and request.truth is not None:
        last = datetime.now(UTC).date() if request.live else date_of(ends - 1)
        with request.truth.open("wb") as file:
            for answer in truth.answers(world.user_ids, request.as_of or last):
                file.write(orjson.dumps(answer) + b"\n")
    verdicts = ", ".join(f"{count:,} {name}" for name, count in simulation.verdicts.most_common())
    return f"{len(world.user_ids):,} players from {world.start}: {verdicts or 'nothing happened'}"


@asynccontextmanager
async def _destination(settings: Settings, out: Path | None) -> AsyncIterator[Destination]:
    if out is None:
        async with open_platform(settings) as platform:
            yield platform
    else:
        with out.open("wb") as file:
            yield FileDestination(file)


class _stopped_by_signals:  # noqa: N801
    """Calls `stop` at SIGINT or SIGTERM instead of dying in the middle of a batch."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
