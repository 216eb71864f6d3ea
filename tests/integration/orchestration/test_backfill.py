"""Backfills: days computed anew on a real warehouse, by the command and by the job of the UI."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from orchestration.lib.backfill import DAYS_A_RUN, Days, request
from orchestration.lib.publication import reason_to_run
from tally.cli import tally
from tests.integration.orchestration.conftest import CodeLocation
from tests.platform import action

pytestmark = pytest.mark.timeout(900)


def backfill(days: str) -> Result:
    return CliRunner().invoke(tally, ["materialize", "--days", days])


def days_of(location: CodeLocation, user: int) -> dict[date, tuple[int, int]]:
    """By date, the events that people read and the version of the row."""
    rows = location.platform.client.query(
        f"select date, events, version from published.user_days final where user_id = {user}"
    ).result_rows
    return {day: (events, version) for day, events, version in rows}


def falsify(location: CodeLocation, user: int, days: str = "true") -> None:
    """Give the user a hundred events more on these days of the mart, and publish them."""
    location.platform.client.command(
        "insert into marts.user_days select * replace (events + 100 as events,"
        " version + 1 as version) from marts.user_days final"
        f" where user_id = {user} and {days}"
    )
    location.platform.client.command(
        "create or replace table published.user_days clone as marts.user_days"
    )


@pytest.fixture
def user(code_location: CodeLocation, new_user: Callable[[], int]) -> int:
    """A user with an event on each of three days, one of them in another run's range."""
    user = new_user()
    days = ("2026-03-01", "2026-03-02", "2026-03-20")
    code_location.platform.store([action(user, "LOGIN", f"{day}T12:00:00Z") for day in days])
    code_location.platform.materialize()
    return user


def test_days_of_a_range_are_computed_anew_and_other_days_are_left(
    code_location: CodeLocation, user: int
) -> None:
    falsify(code_location, user, "date = '2026-03-02'")
    false = days_of(code_location, user)
    told = backfill("2026-03-02..2026-03-12")
    assert told.exit_code == 0, told.exception
    assert "2026-03-02..2026-03-08 (1 of 2)" in told.output
    assert "2026-03-09..2026-03-12 (2 of 2)" in told.output
    healed = days_of(code_location, user)
    assert healed[date(2026, 3, 2)][0] == 1
    others = (date(2026, 3, 1), date(2026, 3, 20))
    assert [healed[day] for day in others] == [false[day] for day in others]

    # Again, and as the UI launches it: the same numbers, as newer versions.
    tags = {
        "dagster/asset_partition_range_start": "2026-03-01",
        "dagster/asset_partition_range_end": "2026-03-02",
    }
    run = code_location.run("backfill", tags=tags)
    assert run.success
    requested = run.asset_materializations_for_node("backfill__requested_days")
    assert [each.partition for each in requested] == ["2026-03-01", "2026-03-02"]
    assert requested[0].metadata["user_days"].value == 2
    (built,) = (
        one
        for one in run.asset_materializations_for_node("dbt_models")
        if one.asset_key == dg.AssetKey(["marts", "user_days"])
    )
    assert built.metadata["touched_days"].value.endswith("2026-03-01, 2026-03-02")
    again = days_of(code_location, user)
    assert {day: events for day, (events, _) in again.items()} == {
        date(2026, 3, 1): 1,
        date(2026, 3, 2): 1,
        date(2026, 3, 20): 1,
    }
    assert again[date(2026, 3, 2)][1] > healed[date(2026, 3, 2)][1]
    assert reason_to_run(code_location.platform.client) is None


def test_what_was_requested_by_a_run_that_died_is_taken_by_the_next_of_any_kind(
    code_location: CodeLocation, user: int
) -> None:
    falsify(code_location, user)
    # Users of other tests have days in March, too.
    found = request(code_location.platform.client, Days(date(2026, 3, 1), date(2026, 3, 31)))
    assert found >= 3
    assert reason_to_run(code_location.platform.client) == f"{found} user-days requested"
    assert code_location.run("materialize").success
    assert {events for events, _ in days_of(code_location, user).values()} == {1}
    assert reason_to_run(code_location.platform.client) is None


def test_partitions_are_utc_days_to_today_and_a_run_takes_a_week_of_them(
    code_location: CodeLocation,
) -> None:
    job = code_location.definitions.resolve_job_def("backfill")
    partitions: Any = job.partitions_def
    assert partitions.get_last_partition_key() == str(datetime.now(UTC).date())
    assert partitions.get_first_partition_key() == "2015-01-01"
    assert job.backfill_policy == dg.BackfillPolicy.multi_run(DAYS_A_RUN)


@pytest.mark.parametrize(
    "days",
    ["2026-03-01", "2026-03-02..2026-03-01", "2026-02-30..2026-03-01", "2026-01-01..2999-01-01"],
)
def test_what_is_no_range_of_past_days_is_refused(code_location: CodeLocation, days: str) -> None:
    told = backfill(days)
    assert told.exit_code == 1
    assert days in str(told.exception)
