"""Build aside, check, publish: jobs on a real warehouse, and what people read because of them."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from orchestration.lib.exclusive import exclusively
from orchestration.lib.publication import CheckResult, record
from tally.exporter import pipeline
from tests.integration.orchestration.conftest import CodeLocation
from tests.platform import action

NewUser = Callable[[], int]

# Each run of dbt takes some 10 s of CPU, and there are up to three in a test.
pytestmark = pytest.mark.timeout(900)


def login(user: int, day: str) -> dict[str, Any]:
    return action(user, "LOGIN", f"{day}T12:00:00Z")


def published_days(location: CodeLocation, user: int) -> int:
    return int(
        location.value(f"select count() from published.user_days final where user_id = {user}")
    )


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {each.check_name for each in result.get_asset_check_evaluations() if not each.passed}


def exported(location: CodeLocation) -> dict[tuple[str, str], float]:
    """What the exporter tells of the pipeline: value by metric and check."""
    return {
        (sample.name, sample.labels.get("check", "")): sample.value
        for metric in pipeline.read(location.platform.client)
        for sample in metric.samples
    }


def test_what_was_built_and_checked_is_published_and_the_run_says_what_it_touched(
    code_location: CodeLocation, new_user: NewUser
) -> None:
    user = new_user()
    code_location.platform.store([login(user, "2026-03-01"), login(user, "2026-02-01")])
    result = code_location.run("materialize")
    assert result.success
    assert published_days(code_location, user) == 2
    (event,) = result.asset_materializations_for_node("published_marts")
    assert event.metadata["tables"].value >= 3
    (days,) = (
        one
        for one in result.asset_materializations_for_node("dbt_models")
        if one.asset_key == dg.AssetKey(["marts", "user_days"])
    )
    assert days.metadata["touched_user_days"].value == 2
    assert days.metadata["touched_days"].value.endswith("2026-02-01, 2026-03-01")
    assert days.metadata["messages"].value == 2
    assert {"dagster/row_count", "watermark", "Execution Duration"} <= set(days.metadata)

    again = code_location.run("materialize")
    assert again.success
    assert again.get_asset_materialization_events() == []


def test_the_sensor_lets_arrivals_gather_for_a_look_and_leaves_a_run_by_hand_alone(
    code_location: CodeLocation, new_user: NewUser
) -> None:
    sensor = code_location.definitions.resolve_sensor_def("marts_follow_the_stream")

    def look(cursor: str) -> tuple[dg.RunRequest | None, str]:
        context = dg.build_sensor_context(instance=code_location.instance, cursor=cursor)
        data = sensor.evaluate_tick(context)
        return next(iter(data.run_requests or []), None), data.cursor or ""

    assert code_location.run("materialize").success
    assert look("") == (None, "")

    code_location.platform.store([login(new_user(), "2026-03-03")])
    launched, cursor = look("")
    assert launched is None
    with exclusively(
        code_location.platform.settings.home / "run" / "materialize.lock", on_wait=pytest.fail
    ):
        assert look(cursor) == (None, cursor)
    launched, _ = look(cursor)
    assert launched is not None
    assert "1 messages behind" in launched.tags["tally/reason"]
    # Nothing is left of it for the tests after this one.
    assert code_location.run("materialize").success
    assert look(cursor) == (None, "")


def test_a_failed_blocking_test_holds_the_published_state_and_its_healing_releases_it(
    code_location: CodeLocation, new_user: NewUser
) -> None:
    user = new_user()
    platform = code_location.platform
    platform.store([login(user, "2026-03-01")])
    assert code_location.run("materialize").success
    # A mart that contradicts itself: a daily login on a day without activity.
    platform.client.command(
        "insert into marts.user_days select * replace (false as is_active, true as"
        f" has_daily_login, version + 1 as version) from marts.user_days final"
        f" where user_id = {user}"
    )
    platform.store([login(user, "2026-03-02")])
    result = code_location.run("materialize")
    assert not result.success
    # The one names the contradiction, the other that raw says otherwise.
    told = ["assert_daily_login_days_are_active_days", "assert_marts_equal_raw_for_sampled_users"]
    assert failed_checks(result) == set(told)
    assert published_days(code_location, user) == 1
    assert code_location.value("select status from marts.freshness") == "held"
    assert code_location.value("select held_by from marts.freshness") == told
    told_prometheus = exported(code_location)
    assert told_prometheus["tally_quality_held", ""] == 1
    assert told_prometheus["tally_marts_messages_behind", ""] == 1
    assert all(told_prometheus["tally_quality_check_failed", check] == 1 for check in told)

    # Whatever touches the day computes it anew from raw.
    platform.store([action(user, "LOGOUT", "2026-03-01T13:00:00Z")])
    assert code_location.run("materialize").success
    assert published_days(code_location, user) == 2
    assert code_location.value("select status from marts.freshness") == "fresh"
    told_prometheus = exported(code_location)
    assert told_prometheus["tally_quality_held", ""] == 0
    assert told_prometheus["tally_marts_messages_behind", ""] == 0
    assert all(told_prometheus["tally_quality_check_failed", check] == 0 for check in told)


def test_a_check_that_is_no_longer_in_the_code_holds_nothing(
    code_location: CodeLocation, new_user: NewUser
) -> None:
    gone = CheckResult("a_check_of_last_year", "marts/user_days", passed=False, blocking=True)
    record(code_location.platform.client, [gone], "test")
    user = new_user()
    code_location.platform.store([login(user, "2026-03-01")])
    assert code_location.run("materialize").success
    assert published_days(code_location, user) == 1
    assert code_location.value("select status from marts.freshness") == "fresh"
    assert ("tally_quality_check_failed", gone.check_name) not in exported(code_location)
