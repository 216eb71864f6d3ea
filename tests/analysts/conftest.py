"""A simulated world in the marts: sixty players over forty days until now."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestration.lib.dbt import run_dbt
from simulator.events import document, milliseconds
from simulator.world import World
from tally.cli import tally
from tests.platform import Platform, action, running_platform

Report = Callable[..., str]


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Every model is in place, and nothing in it."""
    with running_platform(tmp_path_factory.mktemp("analysts")) as running:
        run_dbt(["run"], running.settings)
        yield running


@pytest.fixture(scope="session")
def report(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """`tally report` with these options; the page."""

    def make(*options: str) -> str:
        output = tmp_path_factory.mktemp("report") / "report.html"
        return run_report(platform.settings.endpoint("clickhouse_url"), output, *options)

    return make


def run_report(clickhouse_url: str, output: Path, *options: str) -> str:
    """Run the command on a warehouse; an error is raised as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLY_CLICKHOUSE_URL", clickhouse_url)
        told = CliRunner().invoke(tally, ["report", "--output", str(output), *options])
    if told.exception is not None:
        raise told.exception
    return output.read_text()


@pytest.fixture(scope="session")
def empty_page(report: Report) -> str:
    """The report of the platform before it has an event."""
    return report()


@pytest.fixture(scope="session")
def world(platform: Platform, empty_page: str) -> Platform:
    """The platform with the world in it, materialized."""
    now = datetime.now(UTC)
    start = now.date() - timedelta(days=39)
    players = World(seed=5, users=60, days=40, start=start, first_user_id=1)
    happened = takewhile(lambda event: event.at < milliseconds(now), players.events())
    platform.store(document(event) for event in happened)
    # Somebody is there in the hour before the test, at whatever hour it runs.
    at = now - timedelta(minutes=5)
    platform.store([action(1, "LOGIN", at.isoformat(), method="password")])
    run_dbt(["run"], platform.settings)
    return platform
