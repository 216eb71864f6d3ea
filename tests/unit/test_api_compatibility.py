"""The document's guard: what breaks a client is named, and what does not is let through."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from serving_api.compatibility import breakages
from serving_api.openapi import COMMITTED

DOCUMENT = json.loads(COMMITTED.read_text(encoding="utf-8"))
STATS = "/api/users/stats"


def operation(document: dict[str, Any], path: str = STATS, method: str = "get") -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def event(document: dict[str, Any]) -> dict[str, Any]:
    body = operation(document, "/api/actions", "post")["requestBody"]
    found: dict[str, Any] = body["content"]["application/json"]["schema"]
    return found


def parameter(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(p for p in operation(document)["parameters"] if p["name"] == name)


BREAKING: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a path removed": (lambda d: d["paths"].pop(STATS), f"{STATS}: path removed"),
    "a method removed": (lambda d: d["paths"][STATS].pop("get"), "method removed"),
    "a field removed": (
        lambda d: schema(d, "UserStats")["properties"].pop("total_wins"),
        "200.total_wins: field removed",
    ),
    "a field deep inside removed": (
        lambda d: schema(d, "GameStats")["properties"].pop("wins"),
        "200.by_game[].wins: field removed",
    ),
    "a type changed": (
        lambda d: schema(d, "UserStats")["properties"]["total_wins"].update(type="string"),
        "type changed from integer to string",
    ),
    "a null where there was none": (
        lambda d: schema(d, "UserStats")["properties"].update(
            total_wins={"anyOf": [{"type": "integer"}, {"type": "null"}]}
        ),
        "type changed from integer to integer/null",
    ),
    "a value removed": (
        lambda d: schema(d, "StatsMeta")["properties"]["status"]["enum"].remove("stale"),
        "meta.status: value 'stale' removed",
    ),
    "a field no longer certain": (
        lambda d: schema(d, "UserStats")["required"].remove("total_wins"),
        "total_wins: may be absent now",
    ),
    "a request field required": (
        lambda d: event(d)["required"].append("session_id"),
        "body.session_id: required now",
    ),
    "a parameter removed": (
        lambda d: operation(d)["parameters"].remove(parameter(d, "as_of")),
        "query.as_of removed",
    ),
    "a parameter required": (
        lambda d: parameter(d, "as_of").update(required=True),
        "query.as_of is required now",
    ),
    "a new parameter required": (
        lambda d: operation(d)["parameters"].append(
            {"in": "query", "name": "zone", "required": True, "schema": {"type": "string"}}
        ),
        "query.zone is required now",
    ),
    "an answer removed": (lambda d: operation(d)["responses"].pop("304"), "answer 304 removed"),
}


@pytest.mark.parametrize("change", BREAKING)
def test_what_breaks_a_client_is_named(change: str) -> None:
    apply, expected = BREAKING[change]
    changed = copy.deepcopy(DOCUMENT)
    apply(changed)
    found = breakages(DOCUMENT, changed)
    assert any(expected in line for line in found), found


def test_the_same_document_and_additions_break_nobody() -> None:
    changed = copy.deepcopy(DOCUMENT)
    changed["paths"]["/api/new"] = changed["paths"][STATS]
    schema(changed, "UserStats")["properties"]["new"] = {"type": "integer"}
    schema(changed, "UserStats")["required"].append("new")
    schema(changed, "StatsMeta")["properties"]["status"]["enum"].append("new")
    event(changed)["properties"]["new"] = {"type": "string"}
    operation(changed)["parameters"].append(
        {"in": "query", "name": "new", "schema": {"type": "string"}}
    )
    assert breakages(DOCUMENT, DOCUMENT) == breakages(DOCUMENT, changed) == []
