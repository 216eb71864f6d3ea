"""A real Prometheus on the running stack: its rules name what is there, and see what is killed.

Tests are in their order: the last one ends the components, one after the other.
"""

import json
import os
import re
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tally.exporter.dagster import LOSS_CHECK
from tally.local.stack import Stack as LocalStack
from tally.warehouse import connect
from tests.monitoring import panels
from tests.monitoring.promtool import PROMETHEUS, alerts, recordings
from tests.stacks import Stack

DOCS = PROMETHEUS.parents[1] / "docs"
# A scrape of the exporter takes half a second, and more where others have the cores.
INTERVAL_S = 5
LIMIT_S = 90
PANELS_LIMIT_S = 180  # the sensor's run publishes what was played
HEARTBEAT_LIMIT_S = 60 + 30  # the alert's, and the time between two beats

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("prometheus-alertmanager") is None,
        reason="Prometheus and Alertmanager are missing: "
        "apt-get install prometheus prometheus-alertmanager",
    ),
]

# What of PromQL looks like the name of a metric.
_WORDS = {
    *("absent", "and", "by", "count", "histogram_quantile", "increase", "max", "min", "on", "or"),
    *("rate", "sum", "time", "unless", "vector"),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(
        tmp_path_factory.mktemp("monitored") / "home",
        {"TALLY_PROMETHEUS_INTERVAL_SECONDS": str(INTERVAL_S)},
    )
    running.tally("up", "--detach", "--with", "monitoring")
    try:
        yield running
    finally:
        running.tally("down")


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


def prometheus(stack: Stack, path: str, **parameters: str) -> Any:
    """The `data` of an answer of Prometheus."""
    url = f"{stack.settings.prometheus_url}/api/v1/{path}?{urlencode(parameters)}"
    return get(url)["data"]


def active_alerts(stack: Stack) -> dict[str, str]:
    """The state of each alert that is pending or firing, by name."""
    found = prometheus(stack, "alerts")["alerts"]
    return {alert["labels"]["alertname"]: alert["state"] for alert in found}


def until(condition: Callable[[], Any], what: str, limit: float = LIMIT_S) -> float:
    """Wait for a condition; the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit, f"not within {limit} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - began


def exposed(stack: Stack) -> dict[str, tuple[str, str]]:
    """Every family that the processes declare: its type and its process, by the table's name."""
    settings = stack.settings
    ports = {
        "api": settings.api_metrics_port,
        "ingest": settings.ingest_metrics_port,
        "exporter": settings.exporter_metrics_port,
    }
    found = {}
    for process, port in ports.items():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
            families = text_string_to_metric_families(response.read().decode())
            for family in families:
                if not family.name.startswith(("python_", "process_")) and not (
                    family.type == "gauge" and family.name.endswith("_created")
                ):
                    name = family.name + ("_total" if family.type == "counter" else "")
                    found[name] = (family.type, process)
    return found


def documented() -> dict[str, tuple[str, str]]:
    """What the table of docs/monitoring.md says."""
    page = (DOCS / "monitoring.md").read_text()
    table = page.partition("<!-- metrics -->")[2].partition("<!-- end of metrics -->")[0]
    rows = (line.strip("| ").split("|") for line in table.splitlines() if line.startswith("| `"))
    return {row[0].strip(" `"): (row[1].strip(), row[3].strip()) for row in rows}


def named_in(expression: str) -> set[str]:
    """The metrics that an expression of PromQL reads."""
    plain = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|on) \([^)]*\)", " ", expression)
    return set(re.findall(r"[a-z][a-z0-9_:]*", plain)) - _WORDS


def test_the_table_of_metrics_is_what_the_processes_say(stack: Stack) -> None:
    assert documented() == exposed(stack)


def test_every_metric_in_a_rule_is_in_a_scrape(stack: Stack) -> None:
    expressions = [rule["expr"] for rule in (*alerts().values(), *recordings().values())]
    read = set.union(*map(named_in, expressions)) - recordings().keys() - {"up"}
    bases = {re.sub(r"_(bucket|count)$", "", name) for name in read}
    assert bases <= exposed(stack).keys()


