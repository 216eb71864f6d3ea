"""What one connection sends, and in which order, whatever its reader does."""

import asyncio
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from serving_api.realtime.closing import Close
from serving_api.realtime.connection import MAX_WAITING, Connection
from serving_api.realtime.metrics import RealtimeMetrics
from serving_api.security.tokens import Principal
from serving_api.warehouse import WarehouseUnavailableError
from tally.tokens import Role


class Reader:
    """The client's end: takes frames while its gate is open."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.codes: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send_text(self, frame: str) -> None:
        await self.gate.wait()
        self.seen.append(frame)

    async def close(self, code: int, why: str) -> None:
        assert why
        self.codes.append(code)


class World:
    """Numbers that grow by one whenever they are read."""

    def __init__(self) -> None:
        self.reads = 0
        self.is_away = False

    async def numbers(self, whole: bool) -> str:
        await asyncio.sleep(0)
        if self.is_away:
            raise WarehouseUnavailableError("away")
        self.reads += 1
        return f"{'state' if whole else 'stats'} {self.reads}"


def made(reader: Any, world: World) -> tuple[Connection, RealtimeMetrics]:
    metrics = RealtimeMetrics(CollectorRegistry())
    bearer = Principal("1", Role.STANDARD)
    return Connection(reader, "t", bearer, 1, numbers=world.numbers, metrics=metrics), metrics


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


def hits(metrics: RealtimeMetrics, reason: str) -> float:
    return metrics.throttled.labels(reason)._value.get()


async def test_the_whole_state_is_first_whatever_comes_before_it() -> None:
    reader, world = Reader(), World()
    connection, _ = made(reader, world)
    connection.push("a", 0)
    connection.numbers_changed()
    connection.push("b", 0)
    connection.start()
    await until(lambda: len(reader.seen) == 3)
    assert reader.seen == ["state 1", "a", "b"]


async def test_while_a_reader_sleeps_one_state_waits_however_often_it_changes() -> None:
    reader, world = Reader(), World()
    connection, metrics = made(reader, world)
    connection.start()
    await until(lambda: reader.seen == ["state 1"])
    reader.gate.clear()
    for _ in range(1_000):
        connection.numbers_changed()
        await asyncio.sleep(0)
    # One is on its way, one is read behind it, and the rest are that one change that is due.
    assert world.reads <= 3
    assert hits(metrics, "superseded") >= 990
    reader.gate.set()
    await until(lambda: world.reads > 3 or reader.seen[-1] == f"stats {world.reads}")
    order = [int(frame.split()[1]) for frame in reader.seen]
    assert order == sorted(order)


async def test_of_too_many_events_the_newest_are_kept_and_a_state_is_sent_before_them() -> None:
    reader, world = Reader(), World()
    connection, metrics = made(reader, world)
    connection.start()
    await until(lambda: reader.seen == ["state 1"])
    reader.gate.clear()
    for nth in range(10 * MAX_WAITING):
        connection.push(str(nth), 0)
        if nth % 7 == 0:
            await asyncio.sleep(0)
    reader.gate.set()
    await until(lambda: reader.seen[-1] == str(10 * MAX_WAITING - 1))
    kept = [frame for frame in reader.seen if frame.isdigit()]
    assert kept[-MAX_WAITING:] == [str(n) for n in range(9 * MAX_WAITING, 10 * MAX_WAITING)]
    assert len(kept) + hits(metrics, "dropped") == 10 * MAX_WAITING
    assert "state 2" in reader.seen
    assert reader.seen.index("state 2") < reader.seen.index(kept[-MAX_WAITING])


async def test_numbers_that_cannot_be_read_are_read_again(monkeypatch: Any) -> None:
    monkeypatch.setattr("serving_api.realtime.connection.RETRY_SECONDS", 0)
    reader, world = Reader(), World()
    world.is_away = True
    connection, _ = made(reader, world)
    connection.start()
    connection.push("a", 0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert reader.seen == []
    world.is_away = False
    await until(lambda: reader.seen == ["state 1", "a"])


async def test_a_bug_ends_the_connection_and_nothing_else() -> None:
    reader, world = Reader(), World()

    async def broken(whole: bool) -> str:
        raise KeyError("bug")

    world.numbers = broken  # type: ignore[method-assign]
    connection, _ = made(reader, world)
    connection.start()
    await until(lambda: reader.codes == [Close.TRY_AGAIN_LATER])


async def test_after_its_close_nothing_is_sent() -> None:
    reader, world = Reader(), World()
    connection, _ = made(reader, world)
    connection.start()
    await until(lambda: reader.seen == ["state 1"])
    connection.close(Close.TOKEN_EXPIRED, "The token has expired.")
    connection.close(Close.UNAUTHORIZED, "again")
    connection.push("a", 0)
    connection.numbers_changed()
    await until(lambda: reader.codes != [])
    for _ in range(10):
        await asyncio.sleep(0)
    assert reader.codes == [4419]
    assert reader.seen == ["state 1"]
