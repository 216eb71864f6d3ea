"""The edge cases of the metrics that need a history: what arrives when, materialized in between.

Each case has a user of its own, two batches with a materialization after each, and asks the
relations that the API reads. The cases of one moment are dbt unit tests (*unit_tests.yml there); of
one id with two payloads tests/integration/ingest/test_ingest_conflicts.py takes care.
"""

import uuid
from collections.abc import Iterator
from datetime import date
from itertools import count
from typing import Any

import pytest

from tests.platform import Platform, action, running_platform

_STATS = """
select * from marts.user_stats_closed(
    user_ids = [{user:UInt64}], as_of = {as_of:Date}, definition = {definition:String}
)
"""
_GAMES = "select * from marts.user_games_closed(user_ids = [{user:UInt64}], as_of = {as_of:Date})"

_numbers = count(1)


class Case:
    """One user's events by batch."""

    def __init__(self) -> None:
        self.user = next(_numbers)
        self.batches: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])

    def acts(self, batch: int, action_type: str, at: str, **fields: Any) -> dict[str, Any]:
        """Something that the user does at `at`, and that arrives with `batch`."""
        event_id = str(uuid.UUID(int=next(_numbers), version=4))
        event = action(self.user, action_type, at, event_id=event_id, **fields)
        self.batches[batch].append(event)
        return event

    def spins(self, batch: int, at: str, round_id: str, state: str = "settled") -> dict[str, Any]:
        """An event of a round that wins 15 for a bet of 10."""
        return self.acts(batch, "SLOT_SPIN", at, round_id=round_id, state=state, bet=10, payout=25)


def in_one_batch(case: Case) -> None:
    event = case.acts(0, "DAILY_LOGIN", "2026-03-01T12:00:00Z")
    case.batches[0].append(event)


def in_two_batches(case: Case) -> None:
    case.batches[1].append(case.spins(0, "2026-03-01T12:00:00Z", "a"))


def in_two_months(case: Case) -> None:
    """The copy comes with what happened a month later."""
    event = case.spins(0, "2026-01-31T23:59:59.999Z", "a")
    case.spins(1, "2026-02-01T00:00:00Z", "b")
    case.batches[1].append(event)


def out_of_order(case: Case) -> None:
    case.spins(0, "2026-03-02T12:00:01Z", "a", "cancelled")
    case.spins(1, "2026-03-02T12:00:00Z", "a", "started")
    case.acts(0, "LOGIN", "2026-03-03T12:00:00Z")
    case.acts(1, "LOGIN", "2026-03-01T12:00:00Z")


def six_months_late(case: Case) -> None:
    case.acts(0, "LOGIN", "2026-03-01T12:00:00Z")
    case.spins(1, "2025-09-01T12:00:00Z", "a")


def day_already_materialized(case: Case) -> None:
    case.spins(0, "2026-03-01T12:00:00Z", "a")
    case.spins(1, "2026-03-01T13:00:00Z", "b")


def settled_then_voided(case: Case) -> None:
    case.spins(0, "2026-03-01T12:00:00Z", "a")
    case.spins(0, "2026-03-01T12:00:00Z", "b")
    case.spins(1, "2026-03-05T12:00:00Z", "a", "voided")


def spans_midnight(case: Case) -> None:
    case.spins(0, "2026-03-01T23:59:59.999Z", "a", "started")
    case.spins(1, "2026-03-02T00:00:00Z", "a")


def no_event(case: Case) -> None:
    """Nothing happens."""


def both_definitions(case: Case) -> None:
    case.acts(0, "DAILY_LOGIN", "2026-02-28T23:59:59.999Z")
    case.acts(0, "DAILY_LOGIN", "2026-03-01T00:00:00Z")
    case.acts(1, "LOGIN", "2026-03-02T00:00:00Z")
    case.acts(1, "LOGIN_FAILED", "2026-03-03T00:00:00Z")


CASES = (
    in_one_batch,
    in_two_batches,
    in_two_months,
    out_of_order,
    six_months_late,
    day_already_materialized,
    settled_then_voided,
    spans_midnight,
    no_event,
    both_definitions,
)


class World:
    """The warehouse after both batches of every case."""

    def __init__(self, platform: Platform) -> None:
        self._client = platform.client
        self._users: dict[str, int] = {}
        cases = []
        for build in CASES:
            case = Case()
            build(case)
            self._users[build.__name__] = case.user
            cases.append(case)
        for batch in (0, 1):
            platform.store(event for case in cases for event in case.batches[batch])
            platform.materialize()

    def stats(
        self, case: str, as_of: str = "2026-03-31", definition: str = "all_actions"
    ) -> dict[str, Any] | None:
        """The case's row as of a date, None where it has none."""
        asked = {"as_of": as_of, "definition": definition, "user": self._users[case]}
        rows = list(self._client.query(_STATS, asked).named_results())
        return rows[0] if rows else None

    def games(self, case: str, as_of: str = "2026-03-31") -> list[dict[str, Any]]:
        """The case's rows by game."""
        asked = {"as_of": as_of, "user": self._users[case]}
        return list(self._client.query(_GAMES, asked).named_results())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_platform(tmp_path_factory.mktemp("edges")) as platform:
        yield World(platform)