def test_every_rule_can_be_evaluated_and_a_healthy_stack_raises_no_alert(stack: Stack) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus(stack, "rules")["groups"] for rule in group["rules"]]

    until(
        lambda: all(rule["health"] != "unknown" for rule in rules()), "an evaluation of each rule"
    )
    assert {rule["name"]: rule.get("lastError") for rule in rules() if rule["health"] != "ok"} == {}
    assert len(rules()) == len(alerts()) + len(recordings())

    def up() -> set[str]:
        found = prometheus(stack, "query", query="up == 1")["result"]
        return {each["metric"]["job"] for each in found}

    jobs = {"cc-webapp-backend", "tally-ingest", "tally-exporter", "prometheus"}
    until(lambda: up() == jobs, "a scrape of every target")
    until(lambda: not active_alerts(stack), "the end of the alerts of the start")


def test_every_panel_of_prometheus_has_data(stack: Stack) -> None:
    panels.play(stack)
    left: dict[str, str] = {}

    def all_tell_something() -> bool:
        # A rate needs what happens between two scrapes.
        stack.stats([panels.FIRST_USER])
        left.clear()
        left.update(panels.without_data(stack))
        return not left

    with suppress(AssertionError):
        until(all_tell_something, "data in each panel", PANELS_LIMIT_S)
    assert left == {}


def test_what_the_runbooks_ask_the_warehouse_can_be_asked(stack: Stack) -> None:
    queries = re.findall(r'tally sql "([^"]+)"', (DOCS / "runbooks.md").read_text())
    assert len(queries) > 5
    client = connect(stack.settings)
    for query in queries:
        client.query(query)


def test_an_alert_reaches_whom_it_has_to_wake(stack: Stack) -> None:
    connect(stack.settings).insert(
        "marts.verifications", [[3, 100, 1.0]], column_names=["differences", "compared", "seconds"]
    )

    def receivers() -> list[str]:
        found = get(f"{stack.settings.alertmanager_url}/api/v2/alerts")
        return [
            receiver["name"]
            for alert in found
            if alert["labels"]["alertname"] == "VerifyDiffers"
            for receiver in alert["receivers"]
        ]

    until(lambda: receivers() == ["pager"], "the alert at Alertmanager")


def test_the_loss_that_the_hourly_check_finds_raises_its_alert(stack: Stack) -> None:
    with dg.DagsterInstance.from_config(str(stack.home / "dagster")) as instance:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(["raw", "events"]),
                check_name=LOSS_CHECK,
                passed=False,
                metadata={"loss_ratio": 0.006},
            )
        )
    until(lambda: {"IngestLoss", "IngestLossHigh"} <= active_alerts(stack).keys(), "the alerts")


def end(stack: Stack, service: str) -> None:
    """Kill a service that the supervisor is told not to start again."""
    supervisor = LocalStack(stack.home).supervisor
    pid = supervisor.processes()[service].pid
    assert pid is not None
    supervisor.stop(service)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_component_that_is_killed_raises_its_alert_within_two_evaluations(stack: Stack) -> None:
    def raises(alert: str, limit: float) -> None:
        until(lambda: alert in active_alerts(stack), f"{alert}: {active_alerts(stack)}", limit)

    # The last scrape before the end, the one that misses it, and two evaluations.
    soon = 4 * INTERVAL_S + 5
    until(lambda: "DagsterDaemonDown" not in active_alerts(stack), "every daemon's beat")
    end(stack, "dagster-daemon")
    killed = time.monotonic()
    for service, alert in (
        ("kafka", "IngestNotReady"),
        ("clickhouse", "WarehouseDown"),
        ("api", "ApiDown"),
        ("ingest", "IngestDown"),
    ):
        end(stack, service)
        raises(alert, soon)
    raises("DagsterDaemonDown", HEARTBEAT_LIMIT_S + soon - (time.monotonic() - killed))
    for service, alert in (("dagster-webserver", "DagsterDown"), ("exporter", "ExporterDown")):
        end(stack, service)
        raises(alert, soon)
