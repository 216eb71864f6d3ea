"""Asks the API every question for every user and compares each field of each answer."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import aiohttp

from tally.errors import TallyError
from tally.settings import ActiveDayDefinition
from tally.verify.proof import Proof

# What waits in the API is answered by one query, which costs about the same for 32 users and for
# 500: more at once is less work for the warehouse.
IN_FLIGHT = 256
TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and the answer it must get."""

    as_of: date
    definition: ActiveDayDefinition
    expected: dict[str, Any]

    @property
    def key(self) -> dict[str, Any]:
        """What tells the question from every other."""
        return {
            "user_id": self.expected["user_id"],
            "as_of": self.as_of,
            "definition": self.definition,
        }


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

        unanswered: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(IN_FLIGHT):
                    workers.create_task(work())
        except* (aiohttp.ClientError, TimeoutError) as errors:
            unanswered.extend(errors.exceptions)
    # Raised out here: Python 3.11.2 wraps what is raised in there in a group of its own.
    if unanswered:
        first = unanswered[0]
        raise TallyError(
            f"The API at {api_url} stopped answering: {type(first).__name__}: {first}.",
            hint="`tally status` and `tally logs` tell more about the local stack.",
        ) from first


async def _ask(
    session: aiohttp.ClientSession,
    token_of: Callable[[int], str],
    question: Question,
    proof: Proof,
) -> None:
    user_id = question.expected["user_id"]
    query = {"as_of": question.as_of.isoformat(), "definition": question.definition}
    if "by_game" in question.expected:
        query["include"] = "by_game"
    async with session.get(
        "/api/users/stats",
        params=query,
        headers={
            "Authorization": f"Bearer {token_of(user_id)}",
            "Cache-Control": "no-cache",  # what is proven is the numbers, not the cache
        },
    ) as response:
        body = await response.read()
        status = response.status
    expected = _flat(question.expected)
    proof.compared("API", list(expected))
    if status != 200:
        proof.differs("API", "status", question.key, 200, _refusal(status, body))
        return
    answer = json.loads(body)
    meta = answer.pop("meta")
    found = _flat(answer)
    expected["meta.as_of"] = question.as_of.isoformat()
    expected["meta.active_day_definition"] = question.definition
    found["meta.as_of"] = meta["as_of"]
    found["meta.active_day_definition"] = meta["active_day_definition"]
    for metric in sorted(expected.keys() | found.keys()):
        there, here = expected.get(metric, "absent"), found.get(metric, "absent")
        if there != here:
            proof.differs("API", metric, question.key, there, here)


def _flat(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer's numbers by name, those of a game as `slot.wins`."""
    flat = {name: value for name, value in answer.items() if name != "by_game"}
    for game in answer.get("by_game", ()):
        for name, value in game.items():
            if name != "game_type":
                flat[f"{game['game_type']}.{name}"] = value
    return flat


def _refusal(status: int, body: bytes) -> str:
    try:
        problem = json.loads(body)
        return f"{status} {problem['type']} (request {problem['request_id']})"
    except (ValueError, KeyError, TypeError):
        return str(status)
