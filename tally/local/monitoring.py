"""Prometheus and Alertmanager beside the stack: real ones, where the machine has them.

They run on the rules and routes of `grafana/`, with the stack's ports as targets. Alerts are routed
as in production and sent to nobody.
"""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from tally.errors import TallyError
from tally.local.layout import Layout

RULES = Path(__file__).parents[2] / "grafana" / "prometheus"
ROUTES = Path(__file__).parents[2] / "grafana" / "alertmanager" / "alertmanager.yml"

# The service of each scrape job, and the name of its port.
_TARGETS = {
    "cc-webapp-backend": ("api", "api_metrics"),
    "tally-ingest": ("ingest", "ingest_metrics"),
    "tally-exporter": ("exporter", "exporter_metrics"),
    "prometheus": ("prometheus", "prometheus"),
}
# Debian's name of Alertmanager, and its own.
_PROGRAMS = {
    "prometheus": ("prometheus",),
    "alertmanager": ("prometheus-alertmanager", "alertmanager"),
}


def prometheus_file(layout: Layout) -> Path:
    """The configuration of the stack's Prometheus, written at each start."""
    return layout.home / "prometheus.yml"


def alertmanager_file(layout: Layout) -> Path:
    """The configuration of the stack's Alertmanager."""
    return layout.home / "alertmanager.yml"


def program(name: str) -> str:
    """The path of `prometheus` or `alertmanager`. Raises `TallyError` where it is not installed."""
    for each in _PROGRAMS[name]:
        if found := shutil.which(each):
            return found
    raise TallyError(
        f"Monitoring needs {name}, which is not installed.",
        hint="On Debian: apt-get install prometheus prometheus-alertmanager (and stop the services "
        "that the packages start); else leave out `--with monitoring`.",
    )


def write_configuration(
    layout: Layout, services: Collection[str], ports: dict[str, int], interval_seconds: int
) -> None:
    """Write both files, for the services that this stack has.

    Raises `TallyError` where the rules are not there: they are no part of an installed package.
    """
    if not RULES.is_dir():
        raise TallyError(
            f"The rules of Prometheus are not in {RULES}.", hint="Run it from a checkout of Tally."
        )
    configuration: dict[str, Any] = yaml.safe_load((RULES / "prometheus.yml").read_text())
    configuration["global"] = {
        "scrape_interval": f"{interval_seconds}s",
        "evaluation_interval": f"{interval_seconds}s",
    }
    configuration["rule_files"] = [str(RULES / name) for name in configuration["rule_files"]]
    configuration["alerting"]["alertmanagers"] = [
        {
            "static_configs": [
                _targets(ports, ["alertmanager"] if "alertmanager" in services else [])
            ]
        }
    ]
    for job in configuration["scrape_configs"]:
        service, port = _TARGETS[job["job_name"]]
        job["static_configs"] = [_targets(ports, [port] if service in services else [])]
    prometheus_file(layout).write_text(yaml.safe_dump(configuration))
    routes: dict[str, Any] = yaml.safe_load(ROUTES.read_text())
    routes["receivers"] = [{"name": each["name"]} for each in routes["receivers"]]
    alertmanager_file(layout).write_text(yaml.safe_dump(routes))


def _targets(ports: dict[str, int], names: list[str]) -> dict[str, list[str]]:
    return {"targets": [f"127.0.0.1:{ports[name]}" for name in names]}
