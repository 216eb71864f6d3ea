"""The examples of the OpenAPI document are what the API answers."""

import json
from pathlib import Path

from serving_api.openapi import COMMITTED, EXAMPLES
from tests.integration.api.examples import asking, capture, unchanging
from tests.platform import Platform


def test_the_examples_are_real_answers(platform: Platform, tmp_path: Path) -> None:
    with asking(platform, tmp_path) as api:
        found = capture(platform, api)
    examples = json.loads(EXAMPLES.read_text())
    again = "write them anew: python -m tests.integration.api.examples, then make openapi"
    assert unchanging(found) == unchanging(examples), again


def test_every_route_has_one_but_the_longest_the_probe_and_what_is_of_everyone() -> None:
    document = json.loads(COMMITTED.read_text())
    without = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if not any(
            "example" in content
            for answer in operation["responses"].values()
            for content in answer.get("content", {}).values()
        )
    }
    # The platform's numbers are of every user whom other tests have put into the warehouse.
    of_everyone = {"/api/metrics/global", "/api/metrics/stream"}
    assert without == {"/api/metrics/definitions", "/readyz"} | of_everyone
