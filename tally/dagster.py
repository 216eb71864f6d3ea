"""Dagster's webserver over GraphQL: the one question that the stack and the exporter both ask."""

import json
import urllib.request
from typing import Any


def ask(url: str, query: str, timeout_seconds: float) -> dict[str, Any]:
    """The `data` of the answer. Raises `OSError` or `ValueError` where there is none."""
    request = urllib.request.Request(  # noqa: S310 - the scheme is the operator's
        f"{url}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout_seconds) as response:  # noqa: S310
        answer = json.load(response)
    if not isinstance(answer.get("data"), dict):
        raise ValueError(f"Dagster answers with an error: {str(answer)[:500]}")
    data: dict[str, Any] = answer["data"]
    return data
