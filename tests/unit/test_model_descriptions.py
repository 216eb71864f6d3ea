"""What every dbt model says of itself: its grain, its columns, and what it tells about people."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tally.metrics import metrics

MODELS = Path(__file__).parents[2] / "dbt_project" / "models"
CLASSES = {"none", "pseudonymous"}
DOC = re.compile(r"\{\{ doc\('(\w+)'\) \}\}")

DESCRIBED: dict[str, dict[str, Any]] = {
    model["name"]: model
    for file in MODELS.rglob("_*.yml")
    for model in yaml.safe_load(file.read_text()).get("models", [])
}
# What analysts read of a mart: all of its columns but the version of the row.
FRIENDLY = sorted(path.stem for path in MODELS.rglob("analytics_*.sql"))


def columns_of(model: str) -> dict[str, dict[str, Any]]:
    return {column["name"]: column for column in DESCRIBED[model]["columns"]}


@pytest.mark.parametrize("name", sorted(path.stem for path in MODELS.rglob("*.sql")))
def test_a_model_tells_its_grain_its_columns_and_its_privacy(name: str) -> None:
    model = DESCRIBED[name]
    assert re.search(r"One row(\.$| per )[^.]*\.?$", model["description"].strip())
    assert model["config"]["meta"]["pii"] in CLASSES
    for column in model["columns"]:
        assert column["description"].strip(), column["name"]
    if model["config"].get("contract", {}).get("enforced"):
        assert all(column["data_type"] for column in model["columns"])


def test_no_description_is_of_a_model_that_is_gone() -> None:
    assert set(DESCRIBED) <= {path.stem for path in MODELS.rglob("*.sql")}


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_rows_of_one_user_are_never_classified_as_free_of_people(name: str) -> None:
    if "user_id" in columns_of(name):
        assert DESCRIBED[name]["config"]["meta"]["pii"] != "none"


@pytest.mark.parametrize("name", FRIENDLY)
def test_an_analysts_view_says_of_its_columns_what_the_mart_says(name: str) -> None:
    def said(model: str) -> dict[str, tuple[str | None, str]]:
        return {
            name: (column.get("data_type"), column["description"])
            for name, column in columns_of(model).items()
            if name != "version"
        }

    assert said(name) == said(name.removeprefix("analytics_"))
    assert DESCRIBED[name]["config"]["contract"]["enforced"]


@pytest.mark.parametrize("name", sorted(metrics()))
def test_a_column_that_is_a_metric_is_described_by_the_registry(name: str) -> None:
    metric = metrics()[name]
    for model in metric.read_from:
        for column in {metric.name, metric.measure} & set(columns_of(model)):
            assert name in DOC.findall(columns_of(model)[column]["description"]), (model, column)


def test_every_recurring_description_is_used() -> None:
    defined = re.findall(r"\{% docs (\w+) %\}", (MODELS / "columns.md").read_text())
    used = {name for file in MODELS.rglob("_*.yml") for name in DOC.findall(file.read_text())}
    assert len(defined) == len(set(defined))
    assert set(defined) <= used
    assert used <= {*defined, *metrics()}
