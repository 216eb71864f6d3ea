"""One warehouse for the tests of this folder, and a broker and an ingestion for each of them."""

from collections.abc import Iterator
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
    """A node that no test may stop, because all of them share it."""
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
