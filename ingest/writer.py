"""Everything that ingestion sends to the warehouse, off the event loop and repeated until done."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest import claims, ledger
from ingest.batch import SCHEMA, Batch
from ingest.ledger import LedgerRow, Position
from ingest.metrics import INSERT_SECONDS
from ingest.obstacles import explain, is_refusal
from ingest.retry import until_done
from tally.events import Reason, Rejection
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
    # Duplicates within a block go when parts are merged, like all others: a sort and a pass less.
    "optimize_on_insert": 0,
    "min_insert_block_size_rows": 1_048_449,
    "min_insert_block_size_bytes": 256 * 2**20,
    "wait_end_of_query": 1,
}

# Two inserts keep two cores busy; a third waits no longer in here than it would over there.
CONCURRENT_INSERTS = 2

# A batch is taken apart when it was refused so often, and for so many messages at most.
REFUSALS = 3
MOST_REFUSED = 100

logger = logging.getLogger(__name__)


class RefusedError(Exception):
    """The warehouse looked at a batch and refused what is in it, more than once."""


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
        self.claim_seconds = 0.0  # of the latest claim

    async def _call(self, function: Callable[[Client], T]) -> T:
        def in_thread() -> T:
            if self._client is None:
                self._client = connect(self._settings)
            return function(self._client)

        return await asyncio.get_running_loop().run_in_executor(self._pool, in_thread)

    async def insert(self, batch: Batch) -> None:
        """Store a batch; what the warehouse refuses of it becomes dead letters.

        A refused batch is halved, and the halves again, down to the messages that nothing can
        store. Where they are many it is not they that are wrong, and the whole batch is waited for.
        """
        try:
            await self._insert(batch)
        except RefusedError as error:
            logger.warning("looking for the message that is refused: %s", error)
            refused = await self._refused_of(batch)
            if not 0 < len(refused) <= MOST_REFUSED:
                await self._insert(batch, patiently=True)
                return
            event_ids = batch.reject(
                {offset: Rejection(Reason.REFUSED, text) for offset, text in refused.items()}
            )
            await self._retract(batch, list(refused), event_ids)
            letters = batch.only_rejected(refused)
            await self._insert(letters, patiently=True)

    async def _refused_of(self, batch: Batch) -> dict[int, str]:
        """Store the batch in halves; the offsets and errors of the messages that cannot be."""
        found: dict[int, str] = {}
        waiting = list(batch.halves()) if len(batch) > 1 else []
        if not waiting:
            return {batch.last_offset: "the warehouse refuses it"}
        while waiting and len(found) <= MOST_REFUSED:
            part = waiting.pop(0)
            try:
                await self._insert(part)
            except RefusedError as error:
                if len(part) > 1:
                    waiting[:0] = part.halves()
                else:
                    found[part.last_offset] = str(error)
        return found

    async def _retract(self, batch: Batch, offsets: list[int], event_ids: list[str]) -> None:
        """Take back what some tables took of messages that others refused."""
        named = {"stream": str(batch.stream), "offsets": offsets, "event_ids": event_ids}
        by_offset = "stream = {stream:String} and offset in {offsets:Array(UInt64)}"
        by_id = "event_id in {event_ids:Array(UUID)}"

        def send(client: Client) -> None:
            for table, theirs in (
                ("raw.events", by_offset),
                ("raw.arrivals", by_offset),
                ("raw.round_events", by_id),
            ):
                client.command(
                    f"alter table {table} delete where {theirs}",
                    parameters=named,
                    settings={"mutations_sync": 1},
                )

        await until_done("retract", f"refused messages of {batch.token}", lambda: self._call(send))

    async def _insert(self, batch: Batch, *, patiently: bool = False) -> None:
        """The same bytes under the same token until it is acknowledged, or refused thrice."""
        token, payload, refusals = batch.token, None, 0
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}

        def send(client: Client) -> None:
            nonlocal payload, refusals
            payload = batch.encode() if payload is None else payload
            started = time.monotonic()
            try:
                client.raw_insert(
                    "raw.landing",
                    column_names=SCHEMA.names,
                    insert_block=payload,
                    fmt="ArrowStream",
                    settings=settings,
                )
            except ClickHouseError as error:
                refusals += is_refusal(error)
                if refusals >= REFUSALS and not patiently:
                    raise RefusedError(explain(error)) from error
                raise
            self.insert_seconds = time.monotonic() - started
            INSERT_SECONDS.observe(self.insert_seconds)

        async with self._slots:
            await until_done(
                "store", f"batch {token}", lambda: self._call(send), give_up_on=(RefusedError,)
            )

    async def claim(self, batch: Batch) -> None:
        """Claim the batch's event ids, and reject in it the messages that came second."""
        if not batch.accepted:
            return
        token, made, payload = batch.token, None, b""
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}

        def send(client: Client) -> dict[int, claims.First]:
            nonlocal made, payload
            if made is None:
                made = batch.claims()
                payload = made.encode()
            started = time.monotonic()
            client.raw_insert(
                "raw.event_ids",
                column_names=claims.SCHEMA.names,
                insert_block=payload,
                fmt="ArrowStream",
                settings=settings,
            )
            contested = claims.contested(client, made.event_ids)
            self.claim_seconds = time.monotonic() - started
            return claims.conflicts(made, contested)

        async with self._slots:
            conflicts = await until_done(
                "claim", f"the event ids of {token}", lambda: self._call(send)
            )
        if conflicts:
            batch.quarantine(conflicts)

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
