"""Asks the API every question for every user and compares each field of each answer."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Any

import aiohttp

from tally.errors import TallyError
from tally.settings import ActiveDayDefinition
from tally.verify.proof import Difference, Proof

IN_FLIGHT = 64
TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and the answer it must get."""

    as_of: date
    definition: ActiveDayDefinition
    expected: dict[str, Any]

    @property
    def at(self) -> str:
        """The question in words, for a report."""
        return f"{self.as_of} {self.definition}"


async def compare_answers(
    api_url: str,
    token_of: Callable[[int], str],
    questions: Iterable[Question],
    proof: Proof,
    progress: Callable[[], None],
) -> None:
    """Ask all `questions`, `IN_FLIGHT` at a time over kept-alive connections.

    An answer other than 200 is a difference. Raises `TallyError` when the API cannot be reached.
    """
    queue: Iterator[Question] = iter(questions)
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(api_url, connector=connector, timeout=timeout) as session:

        async def work() -> None:
            # The workers share the iterator: each takes the next question when it is free.
            for question in queue:
                await _ask(session, token_of, question, proof)
                progress()

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(IN_FLIGHT):
                    workers.create_task(work())
        except* (aiohttp.ClientError, TimeoutError) as errors:
            first = next(iter(chain(errors.exceptions)))
            raise TallyError(
                f"The API at {api_url} stopped answering: {type(first).__name__}: {first}.",
                hint="`tally status` and `tally logs` tell more about the local stack.",
            ) from errors


async def _ask(
    session: aiohttp.ClientSession,
    token_of: Callable[[int], str],
    question: Question,
    proof: Proof,
) -> None:
    user_id = question.expected["user_id"]
    async with session.get(
        "/api/users/stats",
        params={
            "as_of": question.as_of.isoformat(),
            "definition": question.definition,
            "include": "by_game",
        },
        headers={"Authorization": f"Bearer {token_of(user_id)}"},
    ) as response:
        body = await response.read()
        status = response.status
    fields = list(question.expected)
    proof.compared("API", fields)
    if status != 200:
        proof.differences.append(
            Difference("API", user_id, "status", question.at, 200, _refusal(status, body))
        )
        return
    answer = json.loads(body)
    named = (answer["meta"]["as_of"], answer["meta"]["active_day_definition"])
    if named != (question.as_of.isoformat(), question.definition):
        proof.differences.append(
            Difference("API", user_id, "meta", question.at, question.at, " ".join(named))
        )
    for name in fields:
        expected, found = question.expected[name], answer.get(name, "absent")
        if expected != found:
            proof.differences.append(Difference("API", user_id, name, question.at, expected, found))


def _refusal(status: int, body: bytes) -> str:
    try:
        problem = json.loads(body)
        return f"{status} {problem['type']} (request {problem['request_id']})"
    except (ValueError, KeyError, TypeError):
        return str(status)
