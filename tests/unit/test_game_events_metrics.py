"""What ingestion counts of the game's events, by the messages that the contract accepts."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import REGISTRY

from ingest import game_events
from ingest.batch import Batch
from ingest.game_events import area_of, status_class
from ingest.streams import Stream
from tests.messages import VALID_CONTEXTS, encoded

DURATION = "tally_backend_request_duration_seconds"


@dataclass
class Record:
    offset: int
    value: bytes
    timestamp: int = 1_772_366_398_000
    key: bytes | None = None
    headers: list[Any] = field(default_factory=list)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def message(nth: int, action_type: str, context: dict[str, Any]) -> Record:
    event_id = f"018f3a5e-7c1b-7d2e-9a43-{nth:012d}"
    return Record(nth, encoded(event_id=event_id, action_type=action_type, context=context))


def count(*actions: tuple[str, dict[str, Any]]) -> None:
    batch = Batch(Stream("test", "user-actions", 0), 0, 0.0)
    batch.add([message(nth, *action) for nth, action in enumerate(actions)])
    assert not batch.dead
    game_events.count(batch.accepted_events())


def purchase(state: str) -> tuple[str, dict[str, Any]]:
    return "SHOP_BUY", VALID_CONTEXTS["SHOP_BUY"] | {"state": state}


def test_purchases_are_counted_by_their_outcome_and_pending_ones_not() -> None:
    names = ("shop_buy_success_total", "shop_buy_failed_total")
    before = [sample(name) for name in names]
    count(*map(purchase, ["success", "failed", "pending", "success"]))
    assert [sample(name) for name in names] == [before[0] + 2, before[1] + 1]


def test_lockouts_are_counted() -> None:
    before = sample("auth_login_locked_total")
    count(("LOGIN_LOCKED", {}), ("LOGIN_FAILED", {}), ("LOGIN_LOCKED", {"reason": "tries"}))
    assert sample("auth_login_locked_total") == before + 2


def test_requests_are_counted_by_area_and_status_class() -> None:
    labels = {"area": "shop", "status": "5xx"}
    before = sample(f"{DURATION}_count", **labels), sample(f"{DURATION}_sum", **labels)
    request = {"route": "/api/shop/buy", "caller": "web", "status": 503, "duration_ms": 250}
    count(("API_REQUEST", request))
    after = sample(f"{DURATION}_count", **labels), sample(f"{DURATION}_sum", **labels)
    assert after == (before[0] + 1, pytest.approx(before[1] + 0.25))


def test_every_action_type_of_the_contract_can_be_counted() -> None:
    count(*VALID_CONTEXTS.items())


@pytest.mark.parametrize(
    ("route", "area"),
    [
        ("/api/shop/buy", "shop"),
        ("/api/invite", "invite"),
        ("/api/users/42/anything/at/all", "users"),
        ("/api/42", "other"),
        ("/shop/buy", "other"),
        ("", "other"),
    ],
)
def test_whatever_a_producer_calls_its_route_the_label_is_of_a_fixed_list(
    route: str, area: str
) -> None:
    assert area_of(route) == area


@pytest.mark.parametrize(
    ("status", "named"), [(100, "1xx"), (204, "2xx"), (599, "5xx"), (0, "other"), (600, "other")]
)
def test_a_status_is_told_by_its_class(status: int, named: str) -> None:
    assert status_class(status) == named
