"""Schemathesis over the whole document: no 5xx, and no answer that the document does not declare.

A route whose parameters allow few different requests is asked each of them once.
"""

from collections import Counter
from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.errors import InvalidSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving_api.app import ROUTERS
from serving_api.security.access import PLAYERS, access_to, operations
from tally.tokens import Role
from tests.integration.api.serving import Client, serving
from tests.platform import Platform
from tests.servers import start_kafka

CASES = 160
"""Of each operation, good ones and as many bad ones."""
MIN_CASES = 2_000

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# Not in the document: the page and the sockets. An answer of the stream does not end; what it does
# with an id is in test_realtime.py.
UNDOCUMENTED = {"/", "/page/{name}", "/api/metrics/stream"}
OPERATIONS = sorted(
    (method, path)
    for router in ROUTERS
    for method, path in operations(router.routes)
    if method != "WEBSOCKET" and path not in UNDOCUMENTED
)


@pytest.fixture(scope="module")
def api(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with start_kafka(tmp_path_factory.mktemp("fuzz") / "kafka", partitions=1) as broker:
        limits = {"api_rate_limit": 10**6, "api_staff_rate_limit": 10**6}
        changes = {"kafka_bootstrap": broker.url, **limits}
        with serving(platform.settings.model_copy(update=changes)) as client:
            yield client


@pytest.fixture(scope="module")
def seen() -> Counter[int]:
    """The statuses of all answers."""
    return Counter()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_sent_the_answer_is_declared_and_no_5xx(
    api: Client, seen: Counter[int], method: str, path: str, mode: GenerationMode
) -> None:
    document = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json")
    # Bad tokens have a test of their own.
    document.config.generation.update(with_security_parameters=False)
    operation = document[path][method]
    access = access_to(method, path)
    role = Role.STANDARD if access.roles & PLAYERS else Role.ANALYST
    headers = {} if access.public else api.as_user(42, role)
    before = seen.total()

    cases = operation.as_strategy(generation_mode=mode)
    if (method, mode) == ("POST", GenerationMode.POSITIVE):
        cases = cases.map(_at_a_time_that_is_accepted)

    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: Case) -> None:
        response = case.call(headers=headers, session=session)
        seen[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    with requests.Session() as session:
        try:
            ask()
        except (Unsatisfiable, InvalidSchema):
            assert mode is GenerationMode.NEGATIVE, "an operation that cannot be asked rightly"
            return  # of a route without parameters nothing is wrong
    assert seen.total() > before


def _at_a_time_that_is_accepted(case: Case) -> Case:
    """Of all times that a text can hold, hardly any is between 2015 and now."""
    assert isinstance(case.body, dict)
    for event in case.body.get("events", [case.body]):
        event["occurred_at"] = "2026-11-20T10:00:00Z"
    return case


def test_so_many_cases_were_asked(seen: Counter[int]) -> None:
    assert seen.total() >= MIN_CASES, seen
    assert {200, 202, 207, 422} <= seen.keys(), "good ones and bad ones"
