"""Only what passes by itself is tried again."""

import pytest

from orchestration.lib.transient import is_transient


@pytest.mark.parametrize(
    "message",
    [
        "HTTPConnectionPool(host='127.0.0.1', port=1): Max retries exceeded with url: /",
        "[Errno 111] Connection refused",
        "Received ClickHouse exception, code: 241, server response: Code: 241. Memory limit",
        "Code: 159. DB::Exception: Timeout exceeded",
        "Read timed out.",
    ],
)
def test_the_network_and_a_busy_server_are_transient(message: str) -> None:
    assert is_transient(message)


@pytest.mark.parametrize(
    "message",
    [
        "Failure in test assert_daily_login_days_are_active_days: got 1 result",
        "Received ClickHouse exception, code: 47, server response: Code: 47. Unknown identifier",
        "Compilation Error: model depends on a node named 'x' which was not found",
    ],
)
def test_a_wrong_model_and_a_failed_test_are_not(message: str) -> None:
    assert not is_transient(message)
