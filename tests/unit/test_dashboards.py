"""The dashboards' JSON: the rules of Grafana's dashboard-linter, and those of this house.

The linter is a Go program; each rule of it that applies has the name it has there, in the test's.
Not taken over: `template-job-rule`, `template-instance-rule` and their `target-*` twins ask for a
choice of job and instance above each dashboard. Here a process is one scrape job, which each query
names, and a person who is woken at night is not asked to choose.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlglot
import yaml
from sqlglot import exp

from grafana.dashboards.board import Board
from grafana.dashboards.generate import BOARDS, JSON, files
from grafana.dashboards.panels import Panel
from grafana.dashboards.queries import PromQl, Sql
from orchestration.lib.guides import write_guides
from tally.metrics import metrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MODELS = ROOT / "dbt_project" / "models"

PANELS = [
    pytest.param(board, panel, id=f"{board.uid}: {panel.title}")
    for board in BOARDS
    for panel in board.panels
]
# Of Grafana's list (packages/grafana-data/src/valueFormats/categories.ts), those that are used.
UNITS = {
    *("none", "short", "locale", "percentunit", "bool_yes_no", "dateTimeAsIso"),
    *("s", "ms", "bytes", "cps", "ops", "reqps"),
}
JOBS = {"cc-webapp-backend", "tally-ingest", "tally-exporter"}
COUNTERS = ("_total", "_count", "_sum", "_bucket")

# Columns that count distinct users, or are made of such counts. No sum of them means anything.
DISTINCT = {
    *("dau", "wau", "mau", "daily_login_dau", "daily_login_wau", "daily_login_mau"),
    *("stickiness", "daily_login_stickiness", "returning_users", "active_users", "players"),
    *("buyers", "users", "callers", "streams", "locked_users", "retention"),
}


def documents() -> Iterator[dict[str, Any]]:
    for path in sorted(JSON.glob("*.json")):
        yield json.loads(path.read_text())


def panels_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every panel but the rows, which have theirs beside them."""
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def sql(panel: Panel) -> list[exp.Expression]:
    """Its SQL, parsed; macros and variables read as functions and parameters."""
    texts = [query.text for query in panel.queries if isinstance(query, Sql)]
    expanded = [re.sub(r"\$__(\w+)\(", r"grafana_\1(", text) for text in texts]
    expanded = [text.replace("${user_id:sqlstring}", "'1'") for text in expanded]
    return [sqlglot.parse_one(text, dialect="clickhouse") for text in expanded]


def promql(panel: Panel) -> list[str]:
    return [query.text for query in panel.queries if isinstance(query, PromQl)]


def test_there_are_six_dashboards_and_they_are_generated() -> None:
    assert len(list(documents())) == 6
    assert sum(len(board.panels) for board in BOARDS) >= 35
    for path, text in files().items():
        assert path.read_text() == text, path


def test_generating_twice_gives_the_same() -> None:
    assert files() == files()


