"""The API under load, in a process of its own, beside its load generator and its warehouse.

    python -m benchmarks.api_under_load measure              # all of these:
    python -m benchmarks.api_under_load measure load         # 500 requests/s, 10,000 users, 60 s
    python -m benchmarks.api_under_load measure unprepared   # the same, nothing read ahead
    python -m benchmarks.api_under_load measure sharing      # against one query a request
    python -m benchmarks.api_under_load measure cold-start   # 2,000 first requests at once
    python -m benchmarks.api_under_load measure visibility   # from POST to counted, 1,000 times
    python -m benchmarks.api_under_load measure outage       # the warehouse killed for 30 s

The servers are in a temporary folder. Times are milliseconds.
"""

import asyncio
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import click
import psutil

from benchmarks import http_load
from benchmarks.http_load import Client
from serving_api.actions.messages import new_event_id
from tally.settings import Settings
from tally.tokens import LocalSigner
from tests.integration.api.serving import free_port
from tests.integration.ingest.pipeline import ingesting
from tests.platform import Platform, action, running_platform

USERS = 10_000
ROUNDS_OF_A_USER = 20
CACHE_SECONDS = 30
STATS = "/api/users/stats"

_SAID = re.compile(rb'"(?:status|title)":"(\w[^"]*)"')


@dataclass
class Api:
    """The API as a process."""

    url: str
    settings: Settings
    process: psutil.Process

    def tokens(self, users: range) -> dict[int, dict[str, str]]:
        """A header for each user."""
        signer = LocalSigner(self.settings)
        return {user: {"Authorization": f"Bearer {signer.sign(user)}"} for user in users}


