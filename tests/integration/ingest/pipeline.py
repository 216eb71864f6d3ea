"""The pipeline under test: a real broker, a real warehouse and `tally ingest` as a process."""

import functools
import itertools
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from ingest import migrations, topics
from ingest.progress import wait_until_stored
from tally.settings import Settings
from tally.warehouse import connect
from tests.integration.ingest.forked import Forked
from tests.servers import start_kafka

PARTITIONS = 3
LIMIT_S = 60


def until(condition: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait for a condition."""
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, f"not within {limit_s} s: {what}"
        time.sleep(0.02)


def own_topics() -> dict[str, object]:
    """Settings with topics and a group that no other test has, for a broker that tests share."""
    name = uuid.uuid4().hex[:8]
    return {
        "actions_topic": f"user-actions-{name}",
        "dead_letter_topic": f"user-actions-{name}.dlq",
        "updates_topic": f"stats-updates-{name}",
        "ingest_group": f"tally-ingest-{name}",
    }


def slot_round(user_id: int = 1, **changes: object) -> dict[str, object]:
    """A settled round with an event id of its own."""
    event: dict[str, object] = {
        "event_id": str(uuid.uuid4()),
        "user_id": user_id,
        "action_type": "SLOT_SPIN",
        "occurred_at": "2026-03-01T11:59:58.123Z",
        "context": {"round_id": uuid.uuid4().hex, "bet": 100, "payout": 250},
    }
    return event | changes


def encode(event: dict[str, object]) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def metric(port: int, name: str) -> float:
    """The sum of a metric's samples."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def ready(port: int) -> tuple[int, dict[str, object]]:
    """The answer of /readyz."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@dataclass
class Pipeline:
    """What a test does with the pipeline."""

    folder: Path
    warehouse_url: str
    broker_url: str
    changes: dict[str, object] = field(default_factory=dict)
    process: Forked | None = None
    users: range = range(1, 51)

    @property
    def settings(self) -> Settings:
        """The settings of every command."""
        return Settings.model_validate(
            {
                "home": self.folder / "home",
                "clickhouse_url": self.warehouse_url,
                "kafka_bootstrap": self.broker_url,
                "ingest_linger_ms": 50,
                "topic_partitions": PARTITIONS,
            }
            | self.changes
        )

    @property
    def environment(self) -> dict[str, str]:
        """The same settings as variables of a command's process."""
        named = self.settings.model_dump(exclude_none=True, exclude={"clickhouse_password"})
        own = {f"TALLY_{name.upper()}": str(value) for name, value in named.items()}
        return {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")} | own

    @property
    def log(self) -> str:
        """What ingestion said, over all its starts."""
        return (self.folder / "ingest.log").read_text()

    def migrate(self) -> None:
        list(migrations.migrate(connect(self.settings)))

    def create_topics(self) -> None:
        topics.create_missing(self.settings)

    def another(self, name: str) -> "Pipeline":
        """A second ingestion of the same group, with a log of its own."""
        folder = self.folder / name
        folder.mkdir()
        return Pipeline(folder, self.warehouse_url, self.broker_url, dict(self.changes))

    def end(self) -> None:
        """Leave no process behind, whatever the test did with it."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def start(self, module: str = "tally", *arguments: str, is_awaited: bool = True) -> None:
        """Start `tally ingest`, or another module, and wait until it has its partitions."""
        path = self.folder / "ingest.log"
        path.touch()
        before = self.log.count("assigned")
        given = arguments or ("ingest",)
        self.process = Forked(module, given, self.environment, path, path)
        if is_awaited:
            until(lambda: self.log.count("assigned") > before, "an assignment")

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._signal(signal.SIGTERM).wait(LIMIT_S)

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL).wait(LIMIT_S)

    def suspend(self) -> None:
        """SIGSTOP: to the group it is as good as dead, until it is resumed."""
        self._signal(signal.SIGSTOP)

    @property
    def is_still(self) -> bool:
        """Whether it is stopped, and not ended."""
        assert self.process is not None
        return "State:\tT" in Path(f"/proc/{self.process.pid}/status").read_text()

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> Forked:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process

    def wake_behind_an_heir(self, meanwhile: Callable[[], None]) -> None:
        """Another takes over from this one, which stands still; then it wakes, and both go on."""
        heir = self.another("heir")
        try:
            heir.start()
            heir.wait()
            self.resume()
            meanwhile()
            heir.wait()
            assert self.stop() == 0
            self.wait()
            assert heir.stop() == 0
        finally:
            heir.end()

    @contextmanager
    def failing_arrivals(self, condition: str) -> Iterator[None]:
        """The view to `raw.arrivals` fails on rows of the condition."""
        view = (
            "alter table raw.landing_to_arrivals modify query select stream, offset, user_id, "
            "toDate(occurred_at, 'UTC') as occurred_date, round_id from raw.landing "
            "where reason = ''"
        )
        self.query(f"{view} and throwIf({condition}) = 0")
        try:
            yield
        finally:
            self.query(view)

    def wait(self, timeout_s: float = LIMIT_S) -> None:
        """Wait until everything in Kafka is stored."""
        wait_until_stored(self.settings, timeout_s=timeout_s)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `tally` command to its end."""
        said = [self.folder / f"command.{name}" for name in ("out", "err")]
        for path in said:
            path.write_bytes(b"")
        code = Forked("tally", arguments, self.environment, *said).wait(LIMIT_S)
        out, err = (path.read_text() for path in said)
        return subprocess.CompletedProcess(arguments, code, out, err)

    def rounds(self, count: int) -> list[bytes | None]:
        """Messages of as many rounds, by this pipeline's users in turn."""
        users = itertools.cycle(self.users)
        return [encode(slot_round(next(users))) for _ in range(count)]

    def produce(
        self, values: Sequence[bytes | None], *, partition: int | None = None, key: bytes = b"1"
    ) -> None:
        """Send messages and wait until the broker has them."""
        producer = Producer(
            {"bootstrap.servers": self.broker_url, "message.max.bytes": 64 * 2**20, "linger.ms": 5}
        )
        at = {} if partition is None else {"partition": partition}
        topic = self.settings.actions_topic  # 1 ms: the settings are read anew
        for value in values:
            producer.produce(topic, value=value, key=key, **at)
            producer.poll(0)
        assert producer.flush(LIMIT_S) == 0

    def query(self, sql: str) -> Sequence[Sequence[object]]:
        """Rows of a query over raw; `{here}` is the condition of this broker's streams."""
        client = connect(self.settings)
        return client.query(
            sql.replace("{here}", self.here) if "{here}" in sql else sql
        ).result_rows

    @functools.cached_property
    def cluster_id(self) -> str:
        """Of the broker. Another test's may have had the same port: it is kept for no longer."""
        admin = AdminClient({"bootstrap.servers": self.broker_url})
        return str(admin.list_topics(timeout=LIMIT_S).cluster_id)

    @property
    def here(self) -> str:
        """The condition of this broker's streams of this topic."""
        return f"startsWith(stream, '{self.cluster_id}/{self.settings.actions_topic}/')"

    def count(self) -> int:
        """Accepted events of this broker, each once."""
        ((number,),) = self.query("select count() from raw.events final where {here}")
        return int(str(number))

    def ledger(self) -> dict[str, list[tuple[int, int, str]]]:
        """The ledger's ranges by stream, of all brokers."""
        found: dict[str, list[tuple[int, int, str]]] = {}
        for stream, first, last, kind in self.query(
            "select stream, first_offset, last_offset, kind from raw.ingest_ledger final "
            "order by stream, first_offset, last_offset"
        ):
            found.setdefault(str(stream), []).append((int(str(first)), int(str(last)), str(kind)))
        return found

    def own_ledger(self) -> dict[str, list[tuple[int, int, str]]]:
        """The ledger's ranges by stream, of this broker and topic."""
        here = self.here.split("'")[1]
        return {s: ranges for s, ranges in self.ledger().items() if s.startswith(here)}

    def assert_contiguous(self) -> None:
        """Every stream of this broker is covered from 0 on, without holes or overlaps."""
        streams = self.own_ledger()
        assert streams
        for stream, ranges in streams.items():
            expected = 0
            for first, last, _ in ranges:
                assert first == expected, (stream, ranges)
                expected = last + 1

    def verify(self) -> dict[str, int]:
        """The sums of `tally verify-ingest`, which must find no fault."""
        done = self.command("verify-ingest", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        document = json.loads(done.stdout)
        assert document["clean"]
        names = ("events", "duplicates", "dead_letters", "erased", "gaps", "lost")
        return {name: sum(each[name] for each in document["streams"]) for name in names}

    def dead_letter_topic(self, count: int) -> list[tuple[dict[str, str], bytes | None]]:
        """The first `count` messages of the dead-letter topic: headers and value."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.broker_url,
                "group.id": uuid.uuid4().hex,
                "fetch.message.max.bytes": 64 * 2**20,
                "receive.message.max.bytes": 100 * 2**20,
            }
        )
        topic = self.settings.dead_letter_topic
        consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        found = []
        limit = time.monotonic() + LIMIT_S
        while len(found) < count and time.monotonic() < limit:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                headers = {name: (value or b"").decode() for name, value in message.headers() or []}
                found.append((headers, message.value()))
        consumer.close()
        return found


@contextmanager
def inserting_slowly(settings: Settings, tokens: Sequence[str]) -> Iterator[Future[Any]]:
    """An insert under these tokens that takes ten seconds, as one is left by who was killed."""
    insert = "insert into raw.arrivals (stream, offset)"
    running = f"select count() from system.processes where query like '{insert}%'"
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(
            connect(settings).command,
            f"{insert} select 'slow', sleepEachRow(0.1) from numbers(100) settings "
            f"max_block_size = 1, insert_deduplication_token = '{','.join(tokens)}'",
        )
        until(lambda: connect(settings).command(running) == 1, "the insert to run")
        yield ending


@contextmanager
def ingesting(
    folder: Path, warehouse_url: str, changes: Mapping[str, object] | None = None
) -> Iterator[Pipeline]:
    """Ingestion into the warehouse, from a broker of its own."""
    with start_kafka(folder / "broker", partitions=PARTITIONS) as broker:
        pipeline = Pipeline(folder, warehouse_url, broker.url, dict(changes or {}))
        pipeline.start()
        try:
            yield pipeline
        finally:
            pipeline.end()
