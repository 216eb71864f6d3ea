"""From a question to a reading of somebody's statistics; for whoever shows or pushes them."""

from typing import Any

from serving_api.parameters import consistency_token, not_in_the_future
from serving_api.state import AppState
from serving_api.stats.answers import build_answer
from serving_api.stats.cache import Entry
from serving_api.stats.reader import Status
from serving_api.stats.repository import Question
from serving_api.stats.schemas import StatsQuery, UserStats


class Asked:
    """What was read for a question, and the answer that it makes."""

    def __init__(
        self, user_id: int, query: StatsQuery, entry: Entry, question: Question, status: Status
    ) -> None:
        self.status = status
        self._entry = entry
        self._rest: tuple[Any, ...] = (user_id, query, question)

    def answer(self) -> UserStats:
        """The answer. Raises `ValidationError` for numbers that contradict each other."""
        user_id, query, question = self._rest
        return build_answer(
            user_id,
            self._entry.reading,
            query,
            question.as_of,
            question.definition,
            status=self.status,
        )

    def body(self) -> bytes:
        """The answer as JSON, rendered once a reading: whoever is told of it gets these bytes."""
        _, query, _ = self._rest
        variant = (self.status, query.include)
        body = self._entry.bodies.get(variant)
        if body is None:
            body = self.answer().model_dump_json(exclude_unset=True).encode()
            self._entry.bodies[variant] = body
        return body


async def ask_stats(
    state: AppState, user_id: int, query: StatsQuery, *, newest: bool = False
) -> Asked:
    """Read what `query` asks for, for `user_id`.

    Raises 422 for a date in the future and a token that is none, and `WarehouseUnavailableError`.
    """
    question = Question(
        not_in_the_future("as_of", query.as_of, state.clock().date()),
        query.definition or state.settings.active_day_definition,
        by_game=query.includes("by_game"),
    )
    entry, answered, status = await state.stats.read(
        user_id,
        question,
        consistency_token("after", query.after),
        newest=newest,
        # Just after midnight, while the warehouse is away, yesterday's numbers are the last.
        fallback=question.a_day_earlier() if query.as_of is None else None,
    )
    return Asked(user_id, query, entry, answered, status)
