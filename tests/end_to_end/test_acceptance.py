"""The checks that the metrics come from, on a running stack: what a founder would try first."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from tests.stacks import Stack, running_stack

VISIBLE_WITHIN_S = 2.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("acceptance") / "home") as running:
        yield running


def event(user_id: int, action_type: str, at: datetime, **context: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "user_id": user_id,
        "action_type": action_type,
        "occurred_at": at.isoformat(),
        "context": context,
    }


def send(stack: Stack, *events: dict[str, Any]) -> float:
    """Produce as the game backend does; the moment when Kafka had acknowledged the last."""
    producer = Producer({"bootstrap.servers": stack.settings.endpoint("kafka_bootstrap")})
    for one in events:
        producer.produce(
            stack.settings.actions_topic, json.dumps(one).encode(), key=str(one["user_id"])
        )
    assert producer.flush(10) == 0
    return time.monotonic()


def until(condition: Callable[[], bool], limit_s: float) -> None:
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, f"not within {limit_s} s"
        time.sleep(0.02)


def test_three_slot_rounds_are_three_games_within_two_seconds(stack: Stack) -> None:
    user, now = 71, datetime.now(UTC)

    def played() -> int:
        total: int = stack.stats([user])[user]["total_games_played"]
        return total

    send(stack, event(user, "SLOT_SPIN", now, round_id="before", bet=10, payout=0))
    until(lambda: played() == 1, limit_s=10)
    rounds = (event(user, "SLOT_SPIN", now, round_id=f"r{i}", bet=10, payout=i) for i in range(3))
    acknowledged = send(stack, *rounds)
    until(lambda: played() == 4, limit_s=VISIBLE_WITHIN_S)
    assert time.monotonic() - acknowledged < VISIBLE_WITHIN_S


def test_daily_logins_on_two_utc_days_are_two_active_days_under_both_definitions(
    stack: Stack,
) -> None:
    user, now = 72, datetime.now(UTC)
    send(
        stack,
        event(user, "DAILY_LOGIN", now - timedelta(days=1)),
        event(user, "DAILY_LOGIN", now),
    )
    for definition in ("all_actions", "daily_login"):
        until(
            lambda definition=definition: (  # type: ignore[misc]
                stack.stats([user], definition=definition)[user]["last_30d_active_days"] == 2
            ),
            limit_s=10,
        )
        assert stack.stats([user], definition=definition)[user]["current_streak_days"] == 2


def test_a_void_takes_out_a_round_of_another_day_without_a_materialization(stack: Stack) -> None:
    user, now = 73, datetime.now(UTC)
    settled = now - timedelta(days=9)
    send(stack, event(user, "CRASH_ROUND", settled, round_id="r", bet=10, payout=30))
    stack.tally("wait")
    stack.tally("materialize")
    assert stack.stats([user])[user]["total_games_played"] == 1
    send(stack, event(user, "CRASH_ROUND", now, round_id="r", state="voided"))
    until(lambda: stack.stats([user])[user]["total_games_played"] == 0, limit_s=10)
    assert stack.stats([user])[user]["lifetime_active_days"] == 2


EVENTS_OF_THE_LAST_HOUR = """
SELECT action_type, count() FROM events WHERE ts > now() - INTERVAL 1 HOUR GROUP BY action_type ORDER BY count() DESC;
"""  # noqa: E501 - as an analyst has it
WINS_AND_LOSSES = """
SELECT user_id, sum(wins) AS w, sum(losses) AS l FROM game_stats WHERE date >= today()-7 GROUP BY user_id ORDER BY w DESC LIMIT 50;
"""  # noqa: E501 - as an analyst has it


def test_the_analysts_queries_run_as_they_stand(stack: Stack) -> None:
    user, now = 74, datetime.now(UTC)
    send(
        stack, *(event(user, "RPS_PLAY", now, round_id=f"r{i}", bet=1, payout=9) for i in range(7))
    )
    stack.tally("wait")
    stack.tally("materialize")
    url = stack.settings.endpoint("clickhouse_url")
    by_action, by_user = (
        httpx.post(url, params={"database": "analytics"}, content=query).raise_for_status().text
        for query in (EVENTS_OF_THE_LAST_HOUR, WINS_AND_LOSSES)
    )
    assert "RPS_PLAY\t7" in by_action.splitlines()
    assert f"{user}\t7\t0" in by_user.splitlines()


def test_a_player_without_events_has_zeros_and_no_dates(stack: Stack) -> None:
    answer = stack.stats([99], as_of=date(2026, 1, 1))[99]
    assert answer["total_games_played"] == answer["lifetime_active_days"] == 0
    assert answer["first_active_date"] is None
    assert answer["win_rate"] is None


def test_the_sockets_answer_and_the_page_has_an_address(stack: Stack) -> None:
    standard, first, legacy, second = stack.tally("ws-smoke", "--user", "75").splitlines()
    assert standard.endswith("/api/realtime/sync")
    assert legacy.strip().endswith("/api/games/ws")
    for said in (first, second):
        assert json.loads(said)["type"] == "sync_connected"
    api = stack.settings.endpoint("api_url")
    address = stack.tally("page", "--user", "75", "--user", "76").strip()
    assert address.startswith(f"{api}/#token=")
    assert address.count("token=") == 2
    assert stack.status()["page"]["url"] == f"{api}/"
    assert "<title>Tally</title>" in httpx.get(f"{api}/").text
