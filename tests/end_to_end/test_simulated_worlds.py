"""The pipeline against the ledger of truth: simulated worlds, with every fault, player by player.

Through Kafka, ingestion, ClickHouse, dbt and the API.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulator.faults import PROFILES
from tally.settings import Settings, load_settings
from tally.tokens import LocalSigner
from tally.warehouse import connect

USERS = 25
DAYS = 35
# Conflicting payloads wait for their quarantine in ingestion.
EQUAL_PROFILES = [name for name in PROFILES if name != "conflicts"]
ACTIVITY = ("all_actions", "daily_login")
LIMIT_S = 120


class Stack:
    """A running stack and the commands that a person would give it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.truth = home.with_name("truth.jsonl")
        self._next_user = 1_000_001

    @property
    def settings(self) -> Settings:
        return load_settings(self.home)

    def tally(self, *arguments: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
        command = [sys.executable, "-m", "tally", *arguments, "--home", str(self.home)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def simulate(self, *arguments: str) -> list[dict[str, Any]]:
        """Simulate to Kafka, for players of their own; returns the truth once all is readable."""
        self.tally("simulate", *arguments, "--first-user", str(self._next_user))
        self._next_user += USERS
        self.tally("wait", "--timeout", str(LIMIT_S))
        return [json.loads(line) for line in self.truth.read_bytes().splitlines()]

    def ask(self, truths: list[dict[str, Any]], definition: str) -> list[dict[str, Any]]:
        """The API's answers to the players of the truths, all at once."""
        return asyncio.run(self._ask(truths, definition))

    async def _ask(self, truths: list[dict[str, Any]], definition: str) -> list[dict[str, Any]]:
        signer = LocalSigner(self.settings)
        async with httpx.AsyncClient(
            base_url=self.settings.endpoint("api_url"), timeout=LIMIT_S
        ) as client:
            answers = await asyncio.gather(
                *(
                    client.get(
                        "/api/users/stats",
                        params={
                            "as_of": truth["as_of"],
                            "definition": definition,
                            "include": "by_game",
                        },
                        headers={"Authorization": f"Bearer {signer.sign(truth['user_id'])}"},
                    )
                    for truth in truths
                )
            )
        return [answer.raise_for_status().json() for answer in answers]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("worlds") / "home")
    made.tally("up", "--detach", "--without", "dagster")
    try:
        yield made
    finally:
        made.tally("down")


def expected(truth: dict[str, Any], definition: str) -> dict[str, Any]:
    """The truth in the shape of the answer to one definition."""
    fields = {k: v for k, v in truth.items() if k not in ("as_of", "definitions")}
    return fields | truth["definitions"][definition]


def differences(stack: Stack, truths: list[dict[str, Any]]) -> list[str]:
    """Where the API's answers and the truth differ, for both definitions of an active day."""
    found = []
    for definition in ACTIVITY:
        for truth, answer in zip(truths, stack.ask(truths, definition), strict=True):
            for name, value in expected(truth, definition).items():
                said = answer[name]
                if name == "by_game":
                    said = [game for game in said if game["played"]]
                elif name == "win_rate" and value is not None:
                    value = pytest.approx(value, abs=0.5e-4 + 1e-12)  # noqa: PLW2901
                if said != value:
                    found.append(
                        f"{truth['user_id']} {definition} {name}: {said}, in truth {value}"
                    )
    return found


def simulated(stack: Stack, profile: str, seed: int) -> list[dict[str, Any]]:
    return stack.simulate(
        *("--users", str(USERS), "--days", str(DAYS), "--seed", str(seed)),
        *("--faults", profile, "--truth", str(stack.truth)),
    )


def test_the_journey_of_one_day_gives_its_stats(stack: Stack) -> None:
    truths = stack.simulate("--scenario", "one_day_journey", "--truth", str(stack.truth))
    assert differences(stack, truths) == []
    (answer,) = stack.ask(truths, "all_actions")
    assert answer["total_games_played"] == 3
    assert (answer["total_wins"], answer["total_losses"], answer["total_draws"]) == (1, 1, 1)
    assert (answer["bet_amount"], answer["payout_amount"]) == (600, 600)
    assert (answer["lifetime_active_days"], answer["current_streak_days"]) == (1, 1)


@pytest.mark.parametrize(("seed", "profile"), enumerate(EQUAL_PROFILES, start=21))
def test_the_pipeline_gives_the_truth_of_every_player(
    stack: Stack, seed: int, profile: str
) -> None:
    truths = simulated(stack, profile, seed)
    assert len(truths) == USERS
    assert sum(truth["total_games_played"] for truth in truths) > 2_000
    assert differences(stack, truths) == []


def test_numbers_stay_true_when_the_marts_are_materialized_and_more_arrives(stack: Stack) -> None:
    before = simulated(stack, "chaos", seed=12)
    stack.tally("materialize")
    assert differences(stack, before) == []
    after = simulated(stack, "chaos", seed=13)
    assert differences(stack, after) == []
    assert differences(stack, before) == []


def test_a_past_date_is_answered_with_what_is_known_now(stack: Stack) -> None:
    truths = stack.simulate(
        *("--users", str(USERS), "--days", str(DAYS), "--seed", "14", "--faults", "late"),
        *("--as-of", "2025-01-20", "--truth", str(stack.truth)),
    )
    assert all(truth["as_of"] == "2025-01-20" for truth in truths)
    assert differences(stack, truths) == []


def test_bad_messages_are_dead_letters_by_their_reasons(stack: Stack) -> None:
    client = connect(stack.settings)
    question = "select reason, count() from raw.dead_letters final group by reason"
    try:
        before = Counter(dict(client.query(question).result_rows))
        told = stack.tally(
            *("simulate", "--users", str(USERS), "--days", str(DAYS), "--seed", "15"),
            *("--faults", "malformed", "--first-user", "5000001"),
        )
        stack.tally("wait", "--timeout", str(LIMIT_S))
        found = Counter(dict(client.query(question).result_rows)) - before
    finally:
        client.close()
    assert found.total() > 100
    for reason, count in found.items():
        assert f"{count:,} {reason}" in told
