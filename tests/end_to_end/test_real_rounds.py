"""The main job on 50,000 real rounds of 4,147 players: proved, and the same however they arrive."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stacks import Stack, running_stack

PLAYERS = range(1, 4148)
SOME_PLAYERS = range(1, 401)
DATES = ("2021-11-30", "2021-12-10")

# Replay, materialization and proof of 50,000 rounds; the first test does it for all.
pytestmark = pytest.mark.timeout(600)

Answers = dict[tuple[str, int], dict[str, Any]]


def answers(stack: Stack, players: Iterable[int] = PLAYERS) -> Answers:
    """The players' answers apart from `meta`, which tells of the reading, not of the player."""
    return {
        (as_of, player): {name: value for name, value in answer.items() if name != "meta"}
        for as_of in DATES
        for player, answer in stack.stats(players, as_of=as_of, include="by_game").items()
    }


def replay(stack: Stack, rounds: Path, *options: str) -> Answers:
    """Replay the file, prove the numbers, and give every player's answers.

    A few players are asked before any mart has seen the rounds of this replay as well: their
    answers must be the same as after.
    """
    stack.tally("replay", str(rounds), "--format", "bustabit", *options)
    stack.tally("wait")
    before = answers(stack, SOME_PLAYERS)
    stack.tally("materialize")
    stack.tally("verify", *(word for as_of in DATES for word in ("--as-of", as_of)))
    after = answers(stack)
    assert before == {key: after[key] for key in before}
    return after


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("rounds") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def first_answers(stack: Stack, real_rounds: Path) -> Answers:
    return replay(stack, real_rounds)


def test_every_round_is_counted_once(first_answers: Answers) -> None:
    games = [first_answers[DATES[-1], player]["total_games_played"] for player in PLAYERS]
    assert sum(games) == 50_000
    assert min(games) > 0


@pytest.mark.parametrize(
    "options", [(), ("--shuffle", "7", "--duplicate", "0.2")], ids=["again", "shuffled_20%_twice"]
)
def test_replaying_the_file_changes_no_answer(
    stack: Stack, first_answers: Answers, real_rounds: Path, options: tuple[str, ...]
) -> None:
    assert replay(stack, real_rounds, *options) == first_answers


def test_the_reverse_order_into_an_empty_home_gives_the_same_answers(
    first_answers: Answers, real_rounds: Path, tmp_path: Path
) -> None:
    with running_stack(tmp_path / "home") as other:
        assert replay(other, real_rounds, "--reverse") == first_answers
