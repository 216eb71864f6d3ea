"""The named scenarios and the stats that they must give."""

from datetime import UTC, date, datetime

import pytest

from simulator.events import encode
from simulator.scenarios import Scenario
from simulator.truth import Truth
from tally.errors import TallyError
from tally.events.parsing import Rejection, parse

DAY = date(2025, 1, 1)


def test_the_journey_of_one_day_goes_as_product_tells_it() -> None:
    events = list(Scenario("one_day_journey", DAY, user_id=42, inviter_id=1).events())
    assert [event.action_type for event in events if event.action_type != "REWARD_GRANTED"] == [
        "SIGN_UP",
        "AGE_VERIFIED",
        *["LOGIN_FAILED"] * 6,
        "LOGIN_LOCKED",
        "LOGIN",
        "WS_CONNECTED",
        "DAILY_LOGIN",
        "STREAK_CLAIM",
        "SLOT_SPIN",
        "ACHIEVEMENT_PROGRESS",
        "SLOT_SPIN",
        "SLOT_SPIN",
        "ACHIEVEMENT_PROGRESS",
        "SHOP_BUY",
        "SHOP_BUY",
        "EVENT_JOIN",
        "EVENT_CLAIM",
        "ACHIEVEMENT_PROGRESS",
        "WS_DISCONNECTED",
        "WS_CONNECTED",
        "LOGOUT",
    ]
    assert "invite_code_hash" in events[0].context
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert not any(isinstance(parse(encode(e), received_at=now), Rejection) for e in events)


def test_the_journey_of_one_day_gives_its_stats() -> None:
    truth = Truth()
    for event in Scenario("one_day_journey", DAY, user_id=42, inviter_id=1).events():
        truth.accept(event)
    answer = truth.answer(42, DAY)
    assert answer["total_games_played"] == 3
    assert (answer["total_wins"], answer["total_losses"], answer["total_draws"]) == (1, 1, 1)
    assert (answer["bet_amount"], answer["payout_amount"]) == (600, 600)
    assert answer["current_streak_days"] == 1
    assert answer["definitions"]["all_actions"] == answer["definitions"]["daily_login"]
    assert answer["definitions"]["daily_login"]["lifetime_active_days"] == 1


def test_an_unknown_scenario_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(TallyError, match="one_day_journey"):
        Scenario("two_day_journey", DAY, user_id=42, inviter_id=1)
