"""From produced to visible at a steady rate: the age of each message when its ledger row is there.

Against a real Apache Kafka and over HTTP, as `benchmarks.ingest` does. Memory is sampled each
second: it has to be as flat at the end as after the first quarter. Run from the repository:
`python -m benchmarks.ingest.latency [--rate N] [--seconds N]`.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from statistics import median

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.ingest.messages import read_messages, write_messages
from benchmarks.ingest.pipeline import STORED, empty_warehouse, running_ingest
from benchmarks.ingest.processes import resident_mib
from tally.errors import TallyError
from tally.settings import Settings
from tally.warehouse import connect
from tests.apache_kafka import start_apache_kafka

TOPIC = "user-actions"
PARTITIONS = 12
TICK_S = 0.01
STORE_LIMIT_S = 120.0

# `appended_at` is the producer's clock, `stored_at` ingestion's when the range was readable: one
# machine, one clock.
AGES = """
select quantilesExact(0.5, 0.95, 0.99, 1)(date_diff('millisecond', appended_at, stored_at))
from (select stream, offset, appended_at from raw.events) as e
asof join (select stream, first_offset, stored_at from raw.ingest_ledger) as l
    on e.stream = l.stream and e.offset >= l.first_offset
"""


def produce_steadily(
    bootstrap: str, messages: Path, rate: int, seconds: int, ingest_pid: int
) -> tuple[float, list[float]]:
    """Send at the rate; the rate that was reached, and ingestion's MiB second by second."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    memory: list[float] = []
    source = read_messages(messages)
    started, sent = time.monotonic(), 0
    while (passed := time.monotonic() - started) < seconds:
        for key, value in itertools.islice(source, int(passed * rate) - sent):
            producer.produce(TOPIC, value=value, key=key)
            sent += 1
        producer.poll(0)
        if passed >= len(memory):
            memory.append(resident_mib(ingest_pid))
        time.sleep(TICK_S)
    if producer.flush(STORE_LIMIT_S):
        raise TallyError("The broker did not take the messages.")
    return sent / (time.monotonic() - started), memory


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tally-benchmark-") as name:
        folder = Path(name)
        count = arguments.rate * arguments.seconds
        write_messages(folder / "messages.jsonl", count)
        with (
            start_apache_kafka(folder / "kafka") as broker,
            empty_warehouse(folder) as server,
        ):
            settings = Settings(
                home=folder / "home", clickhouse_url=server.url, kafka_bootstrap=broker.url
            )
            admin = AdminClient({"bootstrap.servers": broker.url})
            admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result()
            client = connect(settings)
            with running_ingest(settings, [folder / "ingest.log"], PARTITIONS) as (ingest,):
                rate, memory = produce_steadily(
                    broker.url,
                    folder / "messages.jsonl",
                    arguments.rate,
                    arguments.seconds,
                    ingest.pid,
                )
                limit = time.monotonic() + STORE_LIMIT_S
                while (stored := int(str(client.command(STORED)))) < int(
                    rate * arguments.seconds * 0.99
                ):
                    if time.monotonic() > limit:
                        raise TallyError(f"only {stored:,} are stored")
                    time.sleep(0.5)
            [[[p50, p95, p99, most]]] = client.query(AGES).result_rows
    quarter = len(memory) // 4
    print(f"{rate:,.0f} messages/s for {arguments.seconds} s")
    print(f"produced to visible: p50 {p50} ms, p95 {p95} ms, p99 {p99} ms, at most {most} ms")
    print(
        f"memory of ingestion: {median(memory[quarter : 2 * quarter]):,.0f} MiB in the second "
        f"quarter, {median(memory[-quarter:]):,.0f} MiB in the last, at most {max(memory):,.0f} MiB"
    )


if __name__ == "__main__":
    main()
