"""Everything that ingestion sends to the warehouse, off the event loop and repeated until done."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest import claims, ledger
from ingest.batch import SCHEMA, Batch, encode
from ingest.erased import LIST_SECONDS, ErasedUsers, read_erased
from ingest.ledger import LedgerRow, Position
from ingest.metrics import INSERT_SECONDS, RETRIES
from ingest.obstacles import explain, is_refusal
from ingest.presence import TOKENS_BETWEEN, end_inserts, forget_arrivals, is_whole
from ingest.retry import until_done
from tally.batch_loader import BatchLoader
from tally.erasure import USERS
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

# Small batches go together, so many rows of them: they share their claims and their insert. A
# larger one is inserted by itself.
ROWS_TOGETHER = 10_000
# How long a request may take from here to the warehouse's list of queries, where it can be ended.
SENT_WITHIN_S = 1.0

# A batch is taken apart when it was refused so often, and for so many messages at most.
REFUSALS = 3
MOST_REFUSED = 100

logger = logging.getLogger(__name__)


class RefusedError(Exception):
    """The warehouse looked at a batch and refused what is in it, more than once."""


class MissingError(Exception):
    """What the warehouse has acknowledged is not there (see `presence`)."""


def _unseen(token: str) -> str:
    """A token that no table can know."""
    return f"{token}:again-{uuid.uuid4().hex[:8]}"


def _leased(batches: Sequence[Batch]) -> list[Batch]:
    """Those whose partitions nobody else can own before a request is on the warehouse's list."""
    by_then = time.monotonic() + SENT_WITHIN_S
    return [batch for batch in batches if by_then < batch.leased_until]


