"""The code location as a data engineer finds it: what it has, and how it loads."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from expectations import catalogue
from tests.validate_definitions import environment

LOAD_SECONDS = 5

_LOAD = """
import json, resource, sys
from orchestration.definitions import defs
used = resource.getrusage(resource.RUSAGE_SELF)
graph = defs.resolve_asset_graph()
repository = defs.get_repository_def()
jobs = {job.name: job for job in repository.get_all_jobs() if not job.name.startswith("__")}
print(json.dumps({
    "cpu_seconds": used.ru_utime + used.ru_stime,
    "great_expectations": "great_expectations" in sys.modules,
    "jobs": {
        name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
        for name, job in jobs.items()
    },
    "writers": sorted(name for name, job in jobs.items() if "tally/writes" in job.tags),
    "schedules": {
        each.name: f"{each.cron_schedule} {each.execution_timezone} {each.job_name}"
        for each in repository.schedule_defs
    },
    "sensors": {each.name: each.minimum_interval_seconds for each in repository.sensor_defs},
    "assets": {
        key.to_user_string(): [
            node.group_name, sorted(node.owners), sorted(node.kinds), bool(node.description),
            str(node.metadata["guide"].value),
            sorted(parent.to_user_string() for parent in node.parent_keys),
        ]
        for key in graph.get_all_asset_keys() for node in [graph.get(key)]
    },
    "partitioned": sorted(
        key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).is_partitioned
    ),
    "checks": sorted(key.name for key in graph.asset_check_keys),
}))
"""

# What `materialize` builds and publishes; `backfill` asks for days first.
FOLLOWING = ["marts/game_rounds", "marts/user_days", "marts/user_game_days", "published/marts"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What a fresh interpreter has after loading it; the warehouse is named and never asked."""
    home = tmp_path_factory.mktemp("code-location")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LOAD],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    models = json.loads((home / "dbt" / "state" / "manifest.json").read_text())["nodes"].values()
    answer["models"] = {
        f"{each['schema']}/{each['name']}" for each in models if each["resource_type"] == "model"
    }
    return answer


def test_it_loads_in_a_fresh_interpreter_quickly_and_without_great_expectations(
    loaded: Mapping[str, Any],
) -> None:
    """In CPU seconds, which a busy machine does not stretch."""
    assert loaded["cpu_seconds"] < LOAD_SECONDS
    assert loaded["great_expectations"] is False


def test_its_jobs_and_what_they_materialize(loaded: Mapping[str, Any]) -> None:
    jobs = dict(loaded["jobs"])
    models = {name for name in jobs["rebuild"] if not name.startswith("published/")}
    assert models == loaded["models"]
    nightly = {"documentation/models", "quality/data_docs", "warehouse/statistics"}
    assert set(jobs.pop("deep")) == {*jobs.pop("rebuild"), *nightly}
    assert jobs == {
        "materialize": FOLLOWING,
        "backfill": ["backfill/requested_days", *FOLLOWING],
        "archive": ["backups/raw", "exports/events"],
        "quality": [],
        "loss": [],
        "retention": [],
    }
    assert loaded["writers"] == ["backfill", "deep", "materialize", "rebuild"]


def test_its_schedules_and_sensors(loaded: Mapping[str, Any]) -> None:
    assert loaded["schedules"] == {
        "nightly": "30 3 * * * UTC deep",
        "archive_nightly": "30 4 * * * UTC archive",
        "quality_every_15_minutes": "*/15 * * * * UTC quality",
        "loss_hourly": "10 * * * * UTC loss",
        "retention_hourly": "40 * * * * UTC retention",
    }
    assert loaded["sensors"] == {"marts_follow_the_stream": 15, "observe_the_stream": 60}


def test_its_graph_goes_from_the_topic_to_who_reads(loaded: Mapping[str, Any]) -> None:
    assets: dict[str, Any] = loaded["assets"]
    others = {name: (group, kinds) for name, (group, _, kinds, *_) in assets.items()}
    for name in loaded["models"]:
        group, kinds = others.pop(name)
        assert group == name.partition("/")[0] or name.startswith("marts/")
        assert {"clickhouse", "dbt"} <= set(kinds)
    assert others == {
        "kafka/user-actions": ("stream", ["kafka"]),
        **{
            f"raw/{table}": ("raw", ["clickhouse"])
            for table in (
                *("events", "round_events", "arrivals", "event_ids", "ingest_ledger"),
                *("dead_letters", "dead_letter_replays", "erased_users", "erased_offsets"),
                "recorded_hours",
            )
        },
        "backfill/requested_days": ("backfill", ["clickhouse"]),
        "published/marts": ("published", ["clickhouse"]),
        "quality/data_docs": ("quality", ["greatexpectations"]),
        "warehouse/statistics": ("nightly", ["clickhouse"]),
        "documentation/models": ("nightly", ["dbt"]),
        "exports/events": ("nightly", ["parquet"]),
        "backups/raw": ("nightly", ["parquet"]),
        "api/stats_api": ("api", ["fastapi"]),
        "reports/report": ("reports", ["python"]),
        **{
            f"dashboards/{name}_dashboard": ("dashboards", ["grafana"])
            for name in ("business", "support", "ingestion", "api", "quality")
        },
    }
    assert "kafka/user-actions" in assets["raw/events"][-1]
    assert {"published/marts", "marts/user_stats_closed"} <= set(assets["api/stats_api"][-1])
    assert [name for name, (_, owners, *_) in assets.items() if not owners] == []
    assert [name for name, (_, _, _, described, *_) in assets.items() if not described] == []
    assert [name for name, (*_, guide, _) in assets.items() if not Path(guide).is_file()] == []
    assert loaded["partitioned"] == ["backfill/requested_days"]


def test_every_expectation_is_an_asset_check(loaded: Mapping[str, Any]) -> None:
    names = [expectation.name for _, expectation in catalogue.named()]
    assert len(names) >= 40
    assert len({suite.relation for suite in catalogue.SUITES}) >= 8
    assert len(names) == len(set(names)), "a name stands for one expectation"
    assert set(names) <= set(loaded["checks"])
    assert {"ingest_loss_is_below_0_1_percent", "ingest_loss_is_below_0_5_percent"} <= set(
        loaded["checks"]
    )
