"""Each account of the warehouse does its process's work, and nothing besides."""

from datetime import UTC, datetime

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from ingest.batch import Batch
from ingest.presence import end_inserts
from ingest.record_loss import HourOfRecord, keep_losses
from ingest.streams import Stream
from orchestration.lib import erasure
from orchestration.lib.dbt import manifest
from tally.exporter import pipeline, warehouse
from tests.deployed import accounts
from tests.deployed.accounts import Deployment
from tests.integration.api.serving import serving
from tests.integration.ingest.pipeline import inserting_slowly

# ACCESS_DENIED, READONLY; and UNKNOWN_TABLE, as nobody is told of what he may not see.
REFUSED = r"Code: (497|164|60)\b"

# What none but the one named may do, and for whom it is no matter of rights.
FORBIDDEN = {
    "insert into raw.schema_migrations (version) values (9999)": {"migrate", "ingest"},
    "create table raw.other (x UInt8) engine = Memory": {"migrate"},
    "insert into marts.check_results (check_name) values ('x')": {"dbt"},
    "create table marts.other (x UInt8) engine = Memory": {"dbt"},
    "drop table marts.user_days": {"dbt"},
    "truncate table raw.events": set(),
    "alter table raw.events delete where 1": {"migrate", "ingest", "erase"},
    "alter table raw.dead_letters delete where 1": {"migrate", "erase"},
    "insert into raw.erased_users (user_id) values (61)": {"migrate", "ingest", "erase"},
    "insert into raw.recorded_hours (hour) values (0)": {"migrate", "ingest", "dbt", "quality"},
    "drop database raw": set(),
    "create database other": set(),
    "select value from raw.dead_letters": {"migrate", "ingest", "dbt", "quality", "erase"},
    "select * from marts.user_days limit 1": {
        *("dbt", "api", "grafana", "analysts", "quality", "erase")
    },
    "select * from raw.event_ids limit 1": {"migrate", "ingest", "dbt", "quality", "erase"},
    "select * from file('/etc/passwd', LineAsString)": set(),
    "select * from url('http://127.0.0.1:1/', LineAsString)": set(),
    "create user other": set(),
    "grant select on raw.* to default": set(),
    "system shutdown": set(),
}


@pytest.mark.parametrize("account", accounts.names())
def test_an_account_may_do_only_what_it_is_for(deployment: Deployment, account: str) -> None:
    with deployment.as_account(account) as platform:
        for statement, entitled in FORBIDDEN.items():
            if account not in entitled:
                with pytest.raises(DatabaseError, match=REFUSED):
                    platform.client.command(statement)


def test_the_api_answers_with_its_own_rights(deployment: Deployment) -> None:
    with deployment.as_account("api") as platform, serving(platform.settings) as api:
        assert api.get("/readyz").status_code == 200
        answer = api.stats(1, include="by_game").json()
        assert answer["lifetime_active_days"] > 0
        assert answer["meta"]["status"] == "fresh"
        for path in ("/api/auth/profile", "/api/actions/recent/1"):
            assert api.get(path, headers=api.as_user(1)).status_code == 200, path


def test_ingestion_ends_inserts_that_were_left_behind(deployment: Deployment) -> None:
    left = Batch(Stream("cluster", "topic", 1), 5, 0.0)
    tokens = ["cluster/topic/0:1-9", f"{left.stream}:5-7"]
    with (
        deployment.as_account("ingest") as platform,
        inserting_slowly(platform.settings, tokens) as ending,
    ):
        end_inserts(platform.client, left)
        with pytest.raises(DatabaseError, match="QUERY_WAS_CANCELLED"):
            ending.result(5)


def test_the_exporter_and_the_proof_have_what_they_need(deployment: Deployment) -> None:
    with deployment.as_account("quality") as platform:
        assert len(list(warehouse.read(platform.client))) > 10
        told = {family.name: family for family in pipeline.read(platform.client)}
        assert told["tally_marts_messages_behind"].samples[0].value == 0
        platform.client.insert(
            "marts.verifications",
            [[0, 1, 0.1]],
            column_names=["differences", "compared", "seconds"],
        )
        keep_losses(platform.client, [HourOfRecord(datetime(2026, 3, 1, 12, tzinfo=UTC), 4, 3)])


def test_a_user_is_erased_with_the_rights_of_erasure_and_answered_with_those_of_the_api(
    deployment: Deployment,
) -> None:
    erased = 60
    with deployment.as_account("erase") as platform:
        databases = erasure.databases(manifest(platform.settings))
        assert "events from" in erasure.describe(platform.client, erased)
        erasure.put_on_list(platform.client, [erased])
        gone = {each.table for each in erasure.erase(platform.client, databases, print)}
        assert {"raw.events", "marts.user_days", "published.user_days"} <= gone
        assert erasure.left(platform.client, databases) == []
    with deployment.as_account("api") as platform, serving(platform.settings) as api:
        assert api.stats(erased).status_code == 404


def test_a_limit_of_an_account_is_not_its_own_to_raise(deployment: Deployment) -> None:
    with deployment.as_account("analysts") as platform:
        assert platform.client.command("select getSetting('max_execution_time')") == 300
        platform.client.command("select 1 settings max_execution_time = 10")
        for setting, value in {"max_execution_time": 301, "readonly": 0}.items():
            with pytest.raises(DatabaseError, match=r"Code: (452|164)\b"):
                platform.client.command(f"select 1 settings {setting} = {value}")
