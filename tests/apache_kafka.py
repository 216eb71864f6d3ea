"""Apache Kafka itself for tests: one KRaft node of this machine's Java, on data that it keeps."""

import functools
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import RunningServer, wait_until_it_answers

POM = Path(__file__).parent / "kafka" / "pom.xml"
MAVEN_LIMIT_S = 300

# C1 code only and the serial collector: a node that lives for a minute starts in half the time.
_JAVA = ["java", "-Xms96m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]

_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms={rebalance_delay_ms}
# A node that was killed may register again when its former session has ended: 9 s by default.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=200
# An offset that the log has lost to retention is a case of its own test.
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=100
# So is what compaction took away: the cleaner looks each 15 s by default.
log.cleaner.backoff.ms=100
num.network.threads=2
num.io.threads=2
"""


@functools.cache
def broker_jars() -> Path:
    """The folder of the broker's jars, fetched by Maven once and kept in the user's cache.

    Skips the test, saying why, where Java or Maven is missing or Maven cannot fetch.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"Apache Kafka needs {program}, which this machine lacks")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "tally-tests" / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
        done = subprocess.run(
            ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies",
             "-DincludeScope=runtime", f"-DoutputDirectory={partial}/jars"],
            capture_output=True, text=True, timeout=MAVEN_LIMIT_S, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            pytest.skip(f"Maven could not fetch Apache Kafka: {done.stdout[-500:]}")
        Path(partial, "jars").rename(folder)
    return folder


@dataclass
class ApacheKafka(RunningServer):
    """A node that answers at `url`, on data in `folder`."""

    folder: Path

    def start_again(self) -> None:
        """Start on the same data and the same port."""
        self.process = _start(self.folder, self.url)


def start_apache_kafka(folder: Path, *, rebalance_delay_ms: int = 0) -> ApacheKafka:
    """Format a new node in `folder`, start it and wait until it answers. It has no topics.

    Its output is in `<folder>/broker.log`.
    """
    folder.mkdir(parents=True)
    port, controller_port = _free_ports(2)
    properties = folder / "server.properties"
    properties.write_text(
        _PROPERTIES.format(
            port=port,
            controller_port=controller_port,
            data=folder / "data",
            rebalance_delay_ms=rebalance_delay_ms,
        )
    )
    cluster_id = _new_cluster_id()
    _run(folder, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties))
    url = f"127.0.0.1:{port}"
    return ApacheKafka(url, _start(folder, url), folder)


def _new_cluster_id() -> str:
    """A cluster id as Kafka writes them: never with a dash at first, which would be an option."""
    while (made := urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return made


def _command(main: str, *arguments: str) -> list[str]:
    return [*_JAVA, "-cp", f"{broker_jars()}/*", main, *arguments]


def _run(folder: Path, main: str, *arguments: str) -> None:
    done = subprocess.run(_command(main, *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{main} failed in {folder}:\n{done.stdout}\n{done.stderr}")


def _start(folder: Path, url: str) -> subprocess.Popen[bytes]:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    log = folder / "broker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            _command("kafka.Kafka", str(folder / "server.properties")), stdout=output, stderr=output
        )
    admin = AdminClient({"bootstrap.servers": url, "log_level": 0})

    def answers() -> bool:
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    wait_until_it_answers(process, answers, log)
    return process


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports
