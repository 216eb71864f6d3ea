"""The rate from `tally replay` to readable in raw, as a share of what the warehouse alone can take.

Both run against the same embedded servers: the peer inserts the same events as ready-made Arrow
batches over HTTP, without Kafka, validation, dead letters or ledger. Run from the repository:
`python -m benchmarks.ingest_throughput [--events N]`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

from ingest import migrations
from ingest.batch import SCHEMA, Batch, encode
from ingest.progress import wait_until_stored
from ingest.streams import Stream
from ingest.writer import INSERT_SETTINGS
from tally.settings import Settings
from tally.warehouse import connect
from tests.servers import start_clickhouse, start_kafka

PLAYERS = 5_000
PEER_BATCH_ROWS = 10_000


def rounds(count: int) -> list[bytes]:
    """Settled rounds of about 250 bytes, over 30 days."""
    return [
        json.dumps(
            {
                "event_id": str(uuid.UUID(int=number + 1, version=5)),
                "user_id": number * 7919 % PLAYERS + 1,
                "action_type": "SLOT_SPIN",
                "occurred_at": f"2026-10-{number % 30 + 1:02d}T12:{number % 60:02d}:00.123Z",
                "source": "benchmark",
                "context": {"round_id": f"round-{number:08d}", "bet": 100, "payout": number % 300},
            },
            separators=(",", ":"),
        ).encode()
        for number in range(count)
    ]


def measure_peer(settings: Settings, messages: list[bytes]) -> float:
    """Events a second that the warehouse takes from one client that does nothing else."""
    payloads = []
    for first in range(0, len(messages), PEER_BATCH_ROWS):
        batch = Batch(Stream("peer", "peer", 0), first, 0.0)
        batch.add(
            [
                SimpleNamespace(offset=offset, timestamp=0, key=b"", value=value, headers=())
                for offset, value in enumerate(messages[first : first + PEER_BATCH_ROWS], first)
            ]
        )
        payloads.append((batch.token, encode([batch])))
    client = connect(settings)
    started = time.monotonic()
    for token, payload in payloads:
        client.raw_insert(
            "raw.landing",
            column_names=SCHEMA.names,
            insert_block=payload,
            fmt="ArrowStream",
            settings={**INSERT_SETTINGS, "insert_deduplication_token": token},
        )
    return len(messages) / (time.monotonic() - started)


def measure_pipeline(settings: Settings, messages: list[bytes], folder: Path) -> float:
    """Events a second from the start of the replay until the ledger covers them all."""
    source = folder / "rounds.jsonl"
    source.write_bytes(b"\n".join(messages))
    tally = [sys.executable, "-c", "from tally.cli import main; main()"]
    home = ["--home", str(folder / "home")]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("TALLY_")},
        "TALLY_CLICKHOUSE_URL": str(settings.clickhouse_url),
        "TALLY_KAFKA_BOOTSTRAP": str(settings.kafka_bootstrap),
        "TALLY_KAFKA_MAX_UNREAD_BYTES": str(settings.kafka_max_unread_bytes),
    }
    with (folder / "ingest.log").open("wb") as log:
        ingest = subprocess.Popen([*tally, "ingest", *home], env=environment, stderr=log)
    try:
        while b"assigned" not in (folder / "ingest.log").read_bytes():
            time.sleep(0.05)
        started = time.monotonic()
        subprocess.run(
            [*tally, "replay", str(source), "--format", "jsonl", *home], env=environment, check=True
        )
        wait_until_stored(settings, timeout_s=300)
        return len(messages) / (time.monotonic() - started)
    finally:
        ingest.send_signal(signal.SIGTERM)
        ingest.wait(30)


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=600_000)
    messages = rounds(parser.parse_args().events)
    with tempfile.TemporaryDirectory(prefix="tally-benchmark-") as name:
        folder = Path(name)
        with (
            start_clickhouse(folder / "clickhouse") as warehouse,
            start_kafka(folder / "kafka") as broker,
        ):
            settings = Settings(
                home=folder / "home",
                clickhouse_url=warehouse.url,
                kafka_bootstrap=broker.url,
                kafka_max_unread_bytes=4 * 2**20,
            )
            list(migrations.migrate(connect(settings)))
            ours = measure_pipeline(settings, messages, folder)
            peer = measure_peer(settings, messages)
            count = connect(settings).command("select count() from raw.events final")
            assert count == len(messages), f"{count} events of {len(messages)} are in raw"
    size = sum(map(len, messages)) / len(messages)
    print(f"{len(messages):,} events of {size:.0f} bytes")
    print(f"replay to visible in raw: {ours:,.0f} events/s")
    print(f"ready-made Arrow into the same tables: {peer:,.0f} events/s")
    print(f"ratio: {ours / peer:.2f}")


if __name__ == "__main__":
    main()
