"""Prometheus' rules under test: cases of alerts, mutants of rules, and promtool that judges them.

Alerts are tested without their annotations, which promtool would want word by word.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

PROMETHEUS = Path(__file__).parents[2] / "grafana" / "prometheus"
ALERT_FILES = sorted(PROMETHEUS.glob("*_alerts.yml"))
LIMIT_S = 60

Rule = dict[str, Any]

_FAILED = re.compile(r"alertname: (\w+), time:")
_NUMBER = re.compile(r"(?<=[<>=] )-?[0-9.]+")
_FACTOR = re.compile(r"[0-9.]+(?= \*)")
_COMPARISON = re.compile(r"(?<= )(?:[<>]=?|==)(?= )")
_WINDOW = re.compile(r"(?<=\[)[0-9]+(?=[smhd]\])")
_MATCHER = re.compile(r'(?<==")[^"]+(?=")|(?<=~")[^"]+(?=")')
_FLIPPED = {">": "<", "<": ">", ">=": "<", "<=": ">", "==": "!="}


@dataclass(frozen=True)
class Case:
    """Series in promtool's notation, and whether the alert fires `at` a time after their start."""

    kind: Literal["firing", "silent", "edge"]
    series: dict[str, str]
    at: str
    fires: tuple[dict[str, str], ...] = ()
    """The labels of each alert that fires, without its name and severity."""


@dataclass(frozen=True)
class Cases:
    """What is expected of one alert; `interval` is between two samples and two evaluations."""

    cases: tuple[Case, ...]
    interval: str = "15s"


@dataclass(frozen=True)
class Mutant:
    """An alert, or a rule that it reads, that is wrong in one place."""

    what: str
    rules: tuple[Rule, ...]


def rules_of(path: Path) -> Iterator[Rule]:
    """The rules of a file."""
    for group in yaml.safe_load(path.read_text())["groups"]:
        yield from group["rules"]


@cache
def alerts() -> dict[str, Rule]:
    """Every alert by name, without annotations."""
    return {
        rule["alert"]: {key: value for key, value in rule.items() if key != "annotations"}
        for path in ALERT_FILES
        for rule in rules_of(path)
    }


@cache
def recordings() -> dict[str, Rule]:
    """Every recording rule by name."""
    return {rule["record"]: rule for rule in rules_of(PROMETHEUS / "recording_rules.yml")}


def read_by(alert: Rule) -> list[Rule]:
    """The recording rules that an alert reads."""
    return [rule for name, rule in recordings().items() if _name(name).search(alert["expr"])]


def wrong(folder: Path, rules: Iterable[Rule], expected: Cases, severity: str) -> set[str]:
    """The alerts among the rules, each of them tried on every case, that promtool finds wrong."""
    rules = list(rules)
    named = [rule["alert"] for rule in rules if "alert" in rule]
    write(folder / "rules.yml", {"groups": [{"name": "tested", "rules": rules}]})
    tests = [
        {
            "interval": expected.interval,
            "input_series": [
                {"series": name, "values": values} for name, values in case.series.items()
            ],
            "alert_rule_test": [
                {
                    "eval_time": case.at,
                    "alertname": name,
                    "exp_alerts": [
                        {"exp_labels": {"severity": severity, **labels}} for labels in case.fires
                    ],
                }
                for name in named
            ],
        }
        for case in expected.cases
    ]
    tested = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": expected.interval,
        "tests": tests,
    }
    write(folder / "tests.yml", tested)
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    found = set(_FAILED.findall(done.stdout + done.stderr))
    assert found or done.returncode == 0, done.stdout + done.stderr
    return found


def write(path: Path, content: object) -> None:
    """Write YAML."""
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def mutants(alert: Rule) -> list[Mutant]:
    """The alert wrong in each of its thresholds, durations and labels, and in its recordings'."""
    made: list[tuple[str, Rule, list[Rule]]] = [
        (what, rule, []) for what, rule in _mutated_alerts(alert)
    ]
    for recording in read_by(alert):
        for change, expression in _mutated_expressions(recording["expr"]):
            name = f"{recording['record']}:mutant{len(made)}"
            reads = _name(recording["record"]).sub(name, alert["expr"])
            made.append(
                (
                    f"{recording['record']}: {change}",
                    {**alert, "expr": reads},
                    [{"record": name, "expr": expression}],
                )
            )
    return [
        Mutant(what, (*others, {**rule, "alert": f"{alert['alert']}__{number}"}))
        for number, (what, rule, others) in enumerate(made)
    ]


def _mutated_alerts(alert: Rule) -> Iterator[tuple[str, Rule]]:
    for what, expression in _mutated_expressions(alert["expr"]):
        yield what, {**alert, "expr": expression}
    if waits := alert.get("for"):
        number, unit = int(waits[:-1]), waits[-1]
        halved = f"{number * 30}s" if unit == "m" else f"{number * 30}m"
        for other in (f"{number * 2}{unit}", halved, "0s"):
            yield f"for {other}", {**alert, "for": other}
    else:
        yield "for 5m", {**alert, "for": "5m"}
    severity = alert["labels"]["severity"]
    other = {"critical": "warning", "warning": "critical"}[severity]
    yield f"severity {other}", {**alert, "labels": {"severity": other}}
    yield "no severity", {**alert, "labels": {}}


def _mutated_expressions(expression: str) -> Iterator[tuple[str, str]]:
    def replaced(pattern: re.Pattern[str], *changes: Any) -> Iterator[tuple[str, str]]:
        for match in pattern.finditer(expression):
            for change in changes:
                other = change(match[0])
                if other != match[0]:
                    changed = expression[: match.start()] + other + expression[match.end() :]
                    yield f"{match[0]} -> {other} at {match.start()}", changed

    def scaled(text: str, factor: float) -> str:
        return f"{(float(text) or 1 / factor) * factor:g}"

    yield from replaced(_NUMBER, lambda n: scaled(n, 2), lambda n: scaled(n, 0.5))
    yield from replaced(_FACTOR, lambda n: scaled(n, 2), lambda n: scaled(n, 0.5))
    yield from replaced(_COMPARISON, _FLIPPED.__getitem__)
    yield from replaced(_WINDOW, lambda n: str(int(n) * 2))
    yield from replaced(_MATCHER, lambda _: "mutant")


def _name(recorded: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(recorded)}(?![\w:])")
