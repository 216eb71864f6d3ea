"""`GET /api/users/stats` over a real warehouse: numbers, dates, and many callers at once."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from clickhouse_connect.driver.query import QueryResult
from prometheus_client import CollectorRegistry

from serving_api.arrivals import Arrivals
from serving_api.consistency import ConsistencyToken
from serving_api.stats.repository import (
    _TOUCHED_USERS,
    Question,
    StatsMetrics,
    StatsRepository,
)
from serving_api.warehouse import Warehouse
from tally.settings import Settings
from tests.integration.api.serving import Client, free_port, serving
from tests.platform import Platform, action

NewUser = Callable[[], int]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class SetClock:
    """A clock that stands where a test puts it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def api(platform: Platform, clock: SetClock) -> Iterator[Client]:
    """It reads what it is asked for, when it is asked."""
    settings = platform.settings.model_copy(update={"api_read_ahead": 0})
    with serving(settings, clock) as client:
        yield client


def spin(
    user_id: int, at: str, round_id: str, bet: int = 10, payout: int = 0, **more: object
) -> dict:
    return action(user_id, "SLOT_SPIN", at, round_id=round_id, bet=bet, payout=payout, **more)


def test_the_answer_has_the_fields_of_the_contract_in_its_order(
    api: Client, new_user: NewUser
) -> None:
    answer = api.stats(new_user(), include="by_game,definitions").json()
    assert list(answer) == [
        "user_id",
        "total_games_played",
        "last_30d_active_days",
        "lifetime_active_days",
        "last_7d_active_days",
        "last_90d_active_days",
        "current_streak_days",
        "total_wins",
        "total_losses",
        "total_draws",
        "total_no_outcome",
        "win_rate",
        "bet_amount",
        "payout_amount",
        "first_active_date",
        "last_active_date",
        "by_game",
        "definitions",
        "meta",
    ]
    assert set(answer["definitions"]) == set(answer) - {
        *("user_id", "by_game", "definitions", "meta"),
    }
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", answer["meta"]["definition_hash"])
    assert answer["meta"]["windows"] == {
        "last_7d": {"from": "2026-11-16", "to": "2026-11-22"},
        "last_30d": {"from": "2026-10-24", "to": "2026-11-22"},
        "last_90d": {"from": "2026-08-25", "to": "2026-11-22"},
    }


def test_a_user_without_events_gets_zeros_and_null_dates(api: Client, new_user: NewUser) -> None:
    response = api.stats(new_user(), include="by_game")
    assert response.status_code == 200
    answer = response.json()
    assert answer.pop("by_game") == []
    assert answer.pop("meta")["status"] == "fresh"
    assert answer.pop("user_id")
    dates = {answer.pop(name) for name in ("first_active_date", "last_active_date", "win_rate")}
    assert dates == {None}
    assert set(answer.values()) == {0}


@pytest.mark.parametrize("materialized", [False, True])
def test_three_slot_rounds_add_exactly_three(
    api: Client, platform: Platform, new_user: NewUser, materialized: bool
) -> None:
    user = new_user()
    platform.store([spin(user, "2026-11-20T10:00:00Z", "before", payout=20)])
    assert api.stats(user).json()["total_games_played"] == 1
    rounds = [spin(user, "2026-11-21T10:00:00Z", f"{user}-{nth}") for nth in range(3)]
    platform.store(rounds)
    platform.store(rounds)  # a producer retries
    if materialized:
        platform.materialize()
    answer = api.stats(user, include="by_game").json()
    assert answer["total_games_played"] == 4
    assert (answer["total_wins"], answer["total_losses"], answer["win_rate"]) == (1, 3, 0.25)
    assert (answer["bet_amount"], answer["payout_amount"]) == (40, 20)
    assert answer["by_game"] == [
        {
            "game_type": "slot",
            "played": 4,
            "wins": 1,
            "losses": 3,
            "draws": 0,
            "no_outcome": 0,
            "bet_amount": 40,
            "payout_amount": 20,
        }
    ]


def test_a_round_that_is_voided_after_it_was_materialized_is_taken_out_again(
    api: Client, platform: Platform, new_user: NewUser
) -> None:
    user = new_user()
    platform.store([spin(user, "2026-11-19T23:59:59.999Z", "voided", payout=25)])
    platform.materialize()
    assert api.stats(user).json()["total_wins"] == 1
    platform.store([spin(user, "2026-11-21T00:00:00Z", "voided", state="voided")])
    answer = api.stats(user, include="by_game").json()
    assert answer["total_games_played"] == answer["total_wins"] == answer["payout_amount"] == 0
    assert answer["by_game"] == []
    assert answer["lifetime_active_days"] == 2, "both days saw an action"
    past = api.stats(user, as_of="2026-11-19").json()
    assert past["total_games_played"] == 0, "a past date uses what is known now"


