"""Killed at every point between two steps, and at random: each time the account is clean."""

import asyncio
import random
import time
import uuid
from collections import Counter

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from ingest import intents
from tests.integration.ingest.dying import POINTS
from tests.integration.ingest.pipeline import PARTITIONS, Pipeline, encode, slot_round

EACH = 400  # messages a partition
KILLS = 50
LONGEST_LIFE_S = 0.5
MESSAGES_A_KILL = 300


@pytest.fixture
def pipeline(faulty_pipeline: Pipeline) -> Pipeline:
    """On Apache Kafka, under a name that outlives its process: no session has to end first."""
    faulty_pipeline.changes |= {"ingest_max_rows": 70, "ingest_instance": "the-one"}
    return faulty_pipeline


def world(users: range, seed: int, size: int) -> tuple[list[bytes | None], int, int, int]:
    """Messages in an order; how many events, duplicates and dead letters they are."""
    draw = random.Random(seed)
    events = [slot_round(user_id=draw.choice(users)) for _ in range(size * 8 // 10)]
    again = [encode(event) for event in draw.choices(events, k=size // 10)]
    bad: list[bytes | None] = [b"{", None, b"[1]", encode(slot_round(user_id=0))]
    messages = [*map(encode, events), *again, *(draw.choice(bad) for _ in range(size // 10))]
    draw.shuffle(messages)
    return messages, len(events), len(again), size // 10


def committed_intents(pipeline: Pipeline) -> list[intents.Intent]:
    """What the group's commits say was meant to be written."""

    async def read() -> list[str]:
        # confluent-kafka reads metadata beyond its end: bytes of other memory follow it.
        admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.broker_url)
        await admin.start()
        try:
            committed = await admin.list_consumer_group_offsets(pipeline.settings.ingest_group)
            return [each.metadata or "" for each in committed.values()]
        finally:
            await admin.close()

    found = map(intents.decode, asyncio.run(read()))
    return [intent for intent in found if intent is not None]


@pytest.mark.parametrize(
    ("point", "nth"), [(point, 4) for point in POINTS] + [("mid-insert", n) for n in (1, 2, 3)]
)
def test_killed_at_a_point(pipeline: Pipeline, point: str, nth: int) -> None:
    expected = [0, 0, 0]
    for partition in range(PARTITIONS):
        messages, *numbers = world(pipeline.users, partition, EACH)
        pipeline.produce(messages, partition=partition)
        expected = [a + b for a, b in zip(expected, numbers, strict=True)]
    pipeline.start("tests.integration.ingest.dying", point, str(nth))
    assert pipeline.process is not None
    assert pipeline.process.wait(60) == -9
    meant = committed_intents(pipeline)
    if point in ("after-intent", "after-claim", "mid-insert"):
        assert meant
    # Sliced otherwise from here on: only the intents make the same batches again.
    pipeline.changes["ingest_max_rows"] = 60
    pipeline.start()
    pipeline.wait()
    assert pipeline.stop() == 0
    account = pipeline.verify()
    assert [account[n] for n in ("events", "duplicates", "dead_letters")] == expected
    ledger = pipeline.own_ledger()
    for intent in meant:
        assert (intent.first_offset, intent.last_offset, "stored") in ledger[intent.stream]
    for table in ("arrivals", "event_ids"):
        ((twice,),) = pipeline.query(
            f"select count() - uniqExact(stream, offset) from raw.{table} where {{here}}"
        )
        assert twice == 0, f"rows of {table} were written twice"


def test_killed_at_random_times(pipeline: Pipeline) -> None:
    seed = uuid.uuid4().int
    draw = random.Random(seed)
    sent = Counter[str]()
    amid = 0
    for kill in range(KILLS):
        messages, *numbers = world(pipeline.users, kill, MESSAGES_A_KILL)
        pipeline.produce(messages, partition=kill % PARTITIONS)
        sent.update(dict(zip(("events", "duplicates", "dead_letters"), numbers, strict=True)))
        pipeline.start()
        time.sleep(draw.random() * LONGEST_LIFE_S)  # not to be safe: the moment is what is drawn
        pipeline.kill()
        amid += pipeline.count() < sent["events"]
    assert amid > KILLS // 4, f"only {amid} kills left something to be stored"
    pipeline.start()
    pipeline.wait()
    assert pipeline.stop() == 0
    account = pipeline.verify()
    assert {name: account[name] for name in sent} == sent, f"seed {seed}"
