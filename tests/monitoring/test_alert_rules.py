"""Each alert fires when it should and only then, and its tests notice when it is changed."""

import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.alert_cases import CASES
from tests.monitoring.promtool import (
    ALERT_FILES,
    PROMETHEUS,
    alerts,
    mutants,
    read_by,
    rules_of,
    wrong,
)

REPOSITORY = PROMETHEUS.parents[1]
ALERTMANAGER = REPOSITORY / "grafana" / "alertmanager" / "alertmanager.yml"
NOTICED_SHARE = 0.9

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("amtool") is None,
    reason="promtool and amtool are missing: apt-get install prometheus prometheus-alertmanager",
)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_configuration_and_every_rule() -> None:
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    run("promtool", "check", "rules", *ALERT_FILES, PROMETHEUS / "recording_rules.yml")


def test_alertmanager_accepts_its_configuration_and_wakes_somebody_for_what_is_critical() -> None:
    run("amtool", "check-config", ALERTMANAGER)
    for severity, receiver in (("critical", "pager"), ("warning", "tickets")):
        config = f"--config.file={ALERTMANAGER}"
        found = subprocess.run(
            ["amtool", "config", "routes", "test", config, f"severity={severity}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert found.stdout.strip() == receiver


def test_what_is_inhibited_and_inhibits_are_alerts() -> None:
    rules = yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]
    matchers = [text for rule in rules for side in rule.values() for text in side]
    named = {name for text in matchers for name in text.partition('"')[2].rstrip('"').split("|")}
    assert named <= alerts().keys()


@pytest.mark.parametrize(
    "rule", [r for path in ALERT_FILES for r in rules_of(path)], ids=lambda r: r["alert"]
)
def test_an_alert_says_how_bad_it_is_and_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    notes = rule["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert all(notes.values())
    page, _, anchor = notes["runbook_url"].partition("#")
    assert page == "http://127.0.0.1:8080/guides/runbooks.html"  # where compose publishes the docs
    assert anchor == rule["alert"].lower()
    sections = (REPOSITORY / "docs" / "runbooks.md").read_text().split("\n### ")[1:]
    (section,) = [text for text in sections if text.splitlines()[0].lower() == anchor]
    assert "**Run**" in section


def test_an_alert_speaks_only_of_labels_that_it_has() -> None:
    for path in ALERT_FILES:
        for rule in rules_of(path):
            spoken = re.findall(r"\$labels\.(\w+)", "".join(rule["annotations"].values()))
            fired = [labels for case in CASES[rule["alert"]].cases for labels in case.fires]
            assert any(set(spoken) <= labels.keys() for labels in fired), rule["alert"]


def test_every_section_of_the_runbooks_is_of_an_alert() -> None:
    headings = re.findall(r"(?m)^### (.+)$", (REPOSITORY / "docs" / "runbooks.md").read_text())
    assert headings == list(dict.fromkeys(headings))
    assert set(headings) == alerts().keys()


def test_the_runbooks_lead_to_dashboards_that_exist() -> None:
    page = (REPOSITORY / "docs" / "runbooks.md").read_text()
    linked = dict(re.findall(r"(?m)^\[(.+)\]: \S+/d/([\w-]+)$", page))
    assert set(re.findall(r"\*\*Look\*\*:\s\[([^\]]+)\]", page)) == linked.keys()
    for name, uid in linked.items():
        assert (
            json.loads((REPOSITORY / "grafana" / "json" / f"{uid}.json").read_text())["title"]
            == name
        )


def test_every_alert_has_cases_of_each_kind() -> None:
    assert CASES.keys() == alerts().keys()
    for name, expected in CASES.items():
        assert {case.kind for case in expected.cases} == {"firing", "silent", "edge"}, name
        assert all((case.kind == "firing") == bool(case.fires) for case in expected.cases), name


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(name: str, tmp_path: Path) -> None:
    rule = alerts()[name]
    severity = rule["labels"]["severity"]
    assert not wrong(tmp_path, [*read_by(rule), rule], CASES[name], severity)


def test_nine_of_ten_changes_of_a_rule_are_noticed(tmp_path: Path) -> None:
    def unnoticed(name: str) -> tuple[int, list[str]]:
        rule = alerts()[name]
        changed = mutants(rule)
        folder = tmp_path / name
        folder.mkdir()
        rules = [*read_by(rule), *(each for mutant in changed for each in mutant.rules)]
        noticed = wrong(folder, rules, CASES[name], rule["labels"]["severity"])
        named = {mutant.rules[-1]["alert"]: mutant.what for mutant in changed}
        return len(changed), [
            f"{name}: {what}" for key, what in named.items() if key not in noticed
        ]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(unnoticed, CASES))
    made = sum(count for count, _ in found)
    survivors = [what for _, some in found for what in some]
    assert len(survivors) <= (1 - NOTICED_SHARE) * made, (made, survivors)
