"""`tally ingest` that kills or stops itself at a chosen point: an entry point of tests alone.

python -m tests.integration.ingest.dying POINT NTH, where NTH counts the batches that come there.
"""

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from clickhouse_connect.driver.httpclient import HttpClient

from ingest import service
from ingest.consumer import Ingestion
from ingest.writer import WarehouseWriter
from tally.settings import load_settings

POINTS = (
    "before-intent",
    "after-intent",
    "after-claim",
    "mid-insert",
    "after-insert",
    "after-ledger",
    "after-commit",
)
# From the first bytes on the wire to some tables written and others not.
MID_INSERT_DELAYS_S = (0.0, 0.002, 0.005, 0.01, 0.02)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stand_still() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def around(owner: Any, name: str, nth: int, *, before: bool, end: Callable[[], None] = die) -> None:
    """Die before or after the nth call of a coroutine method."""
    original, calls = getattr(owner, name), itertools.count(1)

    async def dying(*arguments: Any) -> Any:
        is_last = next(calls) == nth
        if is_last and before:
            end()
        result = await original(*arguments)
        if is_last and not before:
            end()
        return result

    setattr(owner, name, dying)


def amid_insert(nth: int) -> None:
    original, calls = HttpClient.raw_insert, itertools.count(1)

    def dying(self: HttpClient, table: str, *arguments: Any, **options: Any) -> Any:
        if table == "raw.landing" and next(calls) == nth:
            threading.Thread(
                target=original, args=(self, table, *arguments), kwargs=options, daemon=True
            ).start()
            time.sleep(MID_INSERT_DELAYS_S[nth % len(MID_INSERT_DELAYS_S)])
            die()
        return original(self, table, *arguments, **options)

    HttpClient.raw_insert = dying  # type: ignore[method-assign]


def arm(point: str, nth: int) -> None:
    """Make this process die at the point."""
    arming: dict[str, Callable[[], None]] = {
        "before-intent": lambda: around(Ingestion, "_intend", nth, before=True),
        "after-intent": lambda: around(Ingestion, "_intend", nth, before=False),
        "after-claim": lambda: around(WarehouseWriter, "claim", nth, before=False),
        "mid-insert": lambda: amid_insert(nth),
        "after-insert": lambda: around(WarehouseWriter, "insert", nth, before=False),
        "after-ledger": lambda: around(WarehouseWriter, "record", nth, before=False),
        "after-commit": lambda: around(Ingestion, "_commit", nth, before=False),
        "stands-still-after-claim": lambda: around(
            WarehouseWriter, "claim", nth, before=False, end=stand_still
        ),
        "stands-still-after-verdict": lambda: around(
            WarehouseWriter, "refuse_erased", nth, before=False, end=stand_still
        ),
    }
    arming[point]()


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    service.run(load_settings())
