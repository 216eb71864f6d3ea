"""Everything that ingestion sends to the warehouse, off the event loop and repeated until done."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from clickhouse_connect.driver import Client

from ingest import claims, ledger
from ingest.batch import SCHEMA, Batch
from ingest.ledger import LedgerRow, Position
from ingest.metrics import INSERT_SECONDS
from ingest.retry import until_done
from tally.settings import Settings
from tally.warehouse import connect

T = TypeVar("T")

# What makes one insert one block with one token in every table behind `landing`: the same token
# with another block split would duplicate everything.
INSERT_SETTINGS = {
    "async_insert": 0,
    "max_threads": 1,
    "max_insert_threads": 1,
    "input_format_parallel_parsing": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # Late events: a batch may touch any number of months.
    "max_partitions_per_insert_block": 0,
    "min_insert_block_size_rows": 1_048_449,
    "min_insert_block_size_bytes": 256 * 2**20,
    "wait_end_of_query": 1,
}

# Two inserts keep two cores busy; a third waits no longer in here than it would over there.
CONCURRENT_INSERTS = 2


class WarehouseWriter:
    """Inserts batches and ledger rows; a method returns when the warehouse has acknowledged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None
        # One more for the ledger, which must not queue behind the batches.
        self._pool = ThreadPoolExecutor(CONCURRENT_INSERTS + 1, thread_name_prefix="warehouse")
        self._slots = asyncio.Semaphore(CONCURRENT_INSERTS)
        self._pending: list[tuple[Sequence[LedgerRow], asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None
        self.insert_seconds = 0.0  # of the latest insert

    async def _call(self, function: Callable[[Client], T]) -> T:
        def in_thread() -> T:
            if self._client is None:
                self._client = connect(self._settings)
            return function(self._client)

        return await asyncio.get_running_loop().run_in_executor(self._pool, in_thread)

    async def insert(self, batch: Batch) -> None:
        """Store a batch: the same bytes under the same token until it is acknowledged."""
        token, payload = batch.token, None
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}

        def send(client: Client) -> None:
            nonlocal payload
            payload = batch.encode() if payload is None else payload
            started = time.monotonic()
            client.raw_insert(
                "raw.landing",
                column_names=SCHEMA.names,
                insert_block=payload,
                fmt="ArrowStream",
                settings=settings,
            )
            self.insert_seconds = time.monotonic() - started
            INSERT_SECONDS.observe(self.insert_seconds)

        async with self._slots:
            await until_done("store", f"batch {token}", lambda: self._call(send))

    async def claim(self, batch: Batch) -> None:
        """Claim the batch's event ids, and reject in it the messages that came second."""
        made = batch.claims()
        if not made:
            return
        token, payload = batch.token, claims.encode(str(batch.stream), made)
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}

        def send(client: Client) -> dict[bytes, claims.First]:
            client.raw_insert(
                "raw.event_ids",
                column_names=claims.SCHEMA.names,
                insert_block=payload,
                fmt="ArrowStream",
                settings=settings,
            )
            return claims.contested(client, (c.event_id for c in made))

        async with self._slots:
            contested = await until_done(
                "claim", f"the event ids of {token}", lambda: self._call(send)
            )
        batch.quarantine(claims.conflicts(made, contested))

    async def record(self, rows: Sequence[LedgerRow]) -> None:
        """Write ledger rows; those of batches that end together share one insert."""
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((rows, recorded))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._flush_ledger())
        await recorded

    async def _flush_ledger(self) -> None:
        while self._pending:
            taken, self._pending = self._pending, []
            rows = [row for some, _ in taken for row in some]
            await until_done("record", f"{len(rows)} ledger rows", partial(self._append, rows))
            for _, recorded in taken:
                if not recorded.done():
                    recorded.set_result(None)

    async def _append(self, rows: Sequence[LedgerRow]) -> None:
        await self._call(lambda client: ledger.append(client, rows))

    async def positions(self, topic: str) -> list[Position]:
        """The ledger's positions of the topic."""
        return await until_done(
            "read",
            "the ledger",
            lambda: self._call(lambda client: ledger.read_positions(client, topic)),
        )

    def close(self) -> None:
        """Leave; threads that still wait for an answer end with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)
