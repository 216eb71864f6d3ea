"""The games' returns: configured as exact fractions, and what play converges to."""

from math import sqrt
from random import Random

import pytest

from simulator.games import CRASH, STAKE_UNIT, TABLES, GameType, PayTable, result
from simulator.players import HABITS

ROUNDS = 1_000_000
Z_99_9 = 3.2905  # two-sided


def all_tables() -> list[tuple[str, PayTable]]:
    return [
        (f"{game}-{number}", table)
        for game, tables in TABLES.items()
        for number, table in enumerate(tables)
    ]


@pytest.mark.parametrize(("name", "table"), all_tables())
def test_every_game_returns_between_94_and_97_percent(name: str, table: PayTable) -> None:
    assert 0.94 <= table.rtp <= 0.97


@pytest.mark.parametrize("game", TABLES)
def test_a_million_rounds_return_what_is_configured(game: GameType) -> None:
    rng = Random(20250101)
    tables = TABLES[game]
    paid = expected = variance = 0.0
    for table in tables:
        rounds = ROUNDS // len(tables)
        paid += sum(table.draw(rng.random) for _ in range(rounds)) / 100
        expected += float(table.rtp) * rounds
        variance += float(table.variance) * rounds
    assert abs(paid - expected) <= Z_99_9 * sqrt(variance)


def test_every_stake_pays_out_whole_minor_units() -> None:
    assert all(stake % STAKE_UNIT == 0 for habit in HABITS for stake in habit.stakes)


def test_a_crash_target_is_reached_as_often_as_its_return_allows() -> None:
    rng = Random(7)
    reached = sum(CRASH[200].draw(rng.random) == 200 for _ in range(100_000))
    assert abs(reached / 100_000 - 0.48) < 0.006


@pytest.mark.parametrize(
    ("game", "bet", "payout", "expected"),
    [
        ("slot", 100, 200, "win"),
        ("slot", 100, 50, "loss"),
        ("rps", 100, 100, "draw"),
        ("slot", 0, 100, "win"),
        ("slot", 0, 0, "loss"),
        ("gacha", 100, 3_000, "none"),
    ],
)
def test_results_are_declared_by_the_definition(
    game: GameType, bet: int, payout: int, expected: str
) -> None:
    assert result(game, bet, payout) == expected
