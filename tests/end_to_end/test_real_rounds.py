"""The main job on 50,000 real rounds of 4,147 players: proved, and the same however they arrive."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stacks import Stack, running_stack

PLAYERS = range(1, 4148)
DATES = ("2021-11-30", "2021-12-10")

Answers = dict[tuple[str, int], dict[str, Any]]


def answers(stack: Stack) -> Answers:
    """Every player's answers apart from `meta`, which tells of the reading, not of the player."""
    return {
        (as_of, player): {name: value for name, value in answer.items() if name != "meta"}
        for as_of in DATES
        for player, answer in stack.stats(PLAYERS, as_of=as_of, include="by_game").items()
    }


def prove(stack: Stack) -> None:
    """Bring the marts up to date and compare with another engine; fails on any difference."""
    stack.tally("materialize")
    stack.tally("verify", *(word for as_of in DATES for word in ("--as-of", as_of)))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("rounds") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def first_answers(stack: Stack, real_rounds: Path) -> Answers:
    """The answers after one replay, before any mart has seen a round."""
    stack.tally("replay", str(real_rounds), "--format", "bustabit")
    stack.tally("wait")
    return answers(stack)


def test_the_numbers_are_proved(stack: Stack, first_answers: Answers) -> None:
    last = {player: first_answers[DATES[-1], player] for player in PLAYERS}
    assert sum(answer["total_games_played"] for answer in last.values()) == 50_000
    prove(stack)


def test_materializing_changes_no_answer(stack: Stack, first_answers: Answers) -> None:
    prove(stack)
    assert answers(stack) == first_answers


@pytest.mark.parametrize(
    "options", [(), ("--shuffle", "7", "--duplicate", "0.2")], ids=["again", "shuffled_20%_twice"]
)
def test_replaying_the_file_changes_no_answer(
    stack: Stack, first_answers: Answers, real_rounds: Path, options: tuple[str, ...]
) -> None:
    stack.tally("replay", str(real_rounds), "--format", "bustabit", *options)
    stack.tally("wait")
    assert answers(stack) == first_answers
    prove(stack)
    assert answers(stack) == first_answers


def test_the_reverse_order_into_an_empty_home_gives_the_same_answers(
    first_answers: Answers, real_rounds: Path, tmp_path: Path
) -> None:
    with running_stack(tmp_path / "home") as other:
        other.tally("replay", str(real_rounds), "--format", "bustabit", "--reverse")
        other.tally("wait")
        prove(other)
        assert answers(other) == first_answers
