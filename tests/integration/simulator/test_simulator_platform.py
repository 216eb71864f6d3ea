"""The simulator against real servers: what it publishes, what it records, and how it waits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from simulator import record
from tests.servers import RunningServer

WORLD = ("--users", "12", "--days", "12", "--seed", "5")
LONGER_WORLD = ("--users", "12", "--days", "40", "--seed", "5")
TOPIC = "user-actions"
LIMIT_S = 60


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
    return subprocess.Popen(
        [sys.executable, "-m", "tally", "simulate", *arguments],
        env=inherited | {f"TALLY_{name}": value for name, value in environment.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def simulate(*arguments: str, **environment: str) -> str:
    process = start(*arguments, **environment)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    return output


def consumer(broker: RunningServer) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": broker.url,
            "group.id": "tally-ingest",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )


def published(broker: RunningServer) -> list[tuple[bytes, bytes, int]]:
    """The (key, value, partition) of every message in the topic."""
    client = consumer(broker)
    try:
        partitions = client.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        assigned = [TopicPartition(TOPIC, partition, 0) for partition in partitions]
        total = sum(client.get_watermark_offsets(each, timeout=10)[1] for each in assigned)
        client.assign(assigned)
        found: list[tuple[bytes, bytes, int]] = []
        limit = time.monotonic() + LIMIT_S
        while len(found) < total:
            assert time.monotonic() < limit
            for message in client.consume(1_000, timeout=0.2):
                found.append((message.key(), message.value(), message.partition()))  # noqa: PERF401
        return found
    finally:
        client.close()


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


@pytest.fixture
def empty_record(postgres: RunningServer) -> str:
    """The address of a system of record in which nothing has happened."""
    with psycopg.connect(postgres.url) as connection:
        connection.execute("drop table if exists user_actions, alembic_version")
    return postgres.url


def test_the_topic_holds_what_a_file_of_the_same_world_holds_keyed_by_user(
    broker: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "world.jsonl"
    simulate(*WORLD, "--out", str(file))
    simulate(*WORLD, KAFKA_BOOTSTRAP=broker.url)
    found = published(broker)
    assert sorted(value for _, value, _ in found) == sorted(lines(file))
    partition_of: dict[bytes, int] = {}
    order: dict[bytes, list[bytes]] = {}
    for key, value, partition in found:
        assert key == b"%d" % json.loads(value)["user_id"]
        assert partition_of.setdefault(key, partition) == partition
        order.setdefault(key, []).append(value)
    for key, values in order.items():
        assert values == [line for line in lines(file) if b'"user_id":%b,' % key in line]


def test_the_record_holds_every_action_once_with_those_that_were_lost(
    broker: RunningServer, empty_record: str, tmp_path: Path
) -> None:
    file = tmp_path / "clean.jsonl"
    simulate(*WORLD, "--out", str(file))
    for _ in range(2):
        told = simulate(
            *WORLD, "--faults", "lost", KAFKA_BOOTSTRAP=broker.url, POSTGRES_URL=empty_record
        )
    lost = int(told.partition(" lost")[0].split()[-1])
    messages = Counter(json.loads(value)["event_id"] for _, value, _ in published(broker))
    happened = [json.loads(line) for line in lines(file)]
    with psycopg.connect(empty_record) as connection:
        recorded = connection.execute(
            "select event_id, user_id, action_type, occurred_at at time zone 'UTC', context "
            "from user_actions order by event_id"
        ).fetchall()
    assert [
        (event_id, user_id, action, f"{at.isoformat(timespec='milliseconds')}Z", context)
        for event_id, user_id, action, at, context in recorded
    ] == [
        (
            UUID(event["event_id"]),
            event["user_id"],
            event["action_type"],
            event["occurred_at"],
            event["context"],
        )
        for event in sorted(happened, key=lambda event: event["event_id"])
    ]
    assert lost > 0
    assert len(messages) == len(happened) - lost
    assert set(messages.values()) == {2}


def test_a_players_actions_are_found_by_index(empty_record: str) -> None:
    record.migrate(empty_record)
    with psycopg.connect(empty_record) as connection:
        connection.execute("set enable_seqscan = off")
        plan = connection.execute(
            "explain select * from user_actions where user_id = 1 and created_at > now()"
        ).fetchall()
    assert any("user_actions_user_created" in line for (line,) in plan)


def test_migrations_have_one_head_and_go_back(empty_record: str) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    record.migrate(empty_record)
    config = record.alembic_config(empty_record)
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1
    command.downgrade(config, "base")
    with psycopg.connect(empty_record) as connection:
        assert connection.execute("select to_regclass('user_actions')").fetchone() == (None,)
    record.migrate(empty_record)


def test_it_waits_while_too_much_is_unread_and_goes_on_when_it_is_read(
    broker: RunningServer,
) -> None:
    limit = 50_000
    process = start(*LONGER_WORLD, KAFKA_BOOTSTRAP=broker.url, KAFKA_MAX_UNREAD_BYTES=str(limit))
    client = consumer(broker)
    client.subscribe([TOPIC])
    try:
        unread: Counter[int] = Counter()
        largest = 0
        end = time.monotonic() + LIMIT_S
        while process.poll() is None:
            assert time.monotonic() < end
            for message in client.consume(500, timeout=0.3):
                unread[message.partition()] += len(message.value())
            largest = max(largest, *unread.values(), 0)
            if unread:
                client.commit(asynchronous=False)
                unread.clear()
        assert process.returncode == 0
        # It asks before a batch, so one may come on top of three quarters of the limit.
        assert limit // 10 < largest < limit * 3 // 4 + 1_500 * 400
    finally:
        client.close()
        process.kill()


def test_it_stops_at_sigterm_while_it_waits_for_ingestion(broker: RunningServer) -> None:
    process = start(*LONGER_WORLD, KAFKA_BOOTSTRAP=broker.url, KAFKA_MAX_UNREAD_BYTES="1000")
    client = consumer(broker)
    try:
        limit = time.monotonic() + LIMIT_S
        while not any(
            client.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=10)[1]
            for partition in client.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        ):
            assert time.monotonic() < limit
            assert process.poll() is None
    finally:
        client.close()
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    assert "1,500 accepted" in output


def test_live_it_goes_on_until_it_is_stopped_and_then_tells_the_truth(
    broker: RunningServer, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.jsonl"
    process = start(
        *("--users", "40", "--days", "2", "--live", "--truth", str(truth)),
        KAFKA_BOOTSTRAP=broker.url,
    )
    client = consumer(broker)
    client.subscribe([TOPIC])
    read = 0
    try:
        limit = time.monotonic() + LIMIT_S
        while read < 100:
            assert time.monotonic() < limit
            assert process.poll() is None
            read += len(client.consume(500, timeout=0.5))
    finally:
        client.close()
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    assert len(lines(truth)) == 40


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "No kafka_bootstrap is known"),
        ({"KAFKA_BOOTSTRAP": "127.0.0.1:9"}, "Kafka at 127.0.0.1:9"),
    ],
)
def test_a_broker_that_is_not_there_is_an_error_for_a_reader(
    environment: dict[str, str], told: str, tmp_path: Path
) -> None:
    process = start(*WORLD, "--home", str(tmp_path / "nowhere"), **environment)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert told in errors
    assert "Traceback" not in errors


def test_a_record_that_is_not_there_is_an_error_for_a_reader(broker: RunningServer) -> None:
    process = start(
        *WORLD, KAFKA_BOOTSTRAP=broker.url, POSTGRES_URL="postgresql://nobody@127.0.0.1:9/none"
    )
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert "The system of record does not answer" in errors
    assert "Traceback" not in errors
