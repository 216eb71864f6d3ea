"""Dagster's own processes killed while they work: the state stays right, and the next run heals.

On a stack with Dagster, whose sensor does what there is to do; raw is written by the tests.
"""

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from clickhouse_connect.driver.exceptions import Error
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from tally.warehouse import connect
from tests.platform import Platform, action
from tests.stacks import Stack

# A look of the sensor, a run and run monitoring take half a minute each on two idle cores.
LIMIT_S = 300
DAY_S = 86_400

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("orchestrated") / "home")
    running.tally("up", "--detach", "--without", "kafka,ingest,api", "--with", "exporter")
    try:
        yield running
    finally:
        running.tally("down")


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Platform:
    return Platform(stack.settings, connect(stack.settings))


@pytest.fixture(scope="module")
def instance(stack: Stack) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(stack.home / "dagster")) as found:
        yield found


def until(condition: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit, f"not within {LIMIT_S} s: {what}"
        time.sleep(0.1)


def metrics(stack: Stack) -> str:
    """What the exporter tells Prometheus now."""
    url = f"http://127.0.0.1:{stack.settings.exporter_metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=30) as response:
        text: str = response.read().decode()
        return text


def pid(stack: Stack, service: str) -> int:
    found: int = stack.status()["services"][service]["pid"]
    return found


def kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def children(process: int) -> list[int]:
    """The living processes that a process has started."""
    with suppress(FileNotFoundError):
        tasks = Path(f"/proc/{process}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]
    return []


def descendants(process: int) -> list[int]:
    found = children(process)
    return found + [each for child in found for each in descendants(child)]


def login(platform: Platform, user: int) -> None:
    platform.store([action(user, "LOGIN", "2026-03-01T12:00:00Z")])


def is_published(platform: Platform, user: int) -> bool:
    """Whether people read it; not while the warehouse is away."""
    try:
        found = platform.client.command(
            f"select count() from published.user_days final where user_id = {user}"
        )
    except Error:
        return False
    return found == 1


def started_run(instance: dg.DagsterInstance) -> str:
    """The run that begins next, once dbt builds in it."""
    found: list[str] = []

    def has_started() -> bool:
        found[:] = [
            run.run_id
            for run in instance.get_runs(
                dg.RunsFilter(job_name="materialize", statuses=[dg.DagsterRunStatus.STARTED])
            )
        ]
        return bool(found)

    until(has_started, "a run of the minute job")
    return found[0]


def failed(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status is dg.DagsterRunStatus.FAILURE


def test_what_arrives_is_published_without_anyone(stack: Stack, platform: Platform) -> None:
    login(platform, 1)
    until(lambda: is_published(platform, 1), "the publication by the sensor")


def test_a_killed_run_is_a_failure_that_prometheus_sees_and_the_next_run_heals(
    stack: Stack, platform: Platform, instance: dg.DagsterInstance
) -> None:
    login(platform, 2)
    run = started_run(instance)
    for process in descendants(pid(stack, "dagster-code")):
        kill(process)
    until(lambda: failed(instance, run), "the failure of the killed run")
    until(
        lambda: 'tally_dagster_last_run_failed{job="materialize"} 1.0' in metrics(stack),
        "the failure in the metrics",
    )
    until(lambda: is_published(platform, 2), "the publication by the next run")
    until(
        lambda: 'tally_dagster_last_run_failed{job="materialize"} 0.0' in metrics(stack),
        "the end of the alert",
    )


def test_a_run_that_goes_with_its_code_server_does_not_hold_the_queue(
    stack: Stack, platform: Platform, instance: dg.DagsterInstance
) -> None:
    login(platform, 3)
    run = started_run(instance)
    server = pid(stack, "dagster-code")
    for process in [server, *descendants(server)]:
        kill(process)
    until(lambda: failed(instance, run), "the failure of the run that is gone")
    until(lambda: is_published(platform, 3), "the publication by the next run")


def miss_three_nights(instance: dg.DagsterInstance, schedule: str) -> None:
    """What Dagster remembers of a schedule that has been on for three days without a tick."""
    (state,) = (
        each for each in instance.all_instigator_state() if each.instigator_name == schedule
    )
    data = state.instigator_data
    assert isinstance(data, ScheduleInstigatorData)
    instance.update_instigator_state(
        state.with_data(ScheduleInstigatorData(data.cron_schedule, time.time() - 3 * DAY_S))
    )


def test_the_daemon_and_the_warehouse_are_killed_and_what_was_missed_is_made_up_for(
    stack: Stack, platform: Platform, instance: dg.DagsterInstance
) -> None:
    """Of what has arrived all, of a schedule's missed nights the last."""
    login(platform, 4)
    miss_three_nights(instance, "archive_nightly")
    kill(pid(stack, "dagster-daemon"))
    kill(pid(stack, "clickhouse"))
    until(lambda: is_published(platform, 4), "the publication after the restarts")
    until(lambda: bool(stack.status()["ready"]), "every service")
    archived = dg.RunsFilter(job_name="archive", statuses=[dg.DagsterRunStatus.SUCCESS])
    until(lambda: instance.get_runs_count(archived) == 1, "the missed night's run")
    assert instance.get_runs_count(dg.RunsFilter(job_name="archive")) == 1
