"""The rules of an answer that need no server: rounding, windows, identities, the contract."""

import json
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving_api.app import create_app
from serving_api.openapi import COMMITTED, render
from serving_api.stats.answers import build_answer, win_rate, window
from serving_api.stats.repository import Freshness, MartsState, Reading
from serving_api.stats.schemas import StatsQuery, UserStats
from tally.settings import Settings

COUNTS = st.integers(0, 2**40)
GAME = {
    "game_type": "slot",
    "played": 4,
    "wins": 1,
    "losses": 1,
    "draws": 1,
    "no_outcome": 1,
    "bet_amount": 10,
    "payout_amount": 2**60,
}
ROW: dict[str, Any] = {
    "total_games_played": 4,
    "total_wins": 1,
    "total_losses": 1,
    "total_draws": 1,
    "total_no_outcome": 1,
    "bet_amount": 10,
    "payout_amount": 2**60,
    "last_7d_active_days": 1,
    "last_30d_active_days": 2,
    "last_90d_active_days": 3,
    "lifetime_active_days": 4,
    "current_streak_days": 1,
    "first_active_date": date(2020, 2, 29),
    "last_active_date": date(2026, 11, 22),
    "by_game": [GAME],
}


def answer(query: StatsQuery | None = None, **changes: Any) -> UserStats:
    freshness = Freshness(datetime(2026, 11, 22, 1, 2, 3, 450_000, tzinfo=UTC), 0.5, None)
    reading = Reading({**ROW, **changes}, MartsState([], [], freshness))
    return build_answer(7, reading, query or StatsQuery(), date(2026, 11, 22), "all_actions")


@given(COUNTS, COUNTS)
def test_the_win_rate_is_rounded_half_up_to_four_digits(wins: int, losses: int) -> None:
    rate = win_rate(wins, losses)
    if wins + losses == 0:
        assert rate is None
        return
    assert rate is not None
    ten_thousandths = Fraction(str(rate)) * 10_000
    assert ten_thousandths.denominator == 1
    error = ten_thousandths - Fraction(wins * 10_000, wins + losses)
    assert -Fraction(1, 2) < error <= Fraction(1, 2)


def test_a_tie_does_not_depend_on_how_a_float_is_stored() -> None:
    assert win_rate(1, 31) == 0.0313  # 0.03125 is a tie; rounding half to even gives 0.0312


@pytest.mark.parametrize(
    ("as_of", "days", "first"),
    [
        (date(2026, 11, 22), 30, date(2026, 10, 24)),
        (date(2024, 3, 1), 7, date(2024, 2, 24)),
        (date(2026, 1, 1), 1, date(2026, 1, 1)),
        (date.min, 90, date.min),
        (date.max, 90, date(9999, 10, 3)),
    ],
)
def test_a_window_includes_both_of_its_ends(as_of: date, days: int, first: date) -> None:
    assert (window(as_of, days).from_, window(as_of, days).to) == (first, as_of)


def test_what_was_not_asked_for_is_not_in_the_answer() -> None:
    assert answer().by_game == []
    assert "by_game" not in answer().model_dump(exclude_unset=True)
    asked = answer(StatsQuery(include="by_game")).model_dump(exclude_unset=True)
    assert asked["by_game"] == [GAME]
    assert "definitions" not in asked


def test_instants_are_in_utc_with_milliseconds() -> None:
    meta = json.loads(answer().model_dump_json())["meta"]
    assert meta["watermark"] == "2026-11-22T01:02:03.450Z"
    assert meta["materialized_at"] is None


@pytest.mark.parametrize(
    "broken",
    [
        {"last_7d_active_days": 3},
        {"last_30d_active_days": 4},
        {"last_90d_active_days": 5},
        {"lifetime_active_days": 2},
        {"last_7d_active_days": -1},
        {"total_games_played": 5},
        {"total_wins": 0},
        {"total_wins": -1, "total_losses": 3},
        {"bet_amount": -1},
        {"first_active_date": None},
        {"by_game": [{**GAME, "draws": 2}]},
    ],
)
def test_an_answer_that_contradicts_itself_is_never_made(broken: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        answer(StatsQuery(include="by_game"), **broken)


def test_every_number_says_what_it_means_and_every_day_that_it_is_utc() -> None:
    schemas = create_app(Settings()).openapi()["components"]["schemas"]
    for name, field in schemas["UserStats"]["properties"].items():
        if name not in ("user_id", "meta"):
            assert field["description"], name
        if name.endswith(("_days", "_date")):
            assert "UTC" in field["description"], name
            assert "definition" in field["description"] or "DAILY_LOGIN" in field["description"]


def test_the_committed_openapi_document_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == render(create_app(Settings())), (
        "run `make generate` and look at the difference"
    )
