"""What dbt knows of the models, beside what is in the warehouse and what the other engines have."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestration.lib.dbt import run_dbt, state_folder
from tally.settings import Target
from tests.integration.orchestration.conftest import CodeLocation

CLICKHOUSE_ONLY = "ClickHouse only: "


def models(location: CodeLocation, target: Target = "clickhouse") -> dict[str, dict[str, Any]]:
    folder = state_folder(location.platform.settings, target)
    nodes = json.loads((folder / "manifest.json").read_text())["nodes"].values()
    return {node["name"]: node for node in nodes if node["resource_type"] == "model"}


def test_every_column_in_the_warehouse_is_described_there(code_location: CodeLocation) -> None:
    """The columns of a view with parameters are not in the warehouse's catalog."""
    relations = {(each["schema"], each["alias"]) for each in models(code_location).values()}
    rows = code_location.platform.client.query(
        "select database, table, name, comment from system.columns"
    ).result_rows
    found = {(database, table) for database, table, _, _ in rows} & relations
    assert len(found) > len(relations) - 10
    assert [row for row in rows if tuple(row[:2]) in found and not row[3]] == []


@pytest.mark.parametrize("target", ["duckdb", "postgres"])
def test_a_model_that_another_engine_lacks_says_so(
    code_location: CodeLocation, target: Target, tmp_path: Path
) -> None:
    settings = code_location.platform.settings.model_copy(
        update={"export_folder": tmp_path, "postgres_url": "postgresql://user@127.0.0.1:1/record"}
    )
    run_dbt(["parse"], settings, target)
    elsewhere = models(code_location, target)
    saying = {
        name
        for name, model in models(code_location).items()
        if CLICKHOUSE_ONLY in model["description"]
    }
    assert saying == set(models(code_location)) - set(elsewhere)
