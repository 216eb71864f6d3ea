"""The pipeline against the ledger of truth: simulated worlds, with every fault, player by player.

Through Kafka, ingestion, ClickHouse, dbt and the API.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from simulator.faults import PROFILES
from tally.warehouse import connect
from tests.stacks import Stack, running_stack

Truth = dict[str, Any]

USERS = 25
DAYS = 35
DEFINITIONS = ("all_actions", "daily_login")

# Each world has players of its own, as all of them share one stack.
_first_users = count(1_000_001, USERS)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("worlds") / "home") as running:
        yield running


def simulate(stack: Stack, *arguments: str) -> list[Truth]:
    """Simulate to Kafka; the truth about every player, once all is readable."""
    truth = stack.home.with_name("truth.jsonl")
    first = str(next(_first_users))
    stack.tally("simulate", *arguments, "--first-user", first, "--truth", str(truth))
    stack.tally("wait")
    return [json.loads(line) for line in truth.read_bytes().splitlines()]


def simulate_world(stack: Stack, seed: int, profile: str, *arguments: str) -> list[Truth]:
    world = ("--users", str(USERS), "--days", str(DAYS), "--seed", str(seed))
    return simulate(stack, *world, "--faults", profile, *arguments)


def ask(stack: Stack, truths: list[Truth], definition: str) -> dict[int, dict[str, Any]]:
    """The API's answers to the players of the truths, all at once."""
    (as_of,) = {truth["as_of"] for truth in truths}
    users = [truth["user_id"] for truth in truths]
    return stack.stats(users, as_of=as_of, definition=definition, include="by_game")


def expected(truth: Truth, definition: str) -> dict[str, Any]:
    """The truth in the shape of the answer to one definition."""
    fields = {name: value for name, value in truth.items() if name not in ("as_of", "definitions")}
    if fields["win_rate"] is not None:
        fields["win_rate"] = pytest.approx(fields["win_rate"], abs=0.5e-4 + 1e-12)
    return fields | truth["definitions"][definition]


def differences(stack: Stack, truths: list[Truth]) -> list[str]:
    """Where the API's answers and the truth differ, for both definitions of an active day."""
    found = []
    for definition in DEFINITIONS:
        answers = ask(stack, truths, definition)
        for truth in truths:
            answer = answers[truth["user_id"]]
            for name, value in expected(truth, definition).items():
                if answer[name] != value:
                    found.append(f"{truth['user_id']} {name}: {answer[name]}, in truth {value}")
    return found


def test_the_journey_of_one_day_gives_its_stats(stack: Stack) -> None:
    truths = simulate(stack, "--scenario", "one_day_journey")
    assert differences(stack, truths) == []
    (answer,) = ask(stack, truths, "all_actions").values()
    assert answer["total_games_played"] == 3
    assert (answer["total_wins"], answer["total_losses"], answer["total_draws"]) == (1, 1, 1)
    assert (answer["bet_amount"], answer["payout_amount"]) == (600, 600)
    assert (answer["lifetime_active_days"], answer["current_streak_days"]) == (1, 1)


@pytest.mark.parametrize(("seed", "profile"), enumerate(PROFILES, start=21))
def test_the_pipeline_gives_the_truth_of_every_player(
    stack: Stack, seed: int, profile: str
) -> None:
    truths = simulate_world(stack, seed, profile)
    assert len(truths) == USERS
    assert sum(truth["total_games_played"] for truth in truths) > 2_000
    assert differences(stack, truths) == []


def test_numbers_stay_true_when_the_marts_are_materialized_and_more_arrives(stack: Stack) -> None:
    before = simulate_world(stack, 12, "chaos")
    stack.tally("materialize")
    assert differences(stack, before) == []
    after = simulate_world(stack, 13, "chaos")
    assert differences(stack, after) == []
    assert differences(stack, before) == []


def test_a_past_date_is_answered_with_what_is_known_now(stack: Stack) -> None:
    truths = simulate_world(stack, 14, "late", "--as-of", "2025-01-20")
    assert all(truth["as_of"] == "2025-01-20" for truth in truths)
    assert differences(stack, truths) == []


def test_bad_messages_are_dead_letters_by_their_reasons(stack: Stack) -> None:
    client = connect(stack.settings)
    question = "select reason, count() from raw.dead_letters final group by reason"
    try:
        before = Counter(dict(client.query(question).result_rows))
        world = ("--users", str(USERS), "--days", str(DAYS), "--first-user", "5000001")
        told = stack.tally("simulate", *world, "--faults", "malformed")
        stack.tally("wait")
        found = Counter(dict(client.query(question).result_rows)) - before
    finally:
        client.close()
    assert found.total() > 100
    for reason, number in found.items():
        assert f"{number:,} {reason}" in told
