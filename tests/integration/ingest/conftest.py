"""One warehouse for the tests of this folder, and a broker and an ingestion for each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.ingest.pipeline import PARTITIONS, Pipeline
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
def pipeline(
    tmp_path: Path, shared_warehouse: RunningServer, broker: RunningServer
) -> Iterator[Pipeline]:
    """Servers that run, a migrated warehouse, and an ingestion that is not started yet."""
    made = Pipeline(tmp_path, shared_warehouse.url, broker.url)
    made.migrate()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()
