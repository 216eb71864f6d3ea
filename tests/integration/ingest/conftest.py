"""One warehouse for the tests of this folder, and a broker and an ingestion for each of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.apache_kafka import ApacheKafka, start_apache_kafka
from tests.integration.ingest.pipeline import PARTITIONS, Pipeline, own_topics
from tests.servers import RunningServer, start_clickhouse, start_kafka


@pytest.fixture(scope="session")
def shared_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with start_clickhouse(tmp_path_factory.mktemp("ingest") / "warehouse") as server:
        yield server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningServer]:
    with start_kafka(tmp_path / "broker", partitions=PARTITIONS) as server:
        yield server


@pytest.fixture
def embedded_pipeline(
    tmp_path: Path, shared_warehouse: RunningServer, broker: RunningServer
) -> Iterator[Pipeline]:
    """Servers that run, a migrated warehouse, and an ingestion that is not started yet."""
    made = Pipeline(tmp_path, shared_warehouse.url, broker.url)
    made.migrate()
    yield made
    made.end()


@pytest.fixture
def pipeline(embedded_pipeline: Pipeline) -> Pipeline:
    """The usual pipeline; a module may take another one under this name."""
    return embedded_pipeline


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A node that all tests share: who kills it starts it again."""
    with start_apache_kafka(tmp_path_factory.mktemp("kafka") / "node") as node:
        yield node


@pytest.fixture
def kafka_pipeline(
    tmp_path: Path, shared_warehouse: RunningServer, apache_kafka: ApacheKafka
) -> Iterator[Pipeline]:
    """The same on Apache Kafka, with topics and a group of its own."""
    made = Pipeline(tmp_path, shared_warehouse.url, apache_kafka.url, own_topics())
    made.migrate()
    made.create_topics()
    yield made
    made.end()


USERS_OF_A_FAULT = 50


@dataclass
class Proving:
    """A warehouse for faults, whose marts are proven at the end, and the users of each fault."""

    folder: Path
    warehouse: RunningServer
    users: dict[str, range] = field(default_factory=dict)

    def users_of(self, fault: str) -> range:
        """Users that no other fault has, so that a wrong number names its fault."""
        first = 1 + len(self.users) * USERS_OF_A_FAULT
        return self.users.setdefault(fault, range(first, first + USERS_OF_A_FAULT))

    def kill_warehouse(self) -> None:
        """SIGKILL."""
        self.warehouse.kill()

    def start_warehouse_again(self) -> None:
        """On the same data and the same port."""
        port = int(self.warehouse.url.rpartition(":")[2])
        self.warehouse = start_clickhouse(self.folder / "warehouse", port=port)


@pytest.fixture(scope="session")
def proving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proving]:
    folder = tmp_path_factory.mktemp("proving")
    made = Proving(folder, start_clickhouse(folder / "warehouse"))
    yield made
    made.warehouse.stop()


@pytest.fixture
def faulty_pipeline(
    request: pytest.FixtureRequest, tmp_path: Path, proving: Proving, apache_kafka: ApacheKafka
) -> Iterator[Pipeline]:
    """On Apache Kafka and the warehouse whose marts `test_ingest_proof.py` proves."""
    made = Pipeline(
        tmp_path,
        proving.warehouse.url,
        apache_kafka.url,
        own_topics(),
        users=proving.users_of(request.node.name),
    )
    made.migrate()
    made.create_topics()
    yield made
    made.end()
