"""What every dbt model says of itself: its grain, its columns, and what it tells about people."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

MODELS = Path(__file__).parents[2] / "dbt_project" / "models"
CLASSES = {"none", "pseudonymous"}

DESCRIBED: dict[str, dict[str, Any]] = {
    model["name"]: model
    for file in MODELS.rglob("_*.yml")
    for model in yaml.safe_load(file.read_text()).get("models", [])
}


@pytest.mark.parametrize("name", sorted(path.stem for path in MODELS.rglob("*.sql")))
def test_a_model_tells_its_grain_its_columns_and_its_privacy(name: str) -> None:
    model = DESCRIBED[name]
    assert re.search(r"One row(\.$| per )[^.]*\.?$", model["description"].strip())
    assert model["config"]["meta"]["pii"] in CLASSES
    for column in model.get("columns", []):
        assert column["description"].strip(), column["name"]
    if model["config"].get("contract", {}).get("enforced"):
        assert all(column["data_type"] for column in model["columns"])


def test_no_description_is_of_a_model_that_is_gone() -> None:
    assert set(DESCRIBED) <= {path.stem for path in MODELS.rglob("*.sql")}


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_rows_of_one_user_are_never_classified_as_free_of_people(name: str) -> None:
    model = DESCRIBED[name]
    columns = {column["name"] for column in model.get("columns", [])}
    if "user_id" in columns:
        assert model["config"]["meta"]["pii"] != "none"
