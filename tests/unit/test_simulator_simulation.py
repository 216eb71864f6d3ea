"""The pace of a simulation: its rate, real time, and its end when it is told to stop."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from simulator.events import Event
from simulator.faults import Delivery, Verdict
from simulator.simulation import Simulation, now
from simulator.truth import Truth


def delivery(at: int, verdict: Verdict = Verdict.ACCEPTED) -> Delivery:
    event = Event(f"id-{at}", 1, "LOGIN", at, "s", "auth", {})
    return Delivery(at, event, b"{}", verdict)


class Received:
    """A destination that remembers when each delivery came."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Delivery]] = []

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        self.sent += [(now(), each) for each in deliveries]


class Stuck:
    """A destination that waits for something that never comes."""

    async def send(self, deliveries: Sequence[Delivery]) -> None:  # noqa: ARG002
        await asyncio.Event().wait()


async def test_everything_is_sent_in_order_and_only_what_is_accepted_is_true() -> None:
    received, truth = Received(), Truth()
    deliveries = [
        delivery(at, Verdict.LOST if at % 5 == 0 else Verdict.ACCEPTED) for at in range(5_000)
    ]
    simulation = Simulation(deliveries, received, begins=0, ends=5_000, truth=truth)
    await simulation.run()
    assert [each for _, each in received.sent] == deliveries
    assert simulation.verdicts == {Verdict.ACCEPTED: 4_000, Verdict.LOST: 1_000}


async def test_live_nothing_is_sent_before_its_time_and_all_soon_after() -> None:
    received = Received()
    start = now()
    deliveries = [delivery(start - 1_000), *(delivery(start + 40 * n) for n in range(1, 8))]
    await Simulation(deliveries, received, begins=start, ends=None, live=True).run()
    assert [each for _, each in received.sent] == deliveries
    for at, each in received.sent:
        assert each.at <= at < each.at + 1_500


async def test_a_rate_is_kept() -> None:
    received = Received()
    started = time.monotonic()
    simulation = Simulation(
        [delivery(at) for at in range(200)], received, begins=0, ends=200, rate=500
    )
    await simulation.run()
    assert len(received.sent) == 200
    # The last of its batches of 50 leaves after three quarters of the time.
    assert time.monotonic() - started >= 0.29


async def test_an_endless_simulation_ends_when_it_is_told_to() -> None:
    def endless() -> Iterator[Delivery]:
        at = now()
        while True:
            at += 20
            yield delivery(at)

    received = Received()
    simulation = Simulation(endless(), received, begins=now(), ends=None, live=True)
    asyncio.get_running_loop().call_later(0.2, simulation.stop.set)
    await asyncio.wait_for(simulation.run(), 3)
    assert received.sent
    assert simulation.verdicts.total() == len(received.sent)


async def test_a_destination_that_waits_for_ever_does_not_keep_a_simulation_from_its_end() -> None:
    simulation = Simulation([delivery(1)], Stuck(), begins=0, ends=2, grace_seconds=0.05)
    asyncio.get_running_loop().call_later(0.05, simulation.stop.set)
    await asyncio.wait_for(simulation.run(), 3)
    assert simulation.verdicts.total() == 0
