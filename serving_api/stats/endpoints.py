"""`GET /api/users/stats`."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from serving_api.caching import conditional, wants_the_newest
from serving_api.parameters import consistency_token, not_in_the_future, refuse_repeated_parameters
from serving_api.problems import problem_responses
from serving_api.security.gate import Player
from serving_api.state import state_of
from serving_api.stats.answers import build_answer
from serving_api.stats.repository import Question
from serving_api.stats.schemas import StatsQuery, UserStats
from serving_api.warehouse import answering

router = APIRouter(tags=["stats"])


@router.get(
    "/api/users/stats",
    summary="The caller's own statistics",
    response_model=UserStats,
    responses={
        **problem_responses(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
        304: {"description": "The answer is still the one of `If-None-Match`."},
    },
)
async def user_stats(
    request: Request,
    user_id: Player,
    query: Annotated[StatsQuery, Query()],
) -> Response:
    """The user is the token's `sub`; there is no user parameter.

    Every count is exact and includes every event stored until `meta.watermark`. Days are UTC dates.
    A user without events gets zeros and null dates.
    """
    refuse_repeated_parameters(request)
    state = state_of(request)
    today = state.clock().date()
    question = Question(
        not_in_the_future("as_of", query.as_of, today),
        query.definition or state.settings.active_day_definition,
        by_game=query.includes("by_game"),
    )
    async with answering(request):
        entry, answered, status = await state.stats.read(
            user_id,
            question,
            consistency_token("after", query.after),
            newest=wants_the_newest(request),
            # Just after midnight, while the warehouse is away, yesterday's numbers are the last.
            fallback=question.a_day_earlier() if query.as_of is None else None,
        )
    variant = (status, query.include)
    body = entry.bodies.get(variant)
    if body is None:
        answer = build_answer(
            user_id, entry.reading, query, answered.as_of, answered.definition, status=status
        )
        body = entry.bodies[variant] = answer.model_dump_json(exclude_unset=True).encode()
    return conditional(
        request,
        body,
        # An answer that is not the latest must not outlive the moment.
        max_age=state.settings.api_cache_seconds if status == "fresh" else 0,
    )
