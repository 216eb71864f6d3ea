"""`tally ingest` as in production: its own process, the warehouse's another, HTTP between them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.ingest.processes import Figures, cpu_seconds, resident_mib
from ingest import migrations
from tally.errors import TallyError
from tally.settings import Settings
from tally.warehouse import connect
from tests.servers import RunningServer, start_clickhouse

START_LIMIT_S = 60.0
STORE_LIMIT_S = 300.0
POLL_S = 0.5
STORED = "select sum(accepted + dead) from raw.ingest_ledger"


@contextmanager
def running_ingest(
    settings: Settings, logs: list[Path], partitions: int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One `tally ingest` for each log, from the moment when each has its share, until SIGTERM.

    The broker has to wait for all to join: a share of another size is not waited for.
    """
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("TALLY_")},
        "TALLY_HOME": str(settings.home),
        "TALLY_CLICKHOUSE_URL": settings.endpoint("clickhouse_url"),
        "TALLY_KAFKA_BOOTSTRAP": settings.endpoint("kafka_bootstrap"),
        "TALLY_ACTIONS_TOPIC": settings.actions_topic,
        "TALLY_INGEST_GROUP": settings.ingest_group,
    }
    processes = []
    try:
        for log in logs:
            with log.open("wb") as output:
                command = [sys.executable, "-m", "tally", "ingest"]
                processes.append(subprocess.Popen(command, env=environment, stderr=output))
        share = f"assigned {partitions // len(logs)} partitions".encode()
        limit = time.monotonic() + START_LIMIT_S
        for process, log in zip(processes, logs, strict=True):
            while share not in log.read_bytes():
                if process.poll() is not None or time.monotonic() > limit:
                    raise TallyError(f"tally ingest did not start:\n{log.read_text()}")
                time.sleep(0.01)
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()


@contextmanager
def empty_warehouse(folder: Path) -> Iterator[RunningServer]:
    """A server in `folder`, with raw as the migrations make it."""
    with start_clickhouse(folder / "clickhouse") as server:
        settings = Settings(clickhouse_url=server.url)
        list(migrations.migrate(connect(settings)))
        yield server


def measure(  # noqa: PLR0917 - what is measured, and where
    bootstrap: str, topic: str, partitions: int, rows: int, folder: Path, processes: int = 1
) -> Figures:
    """From the assignment of the partitions to the ledger row of the last batch.

    Memory is that of the largest of the processes.
    """
    folder.mkdir()
    with empty_warehouse(folder) as server:
        settings = Settings(
            home=folder / "home",
            clickhouse_url=server.url,
            kafka_bootstrap=bootstrap,
            actions_topic=topic,
            ingest_group=f"benchmark-{folder.name}",
        )
        client = connect(settings)
        warehouse_before = cpu_seconds(server.pid)
        logs = [folder / f"ingest-{nth}.log" for nth in range(processes)]
        with running_ingest(settings, logs, partitions) as members:
            pids = [member.pid for member in members]
            started, ingest_before = datetime.now(UTC), sum(map(cpu_seconds, pids))
            limit = time.monotonic() + STORE_LIMIT_S
            while int(str(client.command(STORED))) < rows:
                if time.monotonic() > limit:
                    raise TallyError(f"not stored after {STORE_LIMIT_S} s")
                time.sleep(POLL_S)
            cpu = {
                "ingest": sum(map(cpu_seconds, pids)) - ingest_before,
                "warehouse": cpu_seconds(server.pid) - warehouse_before,
            }
            peak = max(resident_mib(pid, peak=True) for pid in pids)
        [[ended, batches]] = client.query(
            "select max(stored_at), count() from raw.ingest_ledger"
        ).result_rows
        stored = client.command("select count() from raw.events final")
        letters = client.command("select count() from raw.dead_letters final")
        if stored != rows or letters:
            raise TallyError(f"{stored} events and {letters} dead letters of {rows} messages")
        print(f"  {batches} ranges in the ledger")
        return Figures(rows, (ended - started).total_seconds(), cpu, peak)