def numbers(row: dict[str, Any] | None) -> tuple[int, int, int]:
    """Lifetime active days, games played, payout."""
    assert row is not None
    return row["lifetime_active_days"], row["total_games_played"], row["payout_amount"]


def test_the_same_event_twice_in_one_batch(world: World) -> None:
    assert numbers(world.stats("in_one_batch")) == (1, 0, 0)


def test_the_same_event_twice_in_two_batches(world: World) -> None:
    assert numbers(world.stats("in_two_batches")) == (1, 1, 25)


def test_the_same_event_twice_in_two_months(world: World) -> None:
    assert numbers(world.stats("in_two_months", as_of="2026-01-31")) == (1, 1, 25)
    assert numbers(world.stats("in_two_months")) == (2, 2, 50)


def test_out_of_order(world: World) -> None:
    """The start that came after its cancel did not come later."""
    assert numbers(world.stats("out_of_order")) == (3, 0, 0)


def test_six_months_late(world: World) -> None:
    row = world.stats("six_months_late")
    assert numbers(row) == (2, 1, 25)
    assert row is not None
    assert row["first_active_date"] == date(2025, 9, 1)
    assert numbers(world.stats("six_months_late", as_of="2025-09-01")) == (1, 1, 25)


def test_an_event_for_a_day_already_materialized(world: World) -> None:
    assert numbers(world.stats("day_already_materialized")) == (1, 2, 50)


def test_a_round_settled_then_voided(world: World) -> None:
    """Taken out of the past too: `as_of` limits the days that count, not what is known."""
    assert numbers(world.stats("settled_then_voided")) == (2, 1, 25)
    assert numbers(world.stats("settled_then_voided", as_of="2026-03-01")) == (1, 1, 25)


def test_a_round_that_spans_midnight(world: World) -> None:
    """It belongs to the day of its settled event; both dates are active."""
    assert numbers(world.stats("spans_midnight", as_of="2026-03-01")) == (1, 0, 0)
    assert numbers(world.stats("spans_midnight")) == (2, 1, 25)
    assert world.games("spans_midnight", as_of="2026-03-01") == []


def test_a_user_with_no_event(world: World) -> None:
    assert world.stats("no_event") is None
    assert world.games("no_event") == []


def test_as_of_before_the_first_event(world: World) -> None:
    assert world.stats("both_definitions", as_of="2026-02-27") is None
    assert world.stats("both_definitions", as_of="2015-01-01") is None


@pytest.mark.parametrize(
    ("as_of", "definition", "lifetime", "streak"),
    [
        ("2026-02-28", "all_actions", 1, 1),
        ("2026-02-28", "daily_login", 1, 1),
        ("2026-03-01", "daily_login", 2, 2),
        ("2026-03-02", "all_actions", 3, 2),
        ("2026-03-02", "daily_login", 2, 2),
        ("2026-03-03", "all_actions", 3, 0),
        ("2026-03-03", "daily_login", 2, 0),
    ],
)
def test_as_of_in_the_past_under_both_definitions(
    world: World, as_of: str, definition: str, lifetime: int, streak: int
) -> None:
    row = world.stats("both_definitions", as_of, definition)
    assert row is not None
    assert (row["lifetime_active_days"], row["current_streak_days"]) == (lifetime, streak)


@pytest.mark.parametrize(
    ("as_of", "week", "month", "quarter"),
    [
        ("2026-03-01", 1, 1, 1),
        ("2026-03-07", 1, 1, 1),
        ("2026-03-08", 0, 1, 1),
        ("2026-03-30", 0, 1, 1),
        ("2026-03-31", 0, 0, 1),
        ("2026-05-29", 0, 0, 1),
        ("2026-05-30", 0, 0, 0),
    ],
)
def test_a_window_has_its_first_and_last_date_and_no_other(
    world: World, as_of: str, week: int, month: int, quarter: int
) -> None:
    row = world.stats("day_already_materialized", as_of)
    assert row is not None
    found = [row[f"last_{days}d_active_days"] for days in (7, 30, 90)]
    assert found == [week, month, quarter]


def test_by_game_is_of_the_rounds_that_count(world: World) -> None:
    (row,) = world.games("settled_then_voided")
    assert (row["game_type"], row["played"], row["wins"]) == ("slot", 1, 1)
    assert (row["bet_amount"], row["payout_amount"]) == (10, 25)
