"""The rate at which events are generated and encoded on one core, against encoding alone.

The peer is the standard library: `json.dumps` of the same envelopes, made beforehand. At a ratio of
0.5 a whole world (players, games, ids, gold, JSON) costs twice what plain encoding alone does.
Run from the repository: `python -m benchmarks.simulator_rate [--users N] [--days N]`. Fails below
50,000 events a second.
"""

import argparse
import json
import resource
import sys
import time
from datetime import date
from itertools import islice, takewhile

from simulator.events import document
from simulator.faults import PROFILES, deliver
from simulator.world import World

GOAL = 50_000
PEER_EVENTS = 100_000


def generate(world: World, faults: str) -> tuple[int, float]:
    """The number of messages and the events a second."""
    ends = world.ends
    events = takewhile(lambda event: event.at < ends, world.events())
    started = time.process_time()
    count = sum(delivery.recorded for delivery in deliver(events, PROFILES[faults], world.seed))
    return count, count / (time.process_time() - started)


def main() -> None:
    """Measure, print, and exit with 1 below the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--days", type=int, default=60)
    arguments = parser.parse_args()
    world = World(1, arguments.users, arguments.days, date(2025, 1, 1))

    count, rate = generate(world, "none")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _, chaotic = generate(world, "chaos")

    envelopes = [document(event) for event in islice(world.events(), PEER_EVENTS)]
    started = time.process_time()
    for envelope in envelopes:
        json.dumps(envelope, separators=(",", ":")).encode()
    peer = len(envelopes) / (time.process_time() - started)

    print(f"events of {arguments.users:,} players in {arguments.days} days: {count:,}")
    print(f"generated and encoded: {rate:,.0f} events/s of one core, {memory:,.0f} MiB at most")
    print(f"with every fault:      {chaotic:,.0f} events/s")
    print(f"json.dumps alone:      {peer:,.0f} events/s")
    print(f"ratio to json.dumps alone: {rate / peer:.2f}")
    if min(rate, chaotic) < GOAL:
        sys.exit(f"below the goal of {GOAL:,} events/s")


if __name__ == "__main__":
    main()
