"""What holds for every answer, over simulated players: identities, roles, sums."""

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_api.stats.schemas import UserStats
from simulator.events import document
from simulator.world import World
from tally.tokens import Role
from tests.integration.api.serving import Client, serving
from tests.platform import Platform

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WORLD = World(seed=7, users=12, days=30, start=date(2026, 10, 24), first_user_id=700_001)
FRESHNESS = ("watermark", "lag_seconds", "materialized_at")


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Client]:
    lived = itertools.takewhile(lambda event: event.at < WORLD.ends, WORLD.events())
    platform.store(document(event) for event in lived)
    changes = {"api_rate_limit": 10**6, "api_cache_seconds": 0}
    with serving(platform.settings.model_copy(update=changes), lambda: NOON) as client:
        yield client


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    user=st.sampled_from(WORLD.user_ids),
    as_of=st.dates(date(2026, 10, 20), NOON.date()),
    definition=st.sampled_from(["all_actions", "daily_login"]),
)
def test_every_answer_holds_its_identities_for_every_role(
    api: Client, user: int, as_of: date, definition: str
) -> None:
    query = {"as_of": str(as_of), "definition": definition, "include": "by_game"}
    answers = []
    for role in (Role.STANDARD, Role.PREMIUM, Role.VIP):
        response = api.get("/api/users/stats", params=query, headers=api.as_user(user, role))
        assert response.status_code == 200
        answers.append(response.json())
    for answer in answers:
        UserStats.model_validate(answer)  # the invariants of the contract
        for name in FRESHNESS:
            answer["meta"].pop(name)
    first, *others = answers
    assert all(other == first for other in others)
    days = [first[f"last_{n}d_active_days"] for n in (7, 30, 90)] + [first["lifetime_active_days"]]
    assert 0 <= days[0] <= days[1] <= days[2] <= days[3]
    assert days[0] <= 7
    assert days[1] <= 30
    outcomes = ("total_wins", "total_losses", "total_draws", "total_no_outcome")
    assert first["total_games_played"] == sum(first[name] for name in outcomes)
    for column, total in (("played", "total_games_played"), ("bet_amount", "bet_amount")):
        assert first[total] == sum(game[column] for game in first["by_game"])
