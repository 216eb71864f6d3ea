"""Live connections to one process of the API, beside its clients, its broker and its warehouse.

    python -m benchmarks.realtime              # both:
    python -m benchmarks.realtime latency      # from POST to frame, 1,000 events, 500 connections
    python -m benchmarks.realtime idle         # memory and CPU of 5,000 connections that do nothing

The servers are in a temporary folder. Times are milliseconds.
"""

import asyncio
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import aiohttp
import click
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from benchmarks.api_under_load import Api, fill, report, serving
from serving_api.realtime.endpoints import SYNC
from tally.settings import Settings
from tally.tokens import LocalSigner
from tests.integration.ingest.pipeline import ingesting
from tests.platform import Platform, running_platform

CONNECTIONS = 500
EVENTS = 1_000
# Events a second; the ingestion and the warehouse that count them have the same two cores.
RATE = 10
ROUNDS_OF_A_USER = 2
IDLE = 5_000
IDLE_SECONDS = 30
# Handshakes at a time: what is measured is what they cost when they are open.
AT_ONCE = 50


@contextmanager
def live_platform() -> Iterator[tuple[Platform, Settings]]:
    """A warehouse with players who have played, a broker, and ingestion."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_platform(Path(folder)) as platform,
    ):
        fill(platform, IDLE, ROUNDS_OF_A_USER)
        url = platform.settings.endpoint("clickhouse_url")
        linger = {"ingest_linger_ms": Settings().ingest_linger_ms}
        with ingesting(Path(folder), url, linger) as pipeline:
            yield platform, pipeline.settings


async def signed_in(api: Api, stack: AsyncExitStack, users: range) -> dict[int, ClientConnection]:
    """A connection of each user, past its `initial_state`."""
    signer = LocalSigner(api.settings)
    room = asyncio.Semaphore(AT_ONCE)
    found: dict[int, ClientConnection] = {}

    async def sign_in(user: int) -> None:
        async with room:
            found[user] = await stack.enter_async_context(
                connect(
                    api.url.replace("http", "ws") + SYNC,
                    subprotocols=[Subprotocol("tally"), Subprotocol(f"bearer.{signer.sign(user)}")],
                    compression=None,
                    open_timeout=60,
                    ping_interval=None,
                )
            )
            for expected in ("sync_connected", "initial_state"):
                frame = json.loads(await asyncio.wait_for(found[user].recv(), 60))
                assert frame["type"] == expected, frame

    async with asyncio.TaskGroup() as tasks:
        for user in users:
            tasks.create_task(sign_in(user))
    return found


async def push_latency(api: Api) -> tuple[list[float], list[float], list[float]]:
    """From the moment of the POST to its answer, to the event's frame, to numbers that count it."""
    users = range(1, CONNECTIONS + 1)
    posted: dict[str, float] = {}
    answered: list[float] = []
    told: list[float] = []
    counted: list[float] = []
    waiting: dict[int, list[tuple[int, float]]] = {user: [] for user in users}

    async def hear(user: int, connection: ClientConnection) -> None:
        async for text in connection:
            now = time.perf_counter()
            frame = json.loads(text)
            if frame["type"] == "user_action":
                told.append((now - posted[frame["data"]["context"]["round_id"]]) * 1000)
            if frame["type"] == "stats_update":
                played = frame["data"]["stats"]["total_games_played"]
                done = [each for each in waiting[user] if each[0] <= played]
                counted.extend((now - at) * 1000 for _, at in done)
                waiting[user] = [each for each in waiting[user] if each[0] > played]

    async with AsyncExitStack() as stack:
        connections = await signed_in(api, stack, users)
        headers = api.tokens(users)
        session = await stack.enter_async_context(aiohttp.ClientSession(api.url))
        hearing = [asyncio.create_task(hear(*each)) for each in connections.items()]
        played = dict.fromkeys(users, ROUNDS_OF_A_USER)
        choose = random.Random(1)

        async def post(nth: int) -> None:
            user = choose.choice(users)
            played[user] += 1
            at = posted[f"b-{nth}"] = time.perf_counter()
            waiting[user].append((played[user], at))
            body = {
                "action_type": "SLOT_SPIN",
                "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "context": {"round_id": f"b-{nth}", "bet": 1, "payout": 2},
            }
            async with session.post("/api/actions", json=body, headers=headers[user]) as answer:
                assert answer.status == 202, await answer.text()
            answered.append((time.perf_counter() - at) * 1000)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for nth in range(EVENTS):
                await asyncio.sleep(max(0, nth / RATE - (time.perf_counter() - started)))
                tasks.create_task(post(nth))
        limit = time.perf_counter() + 30
        while (len(told) < EVENTS or len(counted) < EVENTS) and time.perf_counter() < limit:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for task in hearing:
            task.cancel()
    return answered, told, counted


async def idle(api: Api) -> None:
    """What connections cost that nothing is said on."""

    def seconds() -> float:
        return sum(api.process.cpu_times()[:2])

    # What a first connection and a first answer make the process load is no connection's.
    async with AsyncExitStack() as stack:
        await signed_in(api, stack, range(1, 101))
    before = api.process.memory_info().rss
    async with AsyncExitStack() as stack:
        await signed_in(api, stack, range(1, IDLE + 1))
        opened = api.process.memory_info().rss
        cpu = seconds()
        await asyncio.sleep(IDLE_SECONDS)
        cpu = seconds() - cpu
        after = api.process.memory_info().rss
    print(
        f"idle         {IDLE} connections  rss before {before / 1e6:.0f} MB, open "
        f"{opened / 1e6:.0f} MB, after {IDLE_SECONDS} s {after / 1e6:.0f} MB, "
        f"{(after - before) / IDLE / 1e3:.1f} kB each, {100 * cpu / IDLE_SECONDS:.1f} % of a core"
    )


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(["latency", "idle"]))
def main(parts: tuple[str, ...]) -> None:
    """Measure PARTS, or all."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with live_platform() as (platform, settings):
        for part in parts or ("latency", "idle"):
            with serving(platform, kafka_bootstrap=settings.kafka_bootstrap) as api:
                if part == "idle":
                    asyncio.run(idle(api))
                    continue
                names = ("202 answer", "event frame", "numbers")
                for name, values in zip(names, asyncio.run(push_latency(api)), strict=True):
                    report(name, values)


if __name__ == "__main__":
    main()
