"""dbt-clickhouse runs every kind of model that the project uses against the embedded warehouse."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from dbt.cli.main import dbtRunner

from tests.integration.clickhouse.plain import Http
from tests.servers import RunningServer

PROJECT = """
name: probe
version: "1.0"
profile: probe
model-paths: [models]
flags: {send_anonymous_usage_stats: false}
"""

MODELS = {
    "days.sql": """
        {{ config(materialized='table', order_by='(user_id, day)', engine='MergeTree()') }}
        select user_id, toDate(at, 'UTC') as day, count() as actions
        from {{ source('raw_probe', 'actions') }} group by user_id, day
    """,
    "appended.sql": """
        {{ config(materialized='incremental', incremental_strategy='append', order_by='id',
                  engine='ReplacingMergeTree(version)') }}
        select id, max(user_id) as user_id, toUInt64(count()) as version
        from {{ source('raw_probe', 'actions') }}
        {% if is_incremental() %} where id > (select max(id) from {{ this }}) {% endif %}
        group by id
    """,
    "replaced.sql": """
        {{ config(materialized='incremental', incremental_strategy='delete+insert',
                  unique_key='user_id', order_by='user_id') }}
        select user_id, count() as actions from {{ source('raw_probe', 'actions') }}
        group by user_id
    """,
    "overwritten.sql": """
        {{ config(materialized='incremental', incremental_strategy='insert_overwrite',
                  partition_by='day', order_by='user_id') }}
        select toDate(at, 'UTC') as day, user_id, count() as actions
        from {{ source('raw_probe', 'actions') }} group by day, user_id
    """,
    "chosen.sql": """
        {{ config(materialized='view') }}
        select user_id, actions from {{ ref('replaced') }}
        where user_id in {ids:Array(UInt64)}
    """,
    "followed.sql": """
        {{ config(materialized='materialized_view', order_by='user_id',
                  engine='SummingMergeTree') }}
        select user_id, toUInt64(1) as actions from {{ source('raw_probe', 'actions') }}
    """,
    "schema.yml": """
version: 2
sources:
  - name: raw_probe
    schema: raw_probe
    tables:
      - name: actions
models:
  - name: days
    description: One row per user per UTC day.
    config:
      contract: {enforced: true}
    constraints:
      - {type: check, name: positive, expression: "actions > 0"}
    columns:
      - {name: user_id, data_type: UInt64, data_tests: [not_null]}
      - {name: day, data_type: Date}
      - {name: actions, data_type: UInt64}
unit_tests:
  - name: a_day_is_a_utc_date
    model: days
    given:
      - input: source('raw_probe', 'actions')
        rows:
          - {id: 1, user_id: 7, at: "2024-02-28 23:59:59.999"}
          - {id: 2, user_id: 7, at: "2024-02-29 00:00:00.000"}
    expect:
      rows:
        - {user_id: 7, day: "2024-02-28", actions: 1}
        - {user_id: 7, day: "2024-02-29", actions: 1}
  - name: no_actions_make_no_days
    model: days
    given:
      - input: source('raw_probe', 'actions')
        rows: []
    expect:
      rows: []
""",
}


@pytest.fixture(scope="module")
def project(warehouse: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dbt project whose profile names the warehouse."""
    folder = tmp_path_factory.mktemp("dbt")
    (folder / "models").mkdir()
    (folder / "dbt_project.yml").write_text(PROJECT)
    for name, text in MODELS.items():
        (folder / "models" / name).write_text(text)
    url = urlsplit(warehouse.url)
    output = {
        "type": "clickhouse",
        "driver": "http",
        "host": url.hostname,
        "port": url.port,
        "schema": "marts_probe",
        "threads": 2,
        "use_lw_deletes": True,
        "custom_settings": {"session_timezone": "UTC", "join_use_nulls": 1},
    }
    profile = {"probe": {"target": "dev", "outputs": {"dev": output}}}
    (folder / "profiles.yml").write_text(json.dumps(profile))
    return folder


def dbt(project: Path, *arguments: str) -> list[str]:
    """Run dbt; every node has to succeed. Gives the nodes."""
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    outcome: Any = dbtRunner().invoke([*arguments, *folders, "--log-level", "warn"])
    assert outcome.success, outcome.exception or [
        (node.node.name, node.status, node.message) for node in outcome.result
    ]
    names: list[str] = [node.node.name for node in getattr(outcome.result, "results", [])]
    return names


def test_every_kind_of_model_builds_and_builds_again(project: Path, http: Http) -> None:
    http.text("create database raw_probe")
    http.text(
        "create table raw_probe.actions (id UInt64, user_id UInt64, at DateTime64(3, 'UTC')) "
        "engine = MergeTree order by id"
    )
    http.text("insert into raw_probe.actions values (1, 7, '2024-02-28 23:59:59.999')")
    nodes = dbt(project, "build")
    assert {"days", "appended", "followed", "a_day_is_a_utc_date"} <= set(nodes)

    http.text(
        "insert into raw_probe.actions values (2, 7, '2024-02-29 00:00:00.000'), "
        "(3, 8, '2024-02-29 00:00:00.000')"
    )
    dbt(project, "build", "--exclude", "followed")

    def rows(select: str, **params: str) -> list[str]:
        return http.text(select, database="marts_probe", **params).splitlines()

    assert rows("select * from days order by all") == [
        "7\t2024-02-28\t1",
        "7\t2024-02-29\t1",
        "8\t2024-02-29\t1",
    ]
    assert rows("select count(), uniqExact(id) from appended") == ["3\t3"]
    assert rows("select * from replaced order by all") == ["7\t2", "8\t1"]
    assert rows("select day, sum(actions) from overwritten group by day order by day") == [
        "2024-02-28\t1",
        "2024-02-29\t2",
    ]
    assert rows("select * from chosen(ids = {ids:Array(UInt64)})", param_ids="[8]") == ["8\t1"]
    assert rows("select user_id, sum(actions) from followed group by user_id order by all") == [
        "7\t2",
        "8\t1",
    ]
    broken = http.post("insert into marts_probe.days values (1, '2024-01-01', 0)")
    assert broken.headers["x-clickhouse-exception-code"] == "469"

    dbt(project, "docs", "generate")
    catalog = json.loads((project / "target" / "catalog.json").read_text())
    columns = catalog["nodes"]["model.probe.days"]["columns"]
    assert {name: column["type"] for name, column in columns.items()} == {
        "user_id": "UInt64",
        "day": "Date",
        "actions": "UInt64",
    }