def test_daily_logins_on_two_days_count_two_under_both_definitions(
    api: Client, platform: Platform, new_user: NewUser
) -> None:
    user = new_user()
    platform.store(
        [
            action(user, "DAILY_LOGIN", "2026-11-21T23:59:59.999Z"),
            action(user, "DAILY_LOGIN", "2026-11-22T00:00:00.000Z"),
            action(user, "LOGIN_FAILED", "2026-11-20T00:00:00.000Z"),
        ]
    )
    for definition in ("all_actions", "daily_login"):
        answer = api.stats(user, definition=definition).json()
        assert answer["meta"]["active_day_definition"] == definition
        assert answer["last_7d_active_days"] == answer["lifetime_active_days"] == 2
        assert answer["current_streak_days"] == 2


def test_windows_are_closed_and_hold_exactly_their_days(
    api: Client, platform: Platform, new_user: NewUser
) -> None:
    user = new_user()
    ages = (0, 6, 7, 29, 30, 89, 90)
    days = [NOON.date() - timedelta(days=age) for age in ages]
    platform.store([action(user, "LOGIN", f"{day}T00:00:00Z") for day in days])
    answer = api.stats(user).json()
    assert answer["last_7d_active_days"] == 2
    assert answer["last_30d_active_days"] == 4
    assert answer["last_90d_active_days"] == 6
    assert answer["lifetime_active_days"] == 7
    assert answer["first_active_date"] == str(days[-1])
    assert answer["last_active_date"] == str(days[0])
    assert api.stats(user, definition="daily_login").json()["lifetime_active_days"] == 0


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("0001-01-01", (0, 0)),
        ("1969-12-31", (0, 0)),
        ("1970-01-01", (0, 0)),
        ("2014-12-31", (0, 0)),
        ("2024-02-28", (0, 0)),
        ("2024-02-29", (1, 1)),
        ("2024-03-06", (1, 1)),
        ("2024-03-07", (1, 0)),
        ("2026-11-22", (1, 0)),
    ],
)
def test_any_date_until_today_has_an_answer(
    api: Client, platform: Platform, new_user: NewUser, as_of: str, expected: tuple[int, int]
) -> None:
    user = new_user()
    platform.store([action(user, "LOGIN", "2024-02-29T12:00:00Z")])
    response = api.stats(user, as_of=as_of)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["lifetime_active_days"], answer["last_7d_active_days"]) == expected
    assert answer["meta"]["as_of"] == answer["meta"]["windows"]["last_7d"]["to"] == as_of


def test_today_begins_at_midnight_in_utc(api: Client, clock: SetClock, new_user: NewUser) -> None:
    user = new_user()
    clock.now = datetime(2026, 11, 22, 23, 59, 59, 999_000, tzinfo=UTC)
    assert api.stats(user, as_of="2026-11-23").status_code == 422
    assert api.stats(user).json()["meta"]["as_of"] == "2026-11-22"
    clock.now = datetime(2026, 11, 23, tzinfo=UTC)
    assert api.stats(user, as_of="2026-11-23").status_code == 200
    assert api.stats(user).json()["meta"]["as_of"] == "2026-11-23"


def test_the_platform_is_ready_and_tells_its_age(api: Client, platform: Platform) -> None:
    ready = api.get("/readyz")
    assert ready.status_code == 200, ready.text
    assert ready.json()["checks"] == {"warehouse": "ok", "marts": "ok", "keys": "ok"}


