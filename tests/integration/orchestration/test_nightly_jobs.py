"""What runs besides the marts' own job: the nightly run, the archive, the loss ratio, retention."""

import json
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import httpx
import psycopg
import pytest

from orchestration.lib.dbt import run_dbt
from orchestration.lib.docs import QUALITY, pages, serve
from orchestration.lib.erasure import put_on_list
from orchestration.lib.publication import latest_results
from orchestration.lib.retention import purge
from tally.errors import TallyError
from tests.integration.orchestration.conftest import CodeLocation
from tests.platform import action
from tests.servers import start_postgres

# A run of every model and test, all expectations and two sets of pages.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def user(code_location: CodeLocation) -> int:
    """A user of today, beyond those of `new_user`."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    code_location.platform.store([action(2_000_000, "LOGIN", now)])
    return 2_000_000


@pytest.fixture(scope="module")
def nightly(code_location: CodeLocation, user: int) -> dg.ExecuteInProcessResult:
    return code_location.run("deep")


def test_the_nightly_run_reconciles_all_users_counts_and_documents(
    code_location: CodeLocation, nightly: dg.ExecuteInProcessResult
) -> None:
    run = nightly
    failed = [each.check_name for each in run.get_asset_check_evaluations() if not each.passed]
    assert (run.success, failed) == (True, [])
    checks = {each.check_name for each in run.get_asset_check_evaluations()}
    assert {"assert_marts_equal_raw_for_all_users", "replays_are_idempotent"} <= checks
    (statistics,) = run.asset_materializations_for_node("warehouse__statistics")
    assert "| raw.events |" in str(statistics.metadata["tables"].value)
    (docs,) = run.asset_materializations_for_node("quality__data_docs")
    assert docs.metadata["failed"].value == 0

    served = serve(pages(code_location.platform.settings), "127.0.0.1", 0)
    with served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{served.server_port}"
        assert "What each user did on each UTC day" in httpx.get(f"{address}/").text
        assert "quality.recent_events" in httpx.get(f"{address}/{QUALITY}/").text
        served.shutdown()


def test_a_wrong_day_of_any_user_fails_the_nightly_reconciliation(
    code_location: CodeLocation, nightly: dg.ExecuteInProcessResult, user: int
) -> None:
    code_location.platform.client.command(
        "insert into marts.user_days select * replace (bet_amount + 1 as bet_amount,"
        f" version + 1 as version) from marts.user_days final where user_id = {user}"
    )
    with pytest.raises(TallyError, match="Got 2 results"):
        run_dbt(
            ["test", "--select", "assert_marts_equal_raw_for_all_users"],
            code_location.platform.settings,
        )
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    code_location.platform.store([action(user, "LOGOUT", now)])
    code_location.platform.materialize()


def test_the_archive_has_an_export_and_a_backup(code_location: CodeLocation, user: int) -> None:
    run = code_location.run("archive")
    assert run.success
    (export,) = run.asset_materializations_for_node("exports__events")
    events = code_location.value("select count() from raw.events final")
    files = f"{export.metadata['folder'].value}/events/**/*.parquet"
    assert duckdb.sql(f"select count(*) from '{files}'").fetchall() == [(events,)]
    (backup,) = run.asset_materializations_for_node("backups__raw")
    manifest = json.loads((Path(str(backup.metadata["backup"].value)) / "backup.json").read_text())
    assert manifest["rows"]["events"] == events


@pytest.fixture
def record(
    code_location: CodeLocation, monkeypatch: pytest.MonkeyPatch
) -> Iterator[psycopg.Connection]:
    """The backend's record, where the settings find it."""
    # Not in pytest's folder, to which another pytest of the same user takes the server's right.
    with (
        tempfile.TemporaryDirectory() as folder,
        start_postgres(Path(folder) / "postgres") as server,
    ):
        monkeypatch.setenv("TALLY_POSTGRES_URL", server.url)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(
                "create table user_actions"
                " (event_id uuid primary key, user_id bigint, occurred_at timestamptz)"
            )
            yield connection


def test_the_loss_ratio_warns_from_a_thousandth_and_fails_from_five(
    code_location: CodeLocation, new_user: Callable[[], int], record: psycopg.Connection
) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    user = new_user()
    arrived = [action(user, "LOGIN", f"{hour:%Y-%m-%dT%H}:10:00Z") for _ in range(999)]
    code_location.platform.store(arrived)

    def recorded(*event_ids: object, of: int = user) -> None:
        for event_id in event_ids:
            record.execute("insert into user_actions values (%s, %s, %s)", (event_id, of, hour))

    def failed() -> dict[str, dg.AssetCheckSeverity]:
        run = code_location.run("loss")
        assert run.success
        found = {
            each.check_name: each.severity
            for each in run.get_asset_check_evaluations()
            if not each.passed
        }
        # What Prometheus reads is the same.
        names = {
            each.check_name
            for each in latest_results(code_location.platform.client)
            if each.check_name.startswith("ingest_loss") and not each.passed
        }
        assert names == set(found)
        return found

    recorded(*(each["event_id"] for each in arrived))
    assert failed() == {}
    erased = new_user()
    put_on_list(code_location.platform.client, [erased])
    recorded(*(uuid.uuid4() for _ in range(50)), of=erased)  # gone on purpose
    assert failed() == {}
    recorded(uuid.uuid4())  # 1 of 1,000
    warning = {"ingest_loss_is_below_0_1_percent": dg.AssetCheckSeverity.WARN}
    assert failed() == warning
    recorded(*(uuid.uuid4() for _ in range(5)))  # 6 of 1,005
    assert failed() == {
        **warning,
        "ingest_loss_is_below_0_5_percent": dg.AssetCheckSeverity.ERROR,
    }


def test_without_a_record_the_loss_ratio_is_skipped(code_location: CodeLocation) -> None:
    schedule = code_location.definitions.get_repository_def().get_schedule_def("loss_hourly")
    tick = schedule.evaluate_tick(dg.build_schedule_context(code_location.instance))
    assert (tick.run_requests, tick.skip_message) == (
        [],
        "No record is known: TALLY_POSTGRES_URL is not set.",
    )


@dg.op
def _nothing() -> None:
    """A run needs an op."""


@dg.job(name="materialize")
def _minute() -> None:
    _nothing()


@dg.job(name="deep")
def _nightly() -> None:
    _nothing()


def test_successes_of_the_minute_job_are_kept_for_two_days_and_the_rest_for_a_month(
    tmp_path: Path,
) -> None:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        minute, nightly = (
            job.execute_in_process(instance=instance).run_id for job in (_minute, _nightly)
        )
        (tmp_path / "runs" / minute).mkdir(parents=True)

        def left_after(days: float) -> set[str]:
            now = datetime.now(UTC) + timedelta(days=days)
            purge(instance, "materialize", tmp_path / "runs", now)
            return {run.run_id for run in instance.get_runs()}

        assert left_after(1.9) == {minute, nightly}
        assert (tmp_path / "runs" / minute).exists()
        assert left_after(2.1) == {nightly}
        assert not (tmp_path / "runs" / minute).exists()
        assert left_after(29.9) == {nightly}
        assert left_after(30.1) == set()
