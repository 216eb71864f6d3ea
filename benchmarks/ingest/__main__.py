"""From a full topic to rows: ClickHouse's Kafka engine, `tally ingest`, and the bare clients.

Everyone reads the same messages from the same Apache Kafka (Java and Maven are needed), one after
the other, round by round; the medians are compared. The engine is that of chDB 4.0.0, the last that
can make a Kafka table, in a virtual environment that is built in `--folder` where it is not there.
Run from the repository: `python -m benchmarks.ingest [--events N] [--rounds N] [--folder F]`.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.ingest import pipeline
from benchmarks.ingest.messages import produce, write_messages
from benchmarks.ingest.processes import Figures, cpu_seconds
from tests.apache_kafka import ApacheKafka, start_apache_kafka

TOPIC = "user-actions"
PARTITIONS = 12
PEER_VERSION = "4.0.0"
DEFAULT, BEST = "Kafka engine, default", "Kafka engine, best"
OURS, TWO_OF_OURS = "tally ingest", "tally ingest, two processes"
# Members that start within this time share the partitions from the start: half of Kafka's default.
REBALANCE_DELAY_MS = 1_500
AIOKAFKA, CONFLUENT = "aiokafka, reading only", "confluent-kafka, reading only"
EVERYONE = (DEFAULT, BEST, OURS, TWO_OF_OURS, AIOKAFKA, CONFLUENT)


def peer_python(folder: Path) -> Path:
    """The interpreter of the peer's virtual environment, which is made at the first time."""
    python = folder / "peer" / "bin" / "python"
    if not python.exists():
        print(f"building {python.parent.parent} with chDB {PEER_VERSION}", file=sys.stderr)
        venv.create(folder / "peer", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", f"chdb=={PEER_VERSION}"], check=True)
    return python


def _measured(command: list[str | Path]) -> Figures:
    """What a contestant in a process of its own printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Figures)


def contestants(
    names: list[str], broker: ApacheKafka, rows: int, folder: Path, scratch: Path
) -> dict[str, Callable[[int], Figures]]:
    """How each of `names` is measured in the given round."""
    address, count = broker.url, str(rows)

    def engine(variant: str) -> Callable[[int], Figures]:
        script = Path(__file__).with_name("kafka_engine.py")
        python = peer_python(folder)
        return lambda nth: _measured(
            [python, script, address, TOPIC, count, variant, scratch / f"{variant}-{nth}"]
        )

    def reader(client: str) -> Callable[[int], Figures]:
        module = [sys.executable, "-m", "benchmarks.ingest.consumers"]
        return lambda _: _measured([*module, address, TOPIC, count, client])

    def ours(processes: int) -> Callable[[int], Figures]:
        return lambda nth: pipeline.measure(
            address, TOPIC, PARTITIONS, rows, scratch / f"ours-{processes}-{nth}", processes
        )

    made: dict[str, Callable[[], Callable[[int], Figures]]] = {
        DEFAULT: lambda: engine("default"),
        BEST: lambda: engine("best"),
        OURS: lambda: ours(1),
        TWO_OF_OURS: lambda: ours(2),
        AIOKAFKA: lambda: reader("aiokafka"),
        CONFLUENT: lambda: reader("confluent"),
    }
    return {name: made[name]() for name in names}


def tell(name: str, figures: Figures, broker_cpu: float) -> None:
    """One line of one measurement."""
    parts = ", ".join(
        f"{part} {seconds / figures.rows * 1e6:.2f}" for part, seconds in figures.cpu.items()
    )
    print(
        f"{name:30} {figures.rate:>11,.0f} rows/s  {figures.cpu_per_row:5.2f} CPU us/row ({parts})"
        f"  broker {broker_cpu / figures.rows * 1e6:.2f}  at most {figures.peak_mib:,.0f} MiB",
        flush=True,
    )


def compare(rounds: dict[str, list[Figures]]) -> None:
    """Print the medians, and what ours is to the others."""
    rates = {name: median(f.rate for f in figures) for name, figures in rounds.items()}
    costs = {name: median(f.cpu_per_row for f in figures) for name, figures in rounds.items()}
    print("medians:")
    for name, rate in rates.items():
        print(f"{name:30} {rate:>11,.0f} rows/s  {costs[name]:5.2f} CPU us/row")
    for ours in (OURS, TWO_OF_OURS):
        for name, rate in rates.items():
            if ours in rates and name not in (OURS, TWO_OF_OURS):
                print(
                    f"{ours} to {name}: {rates[ours] / rate:.2f} of its rate, "
                    f"{costs[ours] / costs[name]:.2f} of its CPU time"
                )


def main() -> None:
    """Produce, measure all in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="Keeps the messages and the peer's venv.")
    parser.add_argument("--only", nargs="+", choices=EVERYONE, default=list(EVERYONE))
    arguments = parser.parse_args()
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="tally-benchmark-") as name,
        nullcontext(arguments.folder or name) as kept,
        start_apache_kafka(Path(name) / "kafka", rebalance_delay_ms=REBALANCE_DELAY_MS) as broker,
    ):
        folder, scratch = Path(kept), Path(name)
        messages = folder / f"messages-{arguments.events}.jsonl"
        if not messages.exists():
            write_messages(messages, arguments.events)
        rows = produce(broker.url, TOPIC, messages, PARTITIONS)
        print(f"{rows:,} messages of {messages.stat().st_size / rows - 1:.0f} bytes", flush=True)
        rounds: dict[str, list[Figures]] = {name: [] for name in arguments.only}
        measures = contestants(arguments.only, broker, rows, folder, scratch)
        for nth in range(arguments.rounds):
            for contestant, measure in measures.items():
                before = cpu_seconds(broker.process.pid)
                figures = measure(nth)
                tell(contestant, figures, cpu_seconds(broker.process.pid) - before)
                rounds[contestant].append(figures)
        compare(rounds)


if __name__ == "__main__":
    main()
