"""The warehouse away or full while the marts are built: what is tried again, and what is not."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from orchestration.lib.publication import reason_to_run
from tests.integration.orchestration.conftest import CodeLocation
from tests.platform import action

pytestmark = pytest.mark.timeout(900)

AWAY_S = 3


def published(location: CodeLocation, user: int) -> int:
    return int(
        location.value(f"select count() from published.user_days final where user_id = {user}")
    )


def retries(run: dg.ExecuteInProcessResult) -> int:
    return sum(
        event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY for event in run.all_events
    )


@contextmanager
def full_disk(location: CodeLocation, table: str) -> Iterator[None]:
    """A table that refuses inserts as a disk without space does: code 243."""
    command = location.platform.client.command
    command(f"alter table {table} modify setting min_free_disk_bytes_to_perform_insert = {2**60}")
    yield
    command(f"alter table {table} reset setting min_free_disk_bytes_to_perform_insert")


def test_a_warehouse_that_is_away_for_a_moment_is_tried_again(
    code_location: CodeLocation, new_user: Callable[[], int]
) -> None:
    user = new_user()
    code_location.platform.store([action(user, "LOGIN", "2026-03-01T12:00:00Z")])
    code_location.platform.end_warehouse()
    back = threading.Timer(AWAY_S, code_location.platform.restart_warehouse)
    back.start()
    try:
        run = code_location.run("materialize")
    finally:
        back.join()
    assert run.success
    assert retries(run) >= 1
    assert published(code_location, user) == 1


def test_a_full_disk_fails_the_run_at_once_and_space_heals_it(
    code_location: CodeLocation, new_user: Callable[[], int]
) -> None:
    user = new_user()
    code_location.platform.store([action(user, "LOGIN", "2026-03-01T12:00:00Z")])
    with full_disk(code_location, "marts.user_days"):
        run = code_location.run("materialize")
        assert not run.success
        assert retries(run) == 0
        assert published(code_location, user) == 0
        assert reason_to_run(code_location.platform.client) == "1 messages behind"
    assert code_location.run("materialize").success
    assert published(code_location, user) == 1
    assert reason_to_run(code_location.platform.client) is None
