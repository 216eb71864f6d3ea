"""Carries one topic from Kafka to the warehouse, exactly, by batches of contiguous offsets.

Per partition: read, validate, close a batch by rows, bytes or age; then record the intent, refuse
what is of erased users, claim the event ids, insert, send the dead letters, write the ledger row,
commit. One batch of a partition is under way at a time; the ledger, not the group's offset, says
where a partition is read on.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata

from ingest import game_events, intents, metrics, topics
from ingest.batch import Batch
from ingest.dead_letters import DeadLetterTopic
from ingest.health import HEALTH
from ingest.intents import Intent
from ingest.ledger import LedgerRow, plan_start
from ingest.retry import until_done
from ingest.streams import Stream
from ingest.surge import SurgeGuard
from ingest.time_share import TimeShare
from ingest.writer import CONCURRENT_INSERTS, ROWS_TOGETHER, WarehouseWriter
from tally.batch_loader import BatchLoader
from tally.settings import Settings

logger = logging.getLogger(__name__)

POLL_MS = 50
# aiokafka fetches again as soon as it was read from: at 10,000 messages/s the many small answers
# took some 8 % of a core each of consumer and broker. Who has as many unread does not pause: the
# embedded broker gives one producer's batch at a fetch, and a backlog was read at 3,700/s.
FEW_RECORDS = 1_000
PAUSE_AFTER_FEW_S = 0.025
# 5,000 messages are some 30 ms of validation: the longest that the event loop stands still.
MAX_POLL_RECORDS = 5_000
# Closed by age, batches take at most half of the warehouse's time, which can insert two at once: a
# claim and an insert take 90 ms, and each 50 ms they would ask for 1.8 s of it a second. What is
# saved is for the few events of a quiet minute, which wait for nobody.
AGE_SHARE = 0.5 * CONCURRENT_INSERTS
SAVED_S = 0.5
# What arrives has to be visible within 2 s, with the insert and the busiest partition before it.
LONGEST_LINGER_S = 1.0
# Whoever is behind waits for full batches, of which a row costs half of what it costs in small
# ones. The limit is for a log that has no more messages in spite of its offsets (compaction).
LONGEST_FILLING_S = 10.0
# One for each insert under way, and one more that is ready when an insert ends.
FILLED_TOGETHER = CONCURRENT_INSERTS + 1
# Batches hold at most this many times the bytes of one full batch, over all partitions.
HELD_BATCHES = 3
# Fewer are not waited for: a backlog may end in offsets that hold no message.
FEWEST_MORE = 100
# How long the group waits for a member that was killed. 6 s is the least that a broker takes by
# default. Whoever has committed just now owns its partitions as long, unless it gives them away.
SESSION_S = 6.0
REJOIN_DELAY_S = 0.5
REPORT_EVERY_S = 10.0
CLUSTER_CHECK_EVERY_S = 5.0


_Commit = tuple[TopicPartition, OffsetAndMetadata]


class _Partition:
    """One assigned partition from the offset where it is read on."""

    def __init__(
        self, topic_partition: TopicPartition, stream: Stream, offset: int, intent: Intent | None
    ) -> None:
        self.topic_partition = topic_partition
        self.intent = intent  # the range that a former owner meant to write next
        self.stream = stream
        self.expected = offset  # the next offset to take from Kafka
        self.stored = offset  # everything before it is readable
        self.seen_position = offset  # aiokafka's own, when last idle
        self.open: Batch | None = None
        self.closed_at = 0.0  # when the last batch was
        self.under_way: Batch | None = None
        self.storing: asyncio.Task[None] | None = None
        self.is_inserting = False
        self.is_committing = False  # to the group: nothing is written to the warehouse meanwhile

    @property
    def is_storing(self) -> bool:
        return self.storing is not None and not self.storing.done()

    @property
    def held_bytes(self) -> int:
        return sum(b.message_bytes for b in (self.open, self.under_way) if b is not None)

    def leave(self) -> None:
        """Give up what is under way: who owns the partition next makes it again."""
        if self.under_way is not None:
            self.under_way.leased_until = 0.0
        if self.storing is not None:
            self.storing.cancel()


class Ingestion(ConsumerRebalanceListener):  # type: ignore[misc]
    """The consumer of one process; several of them share the partitions of the group."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.actions_topic
        bootstrap = settings.endpoint("kafka_bootstrap")
        self._consumer = self._new_consumer()
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        self._dead_letters = DeadLetterTopic(bootstrap, settings.dead_letter_topic)
        self._writer = WarehouseWriter(settings)
        self._cluster_id = ""
        self._unplaced: set[TopicPartition] = set()
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._totals: Counter[str] = Counter()
        self._surges = SurgeGuard(settings.ingest_max_dead_ratio)
        self._time_share = TimeShare(AGE_SHARE, SAVED_S)
        self._commits = BatchLoader(self._commit_together, max_in_flight=1)

    def _new_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._settings.endpoint("kafka_bootstrap"),
            group_id=self._settings.ingest_group,
            group_instance_id=self._settings.ingest_instance,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=int(SESSION_S * 1000),
            heartbeat_interval_ms=2_000,
            # While the warehouse is away nothing is polled, and that must not cost the assignment.
            max_poll_interval_ms=24 * 3600 * 1000,
            rebalance_timeout_ms=60_000,
            fetch_max_wait_ms=100,
            # By default new partitions are seen after five minutes. And a topic made a moment ago
            # is one of no partitions until the broker has heard of it: then nothing is assigned.
            metadata_max_age_ms=10_000,
            max_partition_fetch_bytes=2 * 2**20,
        )

    async def _join(self) -> None:
        """Connect and join the group."""
        await until_done(
            "create",
            "missing topics",
            lambda: asyncio.to_thread(topics.create_missing, self._settings),
        )
        await until_done(
            "reach", f"Kafka at {self._settings.kafka_bootstrap}", self._consumer.start
        )
        self._consumer.subscribe([self._topic], listener=self)

    async def _join_again(self) -> None:
        """Leave with the consumer that failed and join with a new one.

        A coordinator of aiokafka that met an error that it does not know (InvalidRequest from
        SyncGroup, seen while two members joined at once) has ended and stays so.
        """
        left = list(self._partitions.values())
        self._partitions.clear()
        self._unplaced.clear()
        await self._drain(left, flush=False)
        await self._commits.aclose()
        with contextlib.suppress(KafkaError):
            await self._consumer.stop()
        self._consumer = self._new_consumer()
        self._commits = BatchLoader(self._commit_together, max_in_flight=1)
        await self._join()

    async def run(self, stop: asyncio.Event) -> None:
        """Ingest until `stop` is set, then drain for at most `ingest_drain_seconds`."""
        bootstrap = self._settings.kafka_bootstrap
        await self._join()
        await until_done("reach", f"Kafka at {bootstrap}", self._admin.start)
        await until_done("reach", f"Kafka at {bootstrap}", self._dead_letters.start)
        chores = [
            asyncio.create_task(self._report()),
            asyncio.create_task(self._tick()),
            asyncio.create_task(self._watch_cluster()),
        ]
        stopping = asyncio.create_task(stop.wait())
        working = asyncio.create_task(self._work())
        try:
            await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (stopping, working, *chores):
                task.cancel()
            await asyncio.gather(stopping, working, *chores, return_exceptions=True)
            await self._drain(list(self._partitions.values()), flush=True)
            self._say_totals()
            await self._commits.aclose()
            with contextlib.suppress(KafkaError):
                await self._consumer.stop()
            await self._dead_letters.stop()
            await self._admin.close()
            self._writer.close()

    # The group's assignment

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Finish what is under way; what is only read is read again by the next owner."""
        left = [self._partitions.pop(tp) for tp in revoked if tp in self._partitions]
        self._unplaced.difference_update(revoked)
        metrics.forget(tp.partition for tp in revoked)
        # A commit may wait for the coordinator, and the coordinator for this listener. Without it
        # a batch is not begun, or it is stored and the ledger has it: the next owner knows either.
        for partition in left:
            if partition.is_committing:
                partition.leave()
        await self._drain(left, flush=False)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Hold the new partitions until the ledger says where each is read on.

        The group must not wait for the warehouse, so the ledger is asked outside of the listener.
        The position set here is never read from: the partition is paused.
        """
        for tp in assigned:
            self._consumer.pause(tp)
            self._consumer.seek(tp, 0)
        self._unplaced.update(assigned)
        metrics.REBALANCES.inc()
        if assigned:
            logger.info("assigned %d partitions of %s", len(assigned), self._topic)

    async def _place(self, wanted: set[TopicPartition]) -> None:
        """Find in the ledger where the partitions are read on, and report what was lost."""
        cluster_id = await self._read_cluster_id()
        positions = await self._writer.positions(self._topic)
        log_starts, log_ends = await until_done(
            "read", f"the offsets of {self._topic}", lambda: self._log_bounds(wanted)
        )
        intents = await self._read_intents(wanted)
        count = len(self._consumer.partitions_for_topic(self._topic) or wanted)
        placed: list[_Partition] = []
        findings: list[LedgerRow] = []
        for tp in sorted(wanted & self._unplaced):
            start = plan_start(
                positions,
                Stream(cluster_id, tp.topic, tp.partition),
                log_start=log_starts[tp],
                log_end=log_ends[tp],
                partitions=count,
            )
            findings.extend(start.findings)
            intent = intents.get(tp)
            if intent is not None and not intent.continues(start.stream, start.offset):
                intent = None
            placed.append(_Partition(tp, start.stream, start.offset, intent))
        if findings:
            self._report_findings(findings)
            await self._writer.record(findings)
        self._cluster_id = cluster_id
        for partition in placed:
            tp = partition.topic_partition
            if tp in self._unplaced and tp in self._consumer.assignment():
                self._unplaced.discard(tp)
                self._consumer.seek(tp, partition.expected)
                self._consumer.resume(tp)
                self._partitions[tp] = partition

    async def _log_bounds(
        self, partitions: Iterable[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        wanted = list(partitions)
        starts = await self._consumer.beginning_offsets(wanted)
        return starts, await self._consumer.end_offsets(wanted)

    async def _read_intents(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, Intent]:
        committed = await until_done(
            "read",
            f"the commits of group {self._settings.ingest_group}",
            lambda: self._admin.list_consumer_group_offsets(
                self._settings.ingest_group, partitions=list(partitions)
            ),
        )
        found = {tp: intents.decode(each.metadata or "") for tp, each in committed.items()}
        return {tp: intent for tp, intent in found.items() if intent is not None}

    async def _read_cluster_id(self) -> str:
        described = await until_done(
            "ask", "Kafka for its cluster id", self._admin.describe_cluster
        )
        return str(described["cluster_id"])

    async def _watch_cluster(self) -> None:
        """A broker that was replaced behind the same address has other messages at our offsets."""
        while True:
            await asyncio.sleep(CLUSTER_CHECK_EVERY_S)
            found = await self._read_cluster_id()
            if self._cluster_id and found != self._cluster_id:
                logger.error("the cluster is %s now and was %s", found, self._cluster_id)
                await self._withdraw(set(self._partitions))

    async def _withdraw(self, partitions: Collection[TopicPartition]) -> None:
        """Stop reading the partitions, finish what is under way, and place them anew."""
        taken = [self._partitions.pop(tp) for tp in partitions if tp in self._partitions]
        for partition in taken:
            with contextlib.suppress(Exception):  # no longer assigned: nothing to pause
                self._consumer.pause(partition.topic_partition)
        await self._drain(taken, flush=True)
        self._unplaced.update(
            p.topic_partition for p in taken if p.topic_partition in self._consumer.assignment()
        )

    # Reading

    async def _work(self) -> None:
        while True:
            if self._unplaced:
                await self._place(set(self._unplaced))
            self._close_due()
            await self._read()
            await self._note_trailing_gaps()

    async def _read(self) -> None:
        wanted = self._worth_reading()
        if not wanted:
            # `getmany()` without partitions would read all of them.
            storing = [p.storing for p in self._partitions.values() if p.is_storing and p.storing]
            if storing:
                began = time.monotonic()
                await asyncio.wait(
                    storing, timeout=POLL_MS / 1000, return_when=asyncio.FIRST_COMPLETED
                )
                metrics.BACKPRESSURE_SECONDS.inc(time.monotonic() - began)
                return
        try:
            # Without partitions there is nothing to fetch, but this is how the group's errors come.
            most = min(MAX_POLL_RECORDS, self._settings.ingest_max_rows)
            fetched = {}
            # Of a backlog the fullest batch comes first: it is stored while the others get full.
            if wanted and self._is_filling(self._partitions[wanted[0]]):
                fetched = await self._consumer.getmany(wanted[0], timeout_ms=0, max_records=most)
            if not fetched:
                fetched = await self._consumer.getmany(
                    *wanted, timeout_ms=POLL_MS, max_records=most
                )
        except OffsetOutOfRangeError as error:
            out_of_range = set(error.args[0])
            logger.warning(
                "offsets are out of the broker's range: %s",
                ", ".join(f"{tp.partition} at {at}" for tp, at in error.args[0].items()),
            )
            self._rewind()
            await self._withdraw(out_of_range)
            return
        except KafkaError as error:
            logger.warning("joining the group again: %s: %s", type(error).__name__, error)
            await self._join_again()
            await asyncio.sleep(REJOIN_DELAY_S)
            return
        for tp, records in fetched.items():
            partition = self._partitions.get(tp)
            if partition is not None:
                self._take(partition, records)
                await asyncio.sleep(0)
        is_little = fetched and sum(map(len, fetched.values())) < FEW_RECORDS
        if is_little and sum(map(self._unread, self._partitions.values())) < FEW_RECORDS:
            await asyncio.sleep(PAUSE_AFTER_FEW_S)

    def _worth_reading(self) -> list[TopicPartition]:
        """The partitions to read from now.

        Of those that are far behind, so few at a time that their batches get full within the memory
        that all may hold: an insert of 20,000 rows costs twice as much a row as one of 100,000.
        """
        with_room = [p for p in self._partitions.values() if self._has_room(p)]
        behind = [p for p in with_room if self._is_filling(p)]
        behind.sort(key=lambda p: -len(p.open) if p.open else p.closed_at)
        ahead = [p for p in with_room if p not in set(behind)]
        return [p.topic_partition for p in behind[:FILLED_TOGETHER] + ahead]

    async def _note_trailing_gaps(self) -> None:
        """Record offsets at the end of a log that hold no message: a transaction's markers.

        No later message would show them, and the ledger would never reach the end of the log.
        The position must have held over a read, which would have raised what else moved it.
        """
        for tp, partition in list(self._partitions.items()):
            if partition.open is None and not partition.is_storing:
                with contextlib.suppress(KafkaError):  # revoked meanwhile
                    position = await self._consumer.position(tp)
                    before, partition.seen_position = partition.seen_position, position
                    if position != before or position <= partition.expected:
                        continue
                    gap = LedgerRow(
                        partition.stream,
                        partition.expected,
                        position - 1,
                        "gap",
                        end_offset=position,
                    )
                    await self._writer.record([gap])
                    self._count_gap(gap)
                    partition.expected = partition.stored = position

    def _rewind(self) -> None:
        """Read on exactly behind what was taken.

        An error of one partition makes aiokafka forget records of others that it had already
        counted as consumed.
        """
        for tp, partition in self._partitions.items():
            if tp in self._consumer.assignment():
                self._consumer.seek(tp, partition.expected)

    def _take(self, partition: _Partition, records: list) -> None:  # type: ignore[type-arg]
        batch = partition.open
        if batch is None:
            batch = Batch(partition.stream, partition.expected, time.monotonic(), partition.intent)
        fresh = taken = records
        if records[0].offset < batch.next_offset:
            fresh = taken = [r for r in records if r.offset >= batch.next_offset]
        if batch.intent is not None:
            taken = [r for r in fresh if not batch.is_beyond(r.offset)]
        batch.add(taken)
        if len(taken) < len(fresh):
            self._end_as_intended(partition, batch)
        if len(batch):
            partition.open = batch
            partition.expected = batch.next_offset
        metrics.MESSAGES.inc(len(records))
        self._totals["messages"] += len(records)

    def _end_as_intended(self, partition: _Partition, batch: Batch) -> None:
        """The rest of what was fetched belongs to the next batch: it is fetched again."""
        partition.intent = None
        if len(batch):
            batch.end_as_intended()
        # Else nothing of the range is there any more, and there is nothing to repeat.
        self._consumer.seek(partition.topic_partition, batch.next_offset)

    def _has_room(self, partition: _Partition) -> bool:
        batch = partition.open
        if batch is not None and self._is_full(batch):
            return False
        return not self._is_memory_full()

    def _is_memory_full(self) -> bool:
        held = sum(p.held_bytes for p in self._partitions.values())
        return held >= HELD_BATCHES * self._settings.ingest_max_bytes

    def _is_filling(self, partition: _Partition) -> bool:
        """Whether the log already holds more for the partition's batch than one poll brings.

        A large one takes what there is to its end: a rest of a few costs as much as thousands.
        (Some offsets at the end may hold no message, but a transaction's marker.)
        """
        held = 0 if partition.open is None else len(partition.open)
        lacking = self._settings.ingest_max_rows - held
        worth_it = FEWEST_MORE if held >= MAX_POLL_RECORDS else MAX_POLL_RECORDS
        return self._unread(partition) >= min(lacking, worth_it)

    def _unread(self, partition: _Partition) -> int:
        """Offsets that the log was last seen to hold beyond those taken."""
        tp = partition.topic_partition
        if tp not in self._consumer.assignment():
            return 0
        # Behind the last stable offset lies what an open transaction holds back.
        return max(0, (self._consumer.last_stable_offset(tp) or 0) - partition.expected)

    def _is_full(self, batch: Batch) -> bool:
        if batch.intent is not None:
            return batch.is_complete
        return (
            len(batch) >= self._settings.ingest_max_rows
            or batch.message_bytes >= self._settings.ingest_max_bytes
        )

    def _may_be_stored(self, batch: Batch) -> bool:
        return HEALTH.paused is None and (batch.intent is None or batch.is_complete)

    def _close_due(self) -> None:
        """Start to store the oldest batches that are full or old enough, as inserts get free.

        A batch that has to wait stays open: the busier the warehouse, the larger the inserts. With
        one that is due go all that are open: they share its insert. At 10,000 messages/s over 12
        partitions each went when it was old enough, two at a time met, and p95 was 1.1 s, not 0.7.
        """
        if HEALTH.paused is not None:
            return
        now = time.monotonic()
        shortest = self._settings.ingest_linger_ms / 1000
        linger = shortest if self._time_share.is_left(now) else max(shortest, LONGEST_LINGER_S)
        is_memory_full = self._is_memory_full()

        def is_filling(partition: _Partition) -> bool:
            return self._is_filling(partition) and not is_memory_full

        def is_due(partition: _Partition, batch: Batch) -> bool:
            patience = LONGEST_FILLING_S if is_filling(partition) else linger
            return self._is_full(batch) or now - batch.opened_at >= patience

        waiting = [
            (p, batch)
            for p in self._partitions.values()
            if (batch := p.open) is not None and not p.is_storing and self._may_be_stored(batch)
        ]
        waiting.sort(key=lambda each: each[1].opened_at)
        due = [each for each in waiting if is_due(*each)]
        along = [each for each in waiting if due and each not in due and not is_filling(each[0])]
        for partition, batch in due + along:
            if not self._is_next(batch) or self._is_surge(batch):
                return
            self._start_storing(partition, batch)

    def _is_next(self, batch: Batch) -> bool:
        """Whether the warehouse can take one more batch: it is free soon, or all are small."""
        inserted = [
            p.under_way for p in self._partitions.values() if p.is_inserting and p.under_way
        ]
        return (
            len(inserted) < CONCURRENT_INSERTS
            or sum(map(len, inserted)) + len(batch) <= ROWS_TOGETHER
        )

    def _is_surge(self, batch: Batch) -> bool:
        """Whether to store the batch would flood the dead letters; then nothing is stored."""
        under_way = [p.under_way for p in self._partitions.values() if p.under_way is not None]
        HEALTH.paused = self._surges.judge(batch, under_way, time.monotonic())
        if HEALTH.paused is None:
            return False
        metrics.PAUSED.set(1)
        logger.error("PAUSED at %s: %s", batch.token, HEALTH.paused)
        return True

    # Storing

    def _start_storing(self, partition: _Partition, batch: Batch) -> None:
        self._time_share.spend(self._writer.claim_seconds + self._writer.insert_seconds)
        partition.open = None
        partition.closed_at = time.monotonic()
        partition.intent = None
        partition.under_way = batch
        partition.is_inserting = True
        partition.storing = asyncio.create_task(self._store(partition, batch))
        partition.storing.add_done_callback(_say_if_failed)

    async def _store(self, partition: _Partition, batch: Batch) -> None:
        """Intent, erased, claims, insert, letters, ledger, commit: each when the former is sure."""
        batch.end_offset = self._highwater(partition.topic_partition)
        try:
            if not await self._intend(partition, batch):
                return
            await self._writer.refuse_erased(batch)
            await self._writer.claim(batch)
            await self._writer.insert(batch)
            await self._writer.retract_erased(batch)
        finally:
            partition.is_inserting = False
        if batch.dead:
            await self._dead_letters.send(batch.stream, batch.dead)
        await self._writer.record([*batch.gaps, batch.ledger_row()])
        partition.stored = batch.next_offset
        partition.under_way = None
        self._count(batch)
        partition.is_committing = True
        await self._commit(partition.topic_partition, batch.next_offset)
        partition.is_committing = False

    async def _intend(self, partition: _Partition, batch: Batch) -> bool:
        """Commit the range that is about to be written; False where it is no longer ours."""
        tp, intent = partition.topic_partition, batch.own_intent()

        async def attempt() -> bool:
            if tp not in self._consumer.assignment():
                return False
            try:
                partition.is_committing = True
                batch.leased_until = time.monotonic() + SESSION_S
                await self._commits.load(
                    None, (tp, OffsetAndMetadata(intent.first_offset, intent.encode()))
                )
            except (CommitFailedError, IllegalStateError):
                return False
            finally:
                partition.is_committing = False
            return True

        if await until_done("record", f"the intent of {batch.token}", attempt):
            return True
        logger.info("%s is left to who owns the partition now", batch.token)
        if self._partitions.get(tp) is partition:
            del self._partitions[tp]
            if tp in self._consumer.assignment():
                self._consumer.pause(tp)
                self._unplaced.add(tp)
        return False

    async def _commit(self, tp: TopicPartition, offset: int) -> None:
        """Tell the group, for those who watch its lag; a failure changes nothing here."""
        if tp not in self._consumer.assignment():
            return
        try:
            await self._commits.load(None, (tp, OffsetAndMetadata(offset, intents.NONE)))
        except (KafkaError, AssertionError) as error:
            logger.info("partition %d not committed at %d: %s", tp.partition, offset, error)

    async def _commit_together(self, _: None, asked: Sequence[_Commit]) -> Mapping[_Commit, None]:
        """One request for all: aiokafka sends one at a time, and each takes tens of milliseconds.

        Two a batch, one after the other, were what 12 partitions at 10,000 messages/s waited for.
        """
        await self._consumer.commit(dict(asked))
        return dict.fromkeys(asked)

    async def _drain(self, partitions: list[_Partition], *, flush: bool) -> None:
        """Wait for what is under way, and with `flush` store what is open, within the limit."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._abandon, partitions)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.ingest_drain_seconds):
                    await asyncio.gather(*(self._finish(p, flush=flush) for p in partitions))

    async def _finish(self, partition: _Partition, *, flush: bool) -> None:
        if partition.storing is not None:
            await asyncio.wait({partition.storing})
        batch = partition.open
        if not flush or batch is None:
            return
        if self._may_be_stored(batch) and not self._is_surge(batch):
            self._start_storing(partition, batch)
            assert partition.storing is not None
            await asyncio.wait({partition.storing})

    async def _abandon(self, partitions: list[_Partition]) -> None:
        for partition in partitions:
            if partition.is_storing:
                logger.warning(
                    "partition %d: left after %.0f s without an answer; it is read again from %d",
                    partition.topic_partition.partition,
                    self._settings.ingest_drain_seconds,
                    partition.stored,
                )
                partition.leave()

    # Telling

    def _highwater(self, tp: TopicPartition) -> int:
        if tp not in self._consumer.assignment():
            return 0
        return self._consumer.highwater(tp) or 0

    def _count(self, batch: Batch) -> None:
        label = str(batch.stream.partition)
        metrics.BATCHES.inc()
        metrics.ROWS.inc(batch.accepted)
        metrics.BYTES.inc(batch.message_bytes)
        metrics.BATCH_AGE_SECONDS.observe(time.monotonic() - batch.opened_at)
        metrics.LAST_STORED.set_to_current_time()
        game_events.count(batch.accepted_events())
        metrics.UNKNOWN_ACTIONS.inc(batch.unknown_actions)
        metrics.STORED_OFFSET.labels(partition=label).set(batch.last_offset)
        for letter in batch.dead:
            metrics.DEAD_LETTERS.labels(reason=letter.rejection.reason.value).inc()
        for gap in batch.gaps:
            self._count_gap(gap)
        self._surges.note(batch, time.monotonic())
        self._totals["batches"] += 1
        self._totals["stored"] += batch.accepted
        self._totals["dead"] += len(batch.dead)

    def _count_gap(self, gap: LedgerRow) -> None:
        metrics.GAPS.labels(partition=str(gap.stream.partition)).inc(gap.messages)
        logger.info(
            "%s: offsets %d to %d hold no message", gap.stream, gap.first_offset, gap.last_offset
        )

    def _report_findings(self, findings: list[LedgerRow]) -> None:
        for row in findings:
            if row.kind == "lost":
                metrics.LOST.labels(partition=str(row.stream.partition)).inc(row.messages)
                logger.error(
                    "LOST %d messages of %s: offsets %d to %d were gone before they were read",
                    row.messages,
                    row.stream,
                    row.first_offset,
                    row.last_offset,
                )
            elif row.kind == "replaced":
                metrics.REPLACED.inc()
                logger.error(
                    "%s cannot be read any more: its broker or topic was replaced. It is stored up "
                    "to offset %d; what came behind and was never seen is unknown",
                    row.stream,
                    row.first_offset - 1,
                )

    async def _tick(self) -> None:
        while True:
            HEALTH.tick()
            if not self._unplaced and self._consumer.assignment() == self._partitions.keys():
                HEALTH.partitions = len(self._partitions)
            metrics.BUFFERED_BYTES.set(sum(p.held_bytes for p in self._partitions.values()))
            self._measure_lag()
            await asyncio.sleep(1)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            if HEALTH.paused is not None:
                logger.error("PAUSED: %s", HEALTH.paused)
            self._say_totals()

    def _measure_lag(self) -> int:
        """Messages in Kafka that are not stored, of all partitions."""
        lag = 0
        for tp, partition in self._partitions.items():
            behind = max(0, self._highwater(tp) - partition.stored)
            metrics.LAG.labels(partition=str(tp.partition)).set(behind)
            lag += behind
        return lag

    def _say_totals(self) -> None:
        lag = self._measure_lag()
        if self._totals:
            logger.info(
                "read %d messages, stored %d events in %d batches, %d dead letters, lag %d",
                self._totals["messages"],
                self._totals["stored"],
                self._totals["batches"],
                self._totals["dead"],
                lag,
            )
        self._totals.clear()


def _say_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("storing a batch failed for good", exc_info=task.exception())
