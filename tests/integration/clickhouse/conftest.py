"""One embedded warehouse for the tests of a module, and the plainest client there is."""

from collections.abc import Iterator

import pytest

from tests.integration.clickhouse.plain import Http
from tests.servers import RunningServer, start_clickhouse


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An empty warehouse without a password."""
    with start_clickhouse(tmp_path_factory.mktemp("warehouse") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def http(warehouse: RunningServer) -> Iterator[Http]:
    """A client of `warehouse`."""
    http = Http(warehouse.url)
    with http.client:
        yield http


@pytest.fixture
def table(http: Http, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an empty table `(id UInt64, name String)` of the test's own."""
    name = f"t_{abs(hash(request.node.nodeid)):x}"
    http.text(f"create table {name} (id UInt64, name String) engine = MergeTree order by id")
    yield name
    http.text(f"drop table {name}")
