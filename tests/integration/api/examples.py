"""Real answers for the OpenAPI document; run as a module it writes them anew.

    python -m tests.integration.api.examples

`test_examples.py` asks again and compares all but what changes with every run.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from serving_api.openapi import EXAMPLES
from tally.tokens import Role
from tests.integration.api.serving import Client, serving
from tests.platform import Platform, action, running_platform
from tests.servers import start_kafka

USER = 10_042
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

# Moments, durations and places that no two runs share, and the hash that any change of SQL changes.
CHANGING = {
    *("watermark", "lag_seconds", "materialized_at", "definition_hash", "issued_at", "expires_at"),
    *("request_id", "consistency_token", "partition", "offset", "query_seconds", "last_batch_at"),
    *("last_day", "materialization_age_seconds"),
}

JSON = {"Content-Type": "application/json"}
LOGIN = {
    "event_id": "019a9c1e-5e00-7000-8000-000000000101",
    "action_type": "DAILY_LOGIN",
    "occurred_at": "2026-11-22T11:59:00Z",
    "context": {"streak_count": 3},
}
BAD = {**LOGIN, "event_id": "019a9c1e-5e00-7000-8000-000000000102", "occurred_at": "yesterday"}


def _history() -> Iterator[dict[str, Any]]:
    """Three days of a player."""

    def spin(nth: int, day: int, bet: int, payout: int) -> dict[str, Any]:
        at = f"2026-11-{day}T10:{nth:02}:00Z"
        return made(nth, "SLOT_SPIN", at, round_id=f"r-{nth}", bet=bet, payout=payout)

    def made(nth: int, name: str, at: str, **fields: Any) -> dict[str, Any]:
        event_id = str(UUID(int=0x019A9C1E5E0070008000_000000000000 + nth))
        return action(USER, name, at, event_id=event_id, **fields)

    yield made(1, "SIGN_UP", "2026-11-19T09:00:00Z")
    yield made(2, "DAILY_LOGIN", "2026-11-20T09:00:00Z", streak_count=1)
    yield spin(3, 20, 100, 0)
    yield spin(4, 20, 100, 250)
    yield made(5, "DAILY_LOGIN", "2026-11-21T09:00:00Z", streak_count=2)
    yield spin(6, 21, 50, 50)
    yield made(7, "RPS_PLAY", "2026-11-21T10:30:00Z", round_id="r-7", bet=20, payout=40)
    yield made(8, "LEVEL_UP", "2026-11-21T10:31:00Z", level=2)
    reward = {"reward_type": "level_up", "amount": 500, "balance_after": 1_250}
    yield made(9, "REWARD_GRANTED", "2026-11-21T10:31:01Z", **reward)


def capture(platform: Platform, api: Client) -> dict[str, Any]:
    """The answers by `METHOD path status`."""
    platform.store(_history())
    mine = api.as_user(USER)
    staff = api.as_user(7, Role.ANALYST)
    asked = [
        api.get("/healthz"),
        api.get("/api/users/stats?include=by_game", headers=mine),
        api.get("/api/users/stats?as_of=2027-01-01", headers=mine),
        api.get("/api/users/stats"),
        api.get("/api/users/stats", headers=staff),
        api.get("/api/users/stats/explain?field=total_wins", headers=mine),
        api.get("/api/users/stats/history", headers=mine),
        api.get("/api/auth/me", headers=mine),
        api.get("/api/auth/profile", headers=mine),
        api.get("/api/users/profile", headers=mine),
        api.get(f"/api/users/{USER}", headers=api.as_user(7)),
        api.get(f"/api/actions/recent/{USER}?limit=2", headers=mine),
        api.get("/api/olap/health", headers=staff),
        api.post("/api/actions", headers=mine | JSON, content=json.dumps(LOGIN)),
        api.post(
            "/api/actions/bulk",
            headers=mine | JSON,
            content=json.dumps({"events": [LOGIN, BAD]}),
        ),
    ]
    return {
        f"{answer.request.method} {answer.request.url.path.replace(str(USER), '{user_id}')} "
        f"{answer.status_code}": answer.json()
        for answer in asked
    }


@contextmanager
def asking(platform: Platform, folder: Path) -> Iterator[Client]:
    """An API with a broker at a fixed noon."""
    with start_kafka(folder / "kafka", partitions=1) as broker:
        changes = {"kafka_bootstrap": broker.url}
        with serving(platform.settings.model_copy(update=changes), lambda: NOON) as api:
            yield api


def unchanging(example: Any) -> Any:
    """The part of an answer that every run has alike."""
    if isinstance(example, dict):
        return {k: unchanging(v) for k, v in example.items() if k not in CHANGING}
    if isinstance(example, list):
        return [unchanging(each) for each in example]
    return example


def main() -> None:
    """Write the examples."""
    with tempfile.TemporaryDirectory() as folder, running_platform(Path(folder)) as platform:
        platform.materialize()
        with asking(platform, Path(folder)) as api:
            found = capture(platform, api)
    EXAMPLES.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
