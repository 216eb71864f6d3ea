"""From a request to a reading of somebody's statistics; for the routes that show them."""

from typing import Any

from fastapi import Request

from serving_api.caching import wants_the_newest
from serving_api.parameters import consistency_token, not_in_the_future
from serving_api.state import state_of
from serving_api.stats.answers import build_answer
from serving_api.stats.cache import Entry
from serving_api.stats.reader import Status
from serving_api.stats.repository import Question
from serving_api.stats.schemas import StatsQuery, UserStats


class Asked:
    """What was read for a request, and the answer that it makes."""

    def __init__(
        self, user_id: int, query: StatsQuery, entry: Entry, question: Question, status: Status
    ) -> None:
        self.entry = entry
        self.status = status
        self._rest: tuple[Any, ...] = (user_id, query, question)

    def answer(self) -> UserStats:
        """The answer. Raises `ValidationError` for numbers that contradict each other."""
        user_id, query, question = self._rest
        return build_answer(
            user_id,
            self.entry.reading,
            query,
            question.as_of,
            question.definition,
            status=self.status,
        )


async def ask_stats(request: Request, user_id: int, query: StatsQuery) -> Asked:
    """Read what `query` asks for, for `user_id`.

    Raises 422 for a date in the future and a token that is none, and `WarehouseUnavailableError`.
    """
    state = state_of(request)
    question = Question(
        not_in_the_future("as_of", query.as_of, state.clock().date()),
        query.definition or state.settings.active_day_definition,
        by_game=query.includes("by_game"),
    )
    entry, answered, status = await state.stats.read(
        user_id,
        question,
        consistency_token("after", query.after),
        newest=wants_the_newest(request),
        # Just after midnight, while the warehouse is away, yesterday's numbers are the last.
        fallback=question.a_day_earlier() if query.as_of is None else None,
    )
    return Asked(user_id, query, entry, answered, status)