@pytest.mark.parametrize("document", list(documents()), ids=lambda each: each["uid"])
class TestLinter:
    def test_template_datasource_rule(self, document: dict[str, Any]) -> None:
        found = [each for each in document["templating"]["list"] if each["type"] == "datasource"]
        kinds = {"grafana-clickhouse-datasource": "ClickHouse", "prometheus": "Prometheus"}
        assert found
        for variable in found:
            label = kinds[variable["query"]]
            assert variable["name"] == f"{label.lower()}_datasource"
            assert variable["label"] == f"{label} data source"

    def test_panel_datasource_rule(self, document: dict[str, Any]) -> None:
        names = {each["name"] for each in document["templating"]["list"]}
        for panel in panels_of(document):
            for source in (panel["datasource"], *(t["datasource"] for t in panel["targets"])):
                assert source["uid"].strip("${}") in names

    def test_panel_title_description_rule(self, document: dict[str, Any]) -> None:
        for panel in panels_of(document):
            assert panel["title"]
            assert len(panel["description"]) > 10, panel["title"]

    def test_panel_units_rule(self, document: dict[str, Any]) -> None:
        for panel in panels_of(document):
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]

    def test_panel_no_targets_rule(self, document: dict[str, Any]) -> None:
        assert all(panel["targets"] for panel in panels_of(document))

    def test_uneditable_dashboard_rule(self, document: dict[str, Any]) -> None:
        assert document["editable"] is False

    def test_panels_have_thresholds_and_places_of_their_own(self, document: dict[str, Any]) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in panels_of(document):
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], panel["title"]
            place = panel["gridPos"]
            assert place.get("x", 0) + place["w"] <= 24
            cells = {
                (column, row)
                for column in range(place.get("x", 0), place.get("x", 0) + place["w"])
                for row in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, f"{panel['title']} lies on another panel"
            taken |= cells

    def test_titles_are_unique(self, document: dict[str, Any]) -> None:
        titles = [panel["title"] for panel in panels_of(document)]
        assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_target_rate_interval_rule_and_target_counter_agg_rule(board: Board, panel: Panel) -> None:
    for query in promql(panel):
        for function, selected in re.findall(r"(\w+)\s*\(\w+(?:\{[^}]*\})?(\[[^\]]+\])", query):
            assert function in {"rate", "increase"}
            # A window that is the meaning of the panel, and in its title or description.
            assert selected == "[$__rate_interval]" or function == "increase"
        for counter in re.findall(r"\b(\w+_total|\w+_(?:count|sum|bucket))\{", query):
            assert re.search(rf"(rate|increase)\s*\({counter}\{{", query), counter


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_every_series_is_of_a_known_job_and_metric(board: Board, panel: Panel) -> None:
    known = documented_metrics()
    for query in promql(panel):
        series = re.findall(r"\b([a-z][a-z0-9_]*)\{([^}]*)\}", query)
        assert series
        for name, matchers in series:
            job = re.search(r'job="([^"]+)"', matchers)
            assert job is not None, f"{name} without a job"
            assert job[1] in JOBS
            base = name if name in known else name.removesuffix("_bucket")
            base = base if base in known else re.sub("_(sum|count)$", "", base)
            labels = known[base]
            grouped = re.findall(r"by \(([^)]*)\)", query)
            used = {label.strip() for group in grouped for label in group.split(",")}
            used |= set(re.findall(r"(\w+)[=!]", matchers))
            # Prometheus renames a label that it has itself.
            used = {"job" if label == "exported_job" else label for label in used}
            assert used <= labels | {"job", "le"}, (name, used)


def documented_metrics() -> dict[str, set[str]]:
    """The labels of every metric of docs/monitoring.md, which a test holds equal to scrapes."""
    text = (DOCS / "monitoring.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*)\|", text, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)
def test_target_promql_rule(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(
            query for board in BOARDS for panel in board.panels for query in promql(panel)
        )
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_distinct_counts_are_never_summed(board: Board, panel: Panel) -> None:
    assert summed(sql(panel)) & DISTINCT == set()


def summed(statements: list[exp.Expression]) -> set[str]:
    """The columns that an aggregate adds up or averages."""
    return {
        column.name
        for statement in statements
        for aggregate in statement.find_all(exp.AggFunc)
        if aggregate.sql(dialect="clickhouse").lower().startswith(("sum", "avg"))
        for column in aggregate.find_all(exp.Column)
    }


def test_a_sum_of_distinct_counts_would_be_seen() -> None:
    wrong = Panel("", "stat", "", [Sql("select sum(dau) / 7 from marts.daily_metrics", "")], "")
    assert summed(sql(wrong)) & DISTINCT == {"dau"}


def test_what_is_distinct_is_what_the_models_say_adds_up_over_nothing() -> None:
    said = set()
    for path in MODELS.rglob("_*.yml"):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            for column in model.get("columns", []):
                if "Adds up over nothing" in str(column.get("description")):
                    said.add(column["name"])
    assert {"callers", "users"} <= said
    assert said <= DISTINCT
    users = {
        metric.name
        for metric in metrics().values()
        if metric.additivity == "not additive" and metric.unit == "users"
    }
    # Over cohorts these two add up, as a user is of one cohort: D7 of all is sum / sum.
    assert users - DISTINCT == {"retained_users", "cohort_size"}


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_retention_is_summed_over_cohorts_for_one_n_only(board: Board, panel: Panel) -> None:
    for statement in sql(panel):
        if {"retained", "cohort_size"} & summed([statement]):
            assert re.search(r"day_n = \d+", statement.sql())


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_a_panel_of_a_canonical_metric_is_described_by_the_registry(
    board: Board, panel: Panel
) -> None:
    if panel.metric is not None:
        assert panel.description.startswith(metrics()[panel.metric].description)


@pytest.fixture(scope="module")
def guides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `tally docs` serves them."""
    folder = tmp_path_factory.mktemp("guides")
    write_guides(folder)
    return folder


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_links_lead_somewhere(guides: Path, board: Board, panel: Panel) -> None:
    models = {path.stem for path in MODELS.rglob("*.sql")}
    for link in (each.build() for each in panel.links()):
        assert link.url is not None
        if model := re.fullmatch(r"\$\{docs\}/#!/model/model\.tally\.(\w+)", link.url):
            assert model[1] in models
            continue
        guide = re.fullmatch(r"\$\{docs\}/guides/([\w-]+)\.html(?:#(\S+))?", link.url)
        assert guide is not None, link.url
        page = (guides / f"{guide[1]}.html").read_text()
        assert not guide[2] or f'id="{guide[2]}"' in page, panel.runbook


def test_dbt_knows_who_reads_its_models() -> None:
    exposures = yaml.safe_load((MODELS / "_exposures.yml").read_text())["exposures"]
    said = {
        exposure["label"]: {re.sub(r"ref\('(\w+)'\)", r"\1", ref) for ref in exposure["depends_on"]}
        for exposure in exposures
        if exposure["type"] == "dashboard"
    }
    assert said == {f"Grafana: {board.title}": {*board.models} for board in BOARDS if board.models}


def test_grafana_is_provisioned_with_what_the_dashboards_ask_for() -> None:
    provisioning = ROOT / "grafana" / "provisioning"
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    sources = (provisioning / "datasources" / "tally.yml").read_text()
    kinds = {source["type"] for source in yaml.safe_load(sources)["datasources"]}
    assert kinds == {"grafana-clickhouse-datasource", "prometheus"}
    named = set(re.findall(r"\$([A-Z][A-Z_]+)", sources)) - {"VARIABLES"}
    assert named <= set(compose["environment"])
    secrets = set(re.findall(r"\$__file\{/run/secrets/(\w+)\}", sources))
    assert secrets <= set(compose["secrets"])
    providers = yaml.safe_load((provisioning / "dashboards" / "tally.yml").read_text())
    (provider,) = providers["providers"]
    assert f"./grafana/json:{provider['options']['path']}:ro" in compose["volumes"]