class WarehouseWriter:
    """Inserts batches and ledger rows; a method returns when the warehouse has acknowledged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None
        # And one each for claims and the ledger, which must not queue behind the batches.
        self._pool = ThreadPoolExecutor(CONCURRENT_INSERTS + 2, thread_name_prefix="warehouse")
        self._slots = asyncio.Semaphore(CONCURRENT_INSERTS)
        self._inserts = BatchLoader(self._insert_together, max_in_flight=1)
        self._claims = BatchLoader(self._claim, max_in_flight=1)
        self._ledger = BatchLoader(self._record, max_in_flight=1)
        self._erased = ErasedUsers()
        self._lists = BatchLoader(self._read_list, max_in_flight=1)
        self.insert_seconds = 0.0  # of the latest insert, by batch
        self.claim_seconds = 0.0  # of the latest claim, by batch

    async def _call(self, function: Callable[[Client], T]) -> T:
        def in_thread() -> T:
            if self._client is None:
                self._client = connect(self._settings)
            return function(self._client)

        return await asyncio.get_running_loop().run_in_executor(self._pool, in_thread)

    async def insert(self, batch: Batch) -> None:
        """Store a batch; what the warehouse refuses of it becomes dead letters.

        Small ones share an insert with others that come at the same time. A refused batch is
        halved, and the halves again, down to the messages that nothing can store. Where they are
        many it is not they that are wrong, and the whole batch is waited for.
        """
        is_small = len(batch) <= ROWS_TOGETHER and not batch.may_be_stored
        if is_small and await self._inserts.load(None, batch):
            return
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
            await self._retract(
                batch,
                "offset in {offsets:Array(UInt64)}",
                "event_id in {event_ids:Array(UUID)}",
                offsets=list(refused),
                event_ids=event_ids,
            )
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

    async def _retract(
        self, batch: Batch, of_offsets: str, of_rounds: str, **named: object
    ) -> None:
        """Take back what tables took of messages that do not count after all."""
        named["stream"] = str(batch.stream)
        by_offset = f"stream = {{stream:String}} and {of_offsets}"

        def send(client: Client) -> None:
            for table, theirs in (
                ("raw.events", by_offset),
                ("raw.arrivals", by_offset),
                ("raw.round_events", of_rounds),
            ):
                client.command(
                    f"alter table {table} delete where {theirs}",
                    parameters=named,
                    settings={"mutations_sync": 1},
                )

        await until_done("retract", f"messages of {batch.token}", lambda: self._call(send))

    async def refuse_erased(self, batch: Batch) -> None:
        """Reject in the batch what is of erased users, by a list of this second."""
        batch.refuse(await self._read_erased(since=time.monotonic() - LIST_SECONDS))

    async def retract_erased(self, batch: Batch) -> None:
        """Take back what was stored of users who are on the list now.

        Somebody may have been listed while the batch was under way. Whoever is listed later than
        this is erased by who lists them: the batch is there to be deleted from. A batch that is
        made again may have been stored before, with messages that it refuses now.
        """
        erased = await self._read_erased(since=time.monotonic())
        theirs = erased.offsets_in(batch.accepted_events())
        if batch.intent is not None:
            theirs += batch.of_erased_users
        if not theirs:
            return
        await until_done(
            "record",
            f"{len(theirs)} erased offsets",
            lambda: self._call(
                lambda client: client.insert(
                    "raw.erased_offsets",
                    [[str(batch.stream), offset] for offset in theirs],
                    column_names=["stream", "offset"],
                    settings={"async_insert": 0},
                )
            ),
        )
        # Not by their numbers: a batch of one busy user has 50,000 of them.
        await self._retract(
            batch,
            "offset in (select offset from raw.erased_offsets where stream = {stream:String}"
            " and offset >= {first:UInt64} and offset <= {last:UInt64})",
            f"user_id in ({USERS})",
            first=batch.first_offset,
            last=batch.last_offset,
        )

    async def _read_erased(self, since: float) -> ErasedUsers:
        """The list of erased users as it was at `since` (monotonic) or later."""
        if self._erased.read_at < since:
            await self._lists.load(None, None)
        return self._erased

    async def _read_list(self, _: None, asked: Sequence[None]) -> Mapping[None, None]:
        self._erased = await until_done(
            "read",
            "the list of erased users",
            lambda: self._call(lambda client: read_erased(client, self._erased)),
        )
        return dict.fromkeys(asked)

    async def _insert_together(self, _: None, batches: Sequence[Batch]) -> Mapping[Batch, bool]:
        """Try once to store the batches in one insert; which of them are stored now.

        Its token is that of all: nobody who has only some of the partitions could repeat it. So it
        is sent only while each is leased, and never again: whatever happens to it, each batch is
        looked for and stored by itself, under its own token.
        """
        stored = dict.fromkeys(batches, False)

        def send(client: Client) -> list[Batch]:
            leased = _leased(batches)
            if len(leased) < 2:
                return []
            payload = encode(leased)
            # Looked at again: a process that was stopped meanwhile wakes here.
            if _leased(leased) != leased:
                return []
            for batch in leased:
                batch.may_be_stored = True
            self._send(client, TOKENS_BETWEEN.join(b.token for b in leased), payload, len(leased))
            return leased

        async with self._slots:
            try:
                stored.update(dict.fromkeys(await self._call(send), True))
            except Exception as error:  # its end is unknown, whatever it was
                RETRIES.labels(step="store").inc()
                logger.warning("%d batches are stored one by one: %s", len(batches), explain(error))
        return stored

    def _send(self, client: Client, token: str, payload: pa.Buffer, batches: int = 1) -> None:
        started = time.monotonic()
        client.raw_insert(
            "raw.landing",
            column_names=SCHEMA.names,
            insert_block=payload,  # type: ignore[arg-type]  # a buffer is sent as it is
            fmt="ArrowStream",
            settings={**INSERT_SETTINGS, "insert_deduplication_token": token},
        )
        passed = time.monotonic() - started
        self.insert_seconds = passed / batches
        INSERT_SECONDS.observe(passed)

    async def _insert(self, batch: Batch, *, patiently: bool = False) -> None:
        """The same bytes under the same token until it is acknowledged, or refused thrice.

        Where an attempt had an unknown end the tables are looked into (see `presence`); what is
        missing is stored under a token that no table has seen.
        """
        token, payload, refusals = batch.token, None, 0
        is_sure = not batch.may_be_stored

        def send(client: Client) -> None:
            nonlocal payload, refusals, is_sure
            payload = encode([batch]) if payload is None else payload
            was_sure, is_sure = is_sure, False
            try:
                self._send(client, token, payload)
            except ClickHouseError as error:
                refusals += is_refusal(error)
                if refusals >= REFUSALS and not patiently:
                    raise RefusedError(explain(error)) from error
                raise
            is_sure = was_sure

        def look(client: Client) -> bool:
            end_inserts(client, batch)
            if is_whole(client, batch):
                return True
            forget_arrivals(client, batch)
            return False

        async with self._slots:
            if batch.may_be_stored and await until_done(
                "look for", f"batch {token}", lambda: self._call(look)
            ):
                return
            while True:
                await until_done(
                    "store", f"batch {token}", lambda: self._call(send), give_up_on=(RefusedError,)
                )
                if is_sure or await until_done(
                    "look for", f"batch {token}", lambda: self._call(look)
                ):
                    return
                logger.warning("batch %s was acknowledged and is not whole: storing again", token)
                token, is_sure = _unseen(batch.token), True

    async def claim(self, batch: Batch) -> None:
        """Claim the batch's event ids, and reject in it the messages that came second.

        Batches that come while others are claimed share one insert and one look. One that is made
        again after a crash has its own: it may have been claimed already, with others.
        """
        if not batch.accepted:
            return
        alone = "" if batch.intent is None else batch.token
        if conflicts := await self._claims.load(alone, batch):
            batch.quarantine(conflicts)

    async def _claim(
        self, _: str, batches: Sequence[Batch]
    ) -> Mapping[Batch, dict[int, claims.First]]:
        token = TOKENS_BETWEEN.join(batch.token for batch in batches)
        is_sure = all(batch.intent is None for batch in batches)
        made: list[claims.Claims] = []

        def send(client: Client) -> Mapping[Batch, dict[int, claims.First]]:
            nonlocal token, is_sure
            if not made:
                made.extend(batch.claims() for batch in batches)
            started = time.monotonic()
            # The token does not tell whether they are there: others may have shared their insert.
            if is_sure or claims.missing(client, made):
                was_sure, is_sure = is_sure, False
                client.raw_insert(
                    "raw.event_ids",
                    column_names=claims.SCHEMA.names,
                    insert_block=claims.encode(made),
                    fmt="ArrowStream",
                    settings={**INSERT_SETTINGS, "insert_deduplication_token": token},
                )
                if not was_sure and (missing := claims.missing(client, made)):
                    token, is_sure = _unseen(token), True
                    raise MissingError(f"{missing} claims were acknowledged and are not there")
            contested = claims.contested(client, b"".join(each.event_ids for each in made))
            self.claim_seconds = (time.monotonic() - started) / len(batches)
            return {
                batch: claims.conflicts(each, contested)
                for batch, each in zip(batches, made, strict=True)
            }

        subject = "the event ids of " + ", ".join(batch.token for batch in batches)
        return await until_done("claim", subject, lambda: self._call(send))

    async def record(self, rows: Sequence[LedgerRow]) -> None:
        """Write ledger rows; those of batches that end together share one insert."""
        await self._ledger.load(None, tuple(rows))

    async def _record(
        self, _: None, together: Sequence[tuple[LedgerRow, ...]]
    ) -> Mapping[tuple[LedgerRow, ...], None]:
        rows = [row for some in together for row in some]
        await until_done(
            "record",
            f"{len(rows)} ledger rows",
            lambda: self._call(lambda client: ledger.append(client, rows)),
        )
        return dict.fromkeys(together)

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
