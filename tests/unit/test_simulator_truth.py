"""The ledger of truth against numbers worked out by hand, and in any order of events."""

from datetime import UTC, date, datetime
from itertools import takewhile
from random import Random
from typing import Any

import pytest

from simulator.events import Event, milliseconds
from simulator.truth import Truth
from simulator.world import World

USER = 7


def event(
    action_type: str, at: str, context: dict[str, Any] | None = None, event_id: str = "a"
) -> Event:
    moment = milliseconds(datetime.fromisoformat(at))
    return Event(event_id, USER, action_type, moment, "s", "test", context or {})


def settled(
    round_id: str, at: str, bet: int, payout: int, action_type: str = "SLOT_SPIN", **more: Any
) -> Event:
    context = {"round_id": round_id, "state": "settled", "bet": bet, "payout": payout} | more
    return event(action_type, at, context)


def state_of(round_id: str, at: str, state: str) -> Event:
    return event("CRASH_ROUND", at, {"round_id": round_id, "state": state, "bet": 100})


def answer(*events: Event, as_of: str = "2025-03-10") -> dict[str, Any]:
    truth = Truth()
    for one in events:
        truth.accept(one)
    return truth.answer(USER, date.fromisoformat(as_of))


def test_a_user_without_events_has_zeros_and_null_dates() -> None:
    found = answer()
    assert found["total_games_played"] == 0
    assert found["win_rate"] is None
    assert found["by_game"] == []
    assert found["definitions"]["all_actions"] == {
        "last_7d_active_days": 0,
        "last_30d_active_days": 0,
        "last_90d_active_days": 0,
        "lifetime_active_days": 0,
        "first_active_date": None,
        "last_active_date": None,
    }


def test_midnight_in_utc_and_nothing_else_splits_days() -> None:
    found = answer(
        event("LOGIN", "2025-03-09T23:59:59.999Z"),
        event("LOGIN", "2025-03-10T00:00:00.000Z"),
        event("LOGOUT", "2025-03-10T00:00:00.000+09:00"),
    )
    assert found["definitions"]["all_actions"]["lifetime_active_days"] == 2


def test_windows_are_closed_and_end_with_the_date() -> None:
    found = answer(
        *(event("LOGIN", f"{day}T12:00:00Z") for day in ("2025-03-10", "2025-03-04", "2025-03-03")),
        *(event("LOGIN", f"{day}T12:00:00Z") for day in ("2025-02-09", "2025-02-08")),
        *(event("LOGIN", f"{day}T12:00:00Z") for day in ("2024-12-11", "2024-12-10")),
        event("LOGIN", "2025-03-11T00:00:00Z"),
    )
    assert found["definitions"]["all_actions"] == {
        "last_7d_active_days": 2,
        "last_30d_active_days": 4,
        "last_90d_active_days": 6,
        "lifetime_active_days": 7,
        "first_active_date": "2024-12-10",
        "last_active_date": "2025-03-10",
    }


def test_actions_of_the_system_make_no_active_day_and_only_daily_login_one_of_its_own() -> None:
    found = answer(
        event("REWARD_GRANTED", "2025-03-08T12:00:00Z"),
        event("LOGIN_FAILED", "2025-03-07T12:00:00Z"),
        event("LOGIN", "2025-03-09T12:00:00Z"),
        event("DAILY_LOGIN", "2025-03-10T12:00:00Z"),
        event("A_NEW_ACTION", "2025-03-06T12:00:00Z"),
    )
    assert found["definitions"]["all_actions"]["lifetime_active_days"] == 3
    assert found["definitions"]["daily_login"]["lifetime_active_days"] == 1


@pytest.mark.parametrize(
    ("as_of", "streak"),
    [("2025-03-10", 3), ("2025-03-11", 3), ("2025-03-12", 0), ("2025-03-09", 2), ("2025-03-07", 1)],
)
def test_a_streak_may_end_the_day_before(as_of: str, streak: int) -> None:
    days = ("2025-03-06", "2025-03-08", "2025-03-09", "2025-03-10")
    logins = [event("DAILY_LOGIN", f"{day}T01:00:00Z") for day in days]
    assert answer(*logins, as_of=as_of)["current_streak_days"] == streak