@contextmanager
def serving(platform: Platform, module: str = "tally", **changes: object) -> Iterator[Api]:
    """`tally serve`, or the naive form of this module."""
    port = free_port()
    given = {
        "home": platform.settings.home,
        "clickhouse_url": platform.settings.clickhouse_url,
        "jwks": platform.settings.jwks,
        "api_port": port,
        "api_rate_limit": 1_000_000,
        **changes,
    }
    variables = {f"TALLY_{name.upper()}": str(value) for name, value in given.items()}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
    with (platform.folder / "api.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "serve"],
            env={**inherited, **variables},
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        http_load.run(_ready(url))
        yield Api(url, platform.settings, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


async def _ready(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(1200):
            try:
                async with session.get(f"{url}/healthz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise SystemExit("the API did not start")


@contextmanager
def filled_platform() -> Iterator[Platform]:
    """A warehouse with `USERS` users of `ROUNDS_OF_A_USER` rounds, materialized."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_platform(Path(folder)) as platform,
    ):
        fill(platform, USERS, ROUNDS_OF_A_USER)
        yield platform


def fill(platform: Platform, users: int, rounds_of_a_user: int) -> None:
    """Let `users`, a multiple of 1,000, have played their rounds, materialized."""
    for first in range(1, users + 1, 1_000):
        platform.store(
            action(
                user,
                "SLOT_SPIN",
                f"2026-{1 + nth % 10:02}-{1 + user % 28:02}T10:00:00Z",
                round_id=f"{user}-{nth}",
                bet=10,
                payout=nth,
            )
            for user in range(first, first + 1_000)
            for nth in range(rounds_of_a_user)
        )
    platform.materialize()


@dataclass(frozen=True)
class Seen:
    """One answer."""

    at: float
    kind: str
    """`cold`: the user's first; `lapsed`: none in the time for which an answer is kept; `warm`."""
    milliseconds: float
    status: int
    said: str


async def open_loop(api: Api, users: range, rate: float, seconds: float) -> list[Seen]:
    """Ask at a steady rate, whether answers come or not."""
    headers = api.tokens(users)
    asked_at: dict[int, float] = {}
    seen: list[Seen] = []
    choose = random.Random(1)
    async with Client(api.url) as client:
        requests = {user: client.request("GET", STATS, headers[user]) for user in users}

        async def ask(user: int, due: float) -> None:
            since = due - asked_at.get(user, float("-inf"))
            kind = (
                "cold" if since == float("inf") else "lapsed" if since > CACHE_SECONDS else "warm"
            )
            asked_at[user] = due
            try:
                status, body = await client.ask(requests[user])
                found = _SAID.search(body)
                said = found[1].decode() if found else body.decode()
            except OSError as error:
                status, said = 0, type(error).__name__
            # From when it was due: a generator that falls behind must not hide it.
            took = (time.perf_counter() - started - due) * 1000
            seen.append(Seen(due, kind, took, status, said))

        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for nth in range(int(rate * seconds)):
                due = nth / rate
                await asyncio.sleep(max(0, due - (time.perf_counter() - started)))
                tasks.create_task(ask(choose.choice(users), due))
    return seen


async def each_once(api: Api, users: range) -> None:
    """Let the API know every one of `users`."""
    headers = api.tokens(users)
    async with Client(api.url) as client:
        for user in users:
            status, body = await client.ask(client.request("GET", STATS, headers[user]))
            assert status == 200, body


async def closed_loop(api: Api, users: range, callers: int, seconds: float) -> float:
    """Answers a second that `callers` get who each ask for another user as soon as answered."""
    headers = api.tokens(users)
    waiting = itertools.cycle(users)
    answered = 0
    async with Client(api.url) as client:
        requests = {user: client.request("GET", STATS, headers[user]) for user in users}

        async def call(until: float) -> None:
            nonlocal answered
            while time.perf_counter() < until:
                status, _ = await client.ask(requests[next(waiting)])
                answered += status == 200

        started = time.perf_counter()
        await asyncio.gather(*(call(started + seconds) for _ in range(callers)))
    return answered / (time.perf_counter() - started)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def report(name: str, values: list[float]) -> None:
    """One line of percentiles."""
    shares = "  ".join(f"p{s * 100:.0f} {percentile(values, s):7.1f}" for s in (0.5, 0.95, 0.99))
    print(f"{name:<12} {len(values):>6} answers  {shares}")


def load(platform: Platform, rate: float = 500, seconds: float = 60, **changes: object) -> None:
    """Warm and cold latency, errors, and memory, of one minute and of the next."""
    memory: list[int] = []

    async def run(api: Api) -> list[Seen]:
        asked = asyncio.create_task(open_loop(api, range(1, USERS + 1), rate, 2 * seconds))
        for _ in range(8):
            memory.append(api.process.memory_info().rss >> 20)
            await asyncio.sleep(seconds / 4)
        return await asked

    assert platform.server is not None
    with serving(platform, **changes) as api:
        http_load.run(open_loop(api, range(USERS + 1, USERS + 201), 50, 4))
        processes = {"API": api.process, "warehouse": psutil.Process(platform.server.pid)}
        before = {name: _cpu_seconds(process) for name, process in processes.items()}
        seen = http_load.run(run(api))
        spent = {name: _cpu_seconds(processes[name]) - before[name] for name in processes}
        memory.append(api.process.memory_info().rss >> 20)
    for name, first in (("first minute", 0), ("second minute", seconds)):
        here = [one for one in seen if first <= one.at < first + seconds]
        print(name)
        for kind in ("warm", "lapsed", "cold"):
            report(kind, [one.milliseconds for one in here if one.kind == kind])
        report("all", [one.milliseconds for one in here])
    print("answers", dict(Counter((one.status, one.said) for one in seen)))
    for name, seconds_of_cpu in spent.items():
        print(f"{name}: {seconds_of_cpu / len(seen) * 1000:.2f} ms of CPU a request")
    print(f"memory of the API, MiB, every {seconds / 4:.0f} s: {memory}")


def _cpu_seconds(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


def sharing(platform: Platform, callers: int = 100, seconds: float = 8) -> None:
    """Throughput of cold reads, shared and with one query a request, in turn."""
    rates: dict[str, list[float]] = {"shared": [], "naive": []}
    users = range(1, USERS + 1)
    for _ in range(3):
        for name, module in (("shared", "tally"), ("naive", "benchmarks.api_under_load")):
            with serving(platform, module, api_cache_seconds=0) as api:
                rates[name].append(http_load.run(closed_loop(api, users, callers, seconds)))
    with serving(platform) as api:
        cached = http_load.run(closed_loop(api, range(1, 501), callers, seconds))
    for name, found in rates.items():
        print(f"{name:<7} {', '.join(f'{rate:.0f}' for rate in found)} answers/s")
    print(f"cached  {cached:.0f} answers/s")
    medians = {name: sorted(found)[1] for name, found in rates.items()}
    print(f"shared / naive: {medians['shared'] / medians['naive']:.1f}x")
    print(f"as served (500 users, cache on) / naive: {cached / medians['naive']:.1f}x")


def cold_start(platform: Platform, requests: int = 2_000) -> None:
    """So many users at once, of a process that has answered nobody."""
    with serving(platform) as api:
        started = time.perf_counter()
        seen = http_load.run(open_loop(api, range(1, requests + 1), 1e9, requests / 1e9))
        took = time.perf_counter() - started
    report("first", [one.milliseconds for one in seen])
    print(f"{took:.1f} s for all:", dict(Counter((one.status, one.said) for one in seen)))


def outage(platform: Platform, rate: float = 200, seconds: float = 30) -> None:
    """The warehouse is killed for `seconds`, under load by users seen before."""

    async def run(api: Api) -> list[Seen]:
        users = range(1, 1_001)
        await each_once(api, users)
        asked = asyncio.create_task(open_loop(api, users, rate, 10 + seconds + 20))
        await asyncio.sleep(10)
        platform.end_warehouse()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(platform.restart_warehouse)
        return await asked

    with serving(platform) as api:
        seen = http_load.run(run(api))
    phases = {"before": (0, 10), "dead": (10, 10 + seconds), "after": (10 + seconds, 1e9)}
    for name, (first, last) in phases.items():
        here = [one for one in seen if first <= one.at < last]
        report(name, [one.milliseconds for one in here])
        print("  ", dict(Counter((one.status, one.said) for one in here)))
    back = [one.at for one in seen if one.at > 10 + seconds and one.said == "fresh"]
    print(f"fresh again {min(back) - 10 - seconds:.1f} s after the restart began")


def visibility(platform: Platform, trials: int = 1_000) -> None:
    """From the request that writes an event to the first answer that counts it, by polling."""

    unavailable = 0

    async def run(api: Api) -> tuple[list[float], list[float]]:
        users = range(200_001, 200_001 + trials)
        headers = api.tokens(users)
        written: list[float] = []
        visible: list[float] = []
        async with Client(api.url) as client:

            async def count(user: int) -> int:
                nonlocal unavailable
                request = client.request("GET", STATS, headers[user])
                while (answer := await client.ask(request))[0] == 503:
                    unavailable += 1
                status, body = answer
                assert status == 200, body
                found: int = json.loads(body)["lifetime_active_days"]
                return found

            async def trial(user: int) -> None:
                assert await count(user) == 0
                event = {
                    "event_id": new_event_id(),
                    "action_type": "LOGIN",
                    "occurred_at": "2026-11-20T10:00:00Z",
                }
                body = json.dumps(event).encode()
                write = client.request("POST", "/api/actions", headers[user], body)
                started = time.perf_counter()
                status, answer = await client.ask(write)
                assert status == 202, answer
                accepted = time.perf_counter()
                while await count(user) == 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                written.append((accepted - started) * 1000)
                visible.append((time.perf_counter() - accepted) * 1000)

            slots = asyncio.Semaphore(4)

            async def in_turn(user: int) -> None:
                async with slots:
                    await trial(user)

            await asyncio.gather(*map(in_turn, users))
        return written, visible

    url = platform.settings.endpoint("clickhouse_url")
    linger = {"ingest_linger_ms": Settings().ingest_linger_ms}
    with (
        ingesting(platform.folder, url, linger) as pipeline,
        serving(platform, kafka_bootstrap=pipeline.broker_url) as api,
    ):
        written, visible = http_load.run(run(api))
    report("accepted", written)
    report("visible", visible)
    print(f"{unavailable} answers were 503")


MEASUREMENTS = {
    "load": load,
    "unprepared": partial(load, api_read_ahead=0),
    "sharing": sharing,
    "cold-start": cold_start,
    "visibility": visibility,
    "outage": outage,
}


@click.group()
def main() -> None:
    """See the module."""


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MEASUREMENTS)))
def measure(names: tuple[str, ...]) -> None:
    """Measure these, by default all of them, on one warehouse."""
    with filled_platform() as platform:
        for name in names or MEASUREMENTS:
            print(f"-- {name}, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            MEASUREMENTS[name](platform)


@main.command()
def serve() -> None:
    """The naive form: a warehouse query for each request."""
    from serving_api import commands
    from serving_api.stats import repository
    from tally.batch_loader import BatchLoader

    repository.BatchLoader = partial(  # type: ignore[misc,assignment]
        BatchLoader, max_batch=1, max_in_flight=4
    )
    commands.serve(["--home", os.environ["TALLY_HOME"]])


if __name__ == "__main__":
    main()