def test_freshness_is_in_every_answer(api: Client, platform: Platform, new_user: NewUser) -> None:
    before = datetime.now(UTC)
    user = new_user()
    platform.store([action(user, "LOGIN", "2026-11-22T12:00:00Z")])
    meta = api.stats(user).json()["meta"]
    watermark = datetime.fromisoformat(meta["watermark"])
    assert before - timedelta(milliseconds=1) <= watermark <= datetime.now(UTC)
    assert meta["lag_seconds"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", meta["watermark"])


def test_callers_at_once_share_queries_and_everyone_gets_their_own_numbers(
    platform: Platform, clock: SetClock, new_user: NewUser
) -> None:
    users = [new_user() for _ in range(200)]
    platform.store(
        [
            spin(user, "2026-11-22T09:00:00Z", f"{user}-{nth}", bet=user)
            for user in users
            for nth in range(user % 3)
        ]
    )
    metrics_port = free_port()
    settings = platform.settings.model_copy(
        update={"api_metrics_port": metrics_port, "api_read_ahead": 0}
    )
    with serving(settings, clock) as api:
        headers = {user: api.as_user(user) for user in users}

        def ask(user: int) -> dict:
            answer: dict = api.get("/api/users/stats", headers=headers[user]).json()
            return answer

        with ThreadPoolExecutor(50) as pool:
            answers = dict(zip(users, pool.map(ask, users), strict=True))
        metrics = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics").text
    for user, answer in answers.items():
        assert answer["user_id"] == user
        assert answer["total_games_played"] == user % 3
        assert answer["bet_amount"] == user * (user % 3)
    found = dict(re.findall(r"tally_stats_batch_users_(count|sum) (\S+)", metrics))
    assert float(found["sum"]) == 200
    assert float(found["count"]) < 60, "at least three or so to a query"


def test_a_batch_of_the_largest_size_with_the_largest_ids_is_one_question(
    platform: Platform,
) -> None:
    """Its parameters are longer than a URL may be."""

    async def ask() -> int:
        warehouse = Warehouse(platform.settings, timeout_seconds=30)
        arrivals = Arrivals(warehouse, platform.settings.actions_topic)
        repository = StatsRepository(warehouse, arrivals, StatsMetrics(CollectorRegistry()))
        readings = await repository._fetch(
            (Question(date(2026, 11, 22), "all_actions"), True),
            [2**53 - nth for nth in range(1, 501)],
        )
        await repository.aclose()
        await warehouse.aclose()
        return len(readings)

    assert asyncio.run(ask()) == 500


def test_who_has_touched_days_is_known_from_following_the_ledger_and_else_asked(
    platform: Platform, new_user: NewUser
) -> None:
    materialized, both, only_touched, nothing = users = [new_user() for _ in range(4)]
    platform.store(spin(user, "2026-11-20T10:00:00Z", "old") for user in (materialized, both))
    platform.materialize()

    async def ask() -> None:
        warehouse = Recording(platform.settings, timeout_seconds=30)
        arrivals = Arrivals(warehouse, platform.settings.actions_topic)
        arrivals.want(120)
        following = asyncio.create_task(arrivals.follow())
        repository = StatsRepository(warehouse, arrivals, StatsMetrics(CollectorRegistry()))

        async def played(*, newest: bool) -> tuple[dict[int, int], bool]:
            """What was read, and whether the warehouse was asked for who has touched days."""
            warehouse.asked.clear()
            question = Question(date(2026, 11, 22), "all_actions", by_game=True)
            readings = await asyncio.gather(
                *(repository.read(user, question, newest=newest) for user in users)
            )
            numbers = {
                user: reading.row["total_games_played"] if reading.row else 0
                for user, reading in zip(users, readings, strict=True)
            }
            return numbers, _TOUCHED_USERS in warehouse.asked

        async def unasked() -> dict[int, int]:
            # The ledger has to be looked at after the state of the marts was read.
            async with asyncio.timeout(60):
                while True:
                    numbers, was_asked = await played(newest=False)
                    if not was_asked:
                        return numbers
                    await asyncio.sleep(0.05)

        right = {materialized: 1, both: 1, only_touched: 0, nothing: 0}
        assert await played(newest=False) == (right, True), "nothing was followed yet"
        assert await unasked() == right
        new = [spin(user, "2026-11-21T10:00:00Z", "new") for user in (both, only_touched)]
        await asyncio.to_thread(platform.store, new)
        right |= {both: 2, only_touched: 1}
        assert await played(newest=True) == (right, True)
        last = ConsistencyToken("test", {0: platform.next_offset - 1})
        assert await arrivals.wait_for(last, 30)
        assert (await played(newest=False))[0] == right
        assert await unasked() == right
        following.cancel()
        await repository.aclose()
        await warehouse.aclose()

    asyncio.run(ask())


class Recording(Warehouse):
    """Keeps what it was asked."""

    def __init__(self, settings: Settings, *, timeout_seconds: float) -> None:
        super().__init__(settings, timeout_seconds=timeout_seconds)
        self.asked: list[str] = []

    async def query(self, sql: str, *arguments: Any, **more: Any) -> QueryResult:
        self.asked.append(sql)
        return await super().query(sql, *arguments, **more)


def test_more_touched_days_than_one_parameter_holds_are_all_counted(
    api: Client, platform: Platform, new_user: NewUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving_api.stats.repository._MAX_TOUCHED_DAYS", 3)
    users = [new_user() for _ in range(12)]
    platform.store(
        [
            action(user, "LOGIN", f"2026-11-{day:02}T00:00:00Z")
            for user in users
            for day in range(21, 23)
        ]
    )
    with ThreadPoolExecutor(12) as pool:
        answers = [response.json() for response in pool.map(api.stats, users)]
    assert [answer["lifetime_active_days"] for answer in answers] == [2] * 12


@pytest.mark.parametrize(
    ("mart", "query"), [("user_days", {}), ("user_game_days", {"include": "by_game"})]
)
def test_numbers_that_contradict_each_other_are_a_500_and_never_an_answer(
    api: Client,
    platform: Platform,
    new_user: NewUser,
    caplog: pytest.LogCaptureFixture,
    mart: str,
    query: dict[str, str],
) -> None:
    user = new_user()
    platform.store([spin(user, "2026-11-20T10:00:00Z", f"{user}-1", payout=20)])
    platform.materialize()
    assert api.stats(user).json()["total_wins"] == 1
    platform.client.command(
        f"insert into published.{mart} select * replace (wins + 1 as wins, version + 1 as version) "
        f"from published.{mart} final where user_id = {user}"
    )
    with caplog.at_level(logging.ERROR):
        response = api.stats(user, **query)
    assert response.status_code == 500
    assert response.json()["type"] == "urn:tally:problem:internal-error"
    assert "not the sum of its outcomes" in caplog.text
    assert response.json()["request_id"] in caplog.text
