"""A failed blocking check keeps the answers at the last good state, and says so."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestration.lib.publication import CheckResult, publish, record
from tests.integration.api.serving import Client, serving
from tests.platform import Platform, action

LIMIT_S = 15

NewUser = Callable[[], int]


@pytest.fixture
def api(platform: Platform) -> Iterator[Client]:
    with serving(platform.settings) as client:
        yield client


def answer_with_status(api: Client, user: int, status: str) -> dict[str, Any]:
    """The first answer that has the status; the API reads it anew each second."""
    limit = time.monotonic() + LIMIT_S
    while True:
        answer: dict[str, Any] = api.stats(user).json()
        if answer["meta"]["status"] == status:
            return answer
        assert time.monotonic() < limit, answer["meta"]
        time.sleep(0.05)


def check(platform: Platform, *, passed: bool) -> None:
    record(platform.client, [CheckResult("a_check", "marts/user_days", passed, True)], "test")


def test_a_held_answer_is_the_last_published_one_until_the_check_passes(
    api: Client, platform: Platform, new_user: NewUser
) -> None:
    user = new_user()
    platform.store([action(user, "LOGIN", "2026-11-20T10:00:00Z")])
    platform.materialize()
    published = answer_with_status(api, user, "fresh")
    assert published["lifetime_active_days"] == 1

    check(platform, passed=False)
    platform.store([action(user, "LOGIN", "2026-11-21T10:00:00Z")])
    held = answer_with_status(api, user, "held")
    platform.materialize()  # builds the marts, and publishes nothing
    assert held["lifetime_active_days"] == 1
    assert api.stats(user).json()["lifetime_active_days"] == 1
    assert held["meta"]["watermark"] == published["meta"]["watermark"]

    check(platform, passed=True)
    assert answer_with_status(api, user, "fresh")["lifetime_active_days"] == 2
    assert publish(platform.client, "test").held_by == ()
    assert api.stats(user).json()["lifetime_active_days"] == 2


def test_a_user_of_whom_nothing_was_published_has_no_numbers_while_held(
    api: Client, platform: Platform, new_user: NewUser
) -> None:
    check(platform, passed=False)
    try:
        user = new_user()
        platform.store([action(user, "LOGIN", "2026-11-21T10:00:00Z")])
        assert answer_with_status(api, user, "held")["lifetime_active_days"] == 0
    finally:
        check(platform, passed=True)
