"""Latency of `GET /api/users/stats`, one request at a time, beside the same connection's floor.

    python benchmarks/stats_latency.py --home .tally --requests 300

The stack must run and hold events. Every request asks for another user, so nothing is warm but the
processes. The floor is `GET /healthz` over the same connection, asked in turn with it: the network,
the server and the client, without the token and the warehouse. Prints milliseconds and the ratio.
"""

import asyncio
import random
import time
from pathlib import Path

import aiohttp
import click

from tally.settings import Settings, load_settings
from tally.tokens import LocalSigner
from tally.warehouse import connect

GOAL_P95_MS = 40.0


def users_with_events(settings: Settings, limit: int) -> list[int]:
    """Ids of at most `limit` users."""
    client = connect(settings)
    query = f"select distinct user_id from raw.arrivals order by cityHash64(user_id) limit {limit}"
    return [user_id for (user_id,) in client.query(query).result_rows]


async def timed(session: aiohttp.ClientSession, path: str, token: str = "") -> float:
    """Milliseconds of one request."""
    started = time.perf_counter()
    async with session.get(path, headers={"Authorization": f"Bearer {token}"}) as response:
        await response.read()
        assert response.status == 200, (path, response.status)
    return (time.perf_counter() - started) * 1000


async def measure(settings: Settings, requests: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each stats request and of the request of the floor made before it."""
    signer = LocalSigner(settings)
    users = users_with_events(settings, requests)
    random.Random(1).shuffle(users)
    stats, floor = [], []
    async with aiohttp.ClientSession(settings.endpoint("api_url")) as session:
        await timed(session, "/api/users/stats", signer.sign(users[0]))
        for nth in range(requests):
            token = signer.sign(users[nth % len(users)])
            floor.append(await timed(session, "/healthz"))
            stats.append(await timed(session, "/api/users/stats", token))
    return stats, floor


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False))
@click.option("--requests", default=300, show_default=True)
def main(home: Path | None, requests: int) -> None:
    """Measure the running stack."""
    stats, floor = asyncio.run(measure(load_settings(home), requests))
    for share in (0.5, 0.95, 0.99):
        there, here = percentile(stats, share), percentile(floor, share)
        print(
            f"p{share * 100:.0f}  stats {there:6.1f} ms  floor {here:5.1f} ms  {there / here:5.1f}x"
        )
    verdict = "met" if percentile(stats, 0.95) < GOAL_P95_MS else "missed"
    print(f"goal p95 < {GOAL_P95_MS:.0f} ms: {verdict}")


if __name__ == "__main__":
    main()