def test_outcomes_follow_the_net_and_gacha_has_none() -> None:
    at = "2025-03-10T12:00:00Z"
    found = answer(
        settled("won", at, 100, 200),
        settled("partly", at, 100, 50),
        settled("even", at, 100, 100),
        settled("free-won", at, 0, 10),
        settled("free-lost", at, 0, 0),
        settled("pulls", at, 1_000, 5_000, "GACHA_SPIN", units=10),
        settled("demo", at, 100, 900, is_demo=True),
    )
    assert found["total_games_played"] == 6
    assert (found["total_wins"], found["total_losses"]) == (2, 2)
    assert (found["total_draws"], found["total_no_outcome"]) == (1, 1)
    assert found["win_rate"] == 0.5
    assert (found["bet_amount"], found["payout_amount"]) == (1_300, 5_360)
    assert found["by_game"] == [
        {
            "game_type": "gacha",
            "played": 1,
            "wins": 0,
            "losses": 0,
            "draws": 0,
            "no_outcome": 1,
            "bet_amount": 1_000,
            "payout_amount": 5_000,
        },
        {
            "game_type": "slot",
            "played": 5,
            "wins": 2,
            "losses": 2,
            "draws": 1,
            "no_outcome": 0,
            "bet_amount": 300,
            "payout_amount": 360,
        },
    ]


def test_only_settled_rounds_are_played_and_a_void_takes_one_back_for_every_date() -> None:
    crash = settled("c", "2025-03-05T12:00:00Z", 100, 300, "CRASH_ROUND")
    assert answer(crash)["total_games_played"] == 1
    assert answer(crash, state_of("c", "2025-03-20T12:00:00Z", "voided"))["bet_amount"] == 0
    assert answer(state_of("d", "2025-03-05T12:00:00Z", "started"))["total_games_played"] == 0
    cancelled = state_of("d", "2025-03-05T12:00:01Z", "cancelled")
    assert answer(cancelled, state_of("d", "2025-03-05T12:00:00Z", "started"))["bet_amount"] == 0


def test_a_round_belongs_to_the_day_of_its_settlement() -> None:
    events = (
        state_of("m", "2025-03-09T23:59:59Z", "started"),
        settled("m", "2025-03-10T00:00:05Z", 100, 0, "CRASH_ROUND"),
    )
    assert answer(*events, as_of="2025-03-09")["total_games_played"] == 0
    assert answer(*events)["total_games_played"] == 1
    assert answer(*events)["definitions"]["all_actions"]["lifetime_active_days"] == 2


def test_at_one_instant_the_larger_event_id_is_the_latest() -> None:
    at = "2025-03-10T12:00:00Z"
    win = settled("r", at, 100, 200, "CRASH_ROUND")
    void = state_of("r", at, "voided")
    void.event_id = "b"
    assert answer(void, win)["total_games_played"] == 0
    void.event_id = "0"
    assert answer(void, win)["total_games_played"] == 1


def test_order_and_repetition_change_no_answer() -> None:
    world = World(11, users=20, days=20, start=date(2025, 1, 1))
    events = list(takewhile(lambda one: one.at < world.ends, world.events()))
    shuffled = events + Random(1).sample(events, len(events) // 3)
    Random(2).shuffle(shuffled)
    straight, crooked = Truth(), Truth()
    for one in events:
        straight.accept(one)
    for one in shuffled:
        crooked.accept(one)
    as_of = datetime(2025, 1, 15, tzinfo=UTC).date()
    answers = list(straight.answers(world.user_ids, as_of))
    assert answers == list(crooked.answers(world.user_ids, as_of))
    assert sum(found["total_games_played"] for found in answers) > 500
