"""What `tally up --with monitoring` writes for Prometheus, and says where it is not installed."""

from pathlib import Path

import pytest
import yaml

from tally.errors import TallyError
from tally.local import monitoring
from tally.local.layout import Layout

PORTS = {
    "api_metrics": 1,
    "ingest_metrics": 2,
    "exporter_metrics": 3,
    "prometheus": 4,
    "alertmanager": 5,
}


def targets(home: Path, *services: str) -> dict[str, list[str]]:
    monitoring.write_configuration(Layout.of(home), services, PORTS, interval_seconds=7)
    written = yaml.safe_load((home / "prometheus.yml").read_text())
    assert written["global"] == {"scrape_interval": "7s", "evaluation_interval": "7s"}
    (alertmanagers,) = written["alerting"]["alertmanagers"]
    jobs = [*written["scrape_configs"], {"job_name": "alerts", **alertmanagers}]
    return {
        job["job_name"]: [name for each in job["static_configs"] for name in each["targets"]]
        for job in jobs
    }


def test_the_targets_are_the_ports_of_the_stack(tmp_path: Path) -> None:
    assert targets(tmp_path, "api", "ingest", "exporter", "prometheus", "alertmanager") == {
        "cc-webapp-backend": ["127.0.0.1:1"],
        "tally-ingest": ["127.0.0.1:2"],
        "tally-exporter": ["127.0.0.1:3"],
        "prometheus": ["127.0.0.1:4"],
        "alerts": ["127.0.0.1:5"],
    }


def test_a_service_that_was_left_out_is_no_target(tmp_path: Path) -> None:
    found = targets(tmp_path, "exporter", "prometheus")
    assert found["cc-webapp-backend"] == found["tally-ingest"] == found["alerts"] == []


def test_alerts_are_routed_as_in_production_and_sent_to_nobody(tmp_path: Path) -> None:
    targets(tmp_path, "prometheus")
    local = yaml.safe_load((tmp_path / "alertmanager.yml").read_text())
    production = yaml.safe_load(monitoring.ROUTES.read_text())
    assert local["route"] == production["route"]
    assert local["receivers"] == [{"name": "pager"}, {"name": "tickets"}]


def test_without_the_programs_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TallyError, match="apt-get install prometheus"):
        monitoring.program("alertmanager")
    found = tmp_path / "prometheus-alertmanager"
    found.touch(mode=0o755)
    assert monitoring.program("alertmanager") == str(found)
