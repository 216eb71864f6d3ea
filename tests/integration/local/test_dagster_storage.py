"""Where Dagster keeps its runs: files of the home, or the Postgres that a setting names."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from tally.errors import TallyError
from tally.local.stack import dagster_configuration
from tally.settings import Settings
from tests.servers import RunningServer, start_postgres


@pytest.fixture
def postgres() -> Iterator[RunningServer]:
    # Not in pytest's folder, to which another pytest of the same user takes the server's right.
    with (
        tempfile.TemporaryDirectory() as folder,
        start_postgres(Path(folder) / "postgres") as server,
    ):
        yield server


@dg.op
def nothing() -> None:
    """A run needs an op."""


@dg.job
def idle() -> None:
    """The shortest job."""
    nothing()


def remembered(home: Path, settings: Settings) -> list[str]:
    """Run a job on an instance of the settings; the run that another instance then knows."""
    home.mkdir()
    (home / "dagster.yaml").write_text(dagster_configuration(settings))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = idle.execute_in_process(instance=instance).run_id
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert [each.run_id for each in instance.get_runs()] == [run]
        assert instance.run_monitoring_enabled
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 2
        one_writer = {"key": "tally/writes", "value": "marts", "limit": 1}
        assert queue.tag_concurrency_limits == [one_writer]
    return [run]


def test_runs_are_in_the_postgres_of_the_setting(
    postgres: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TallyError, match=r"postgresql\+psycopg2"):
        dagster_configuration(Settings(dagster_postgres_url=postgres.url))
    url = postgres.url.replace("postgresql", "postgresql+psycopg2", 1)
    monkeypatch.setenv("TALLY_DAGSTER_POSTGRES_URL", url)
    runs = remembered(tmp_path / "dagster", Settings(dagster_postgres_url=url))
    with psycopg.connect(postgres.url) as connection:
        assert [run for (run,) in connection.execute("select run_id from runs")] == runs
    assert not (tmp_path / "dagster" / "history").exists()


def test_runs_are_in_files_of_the_home_without_the_setting(tmp_path: Path) -> None:
    remembered(tmp_path / "dagster", Settings())
    assert list((tmp_path / "dagster" / "history").rglob("*.db"))
