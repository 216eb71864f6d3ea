"""A broker and a Postgres for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import RunningServer, start_kafka, start_postgres


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with start_postgres(tmp_path_factory.mktemp("record") / "postgres") as server:
        yield server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningServer]:
    with start_kafka(tmp_path / "kafka") as server:
        yield server
