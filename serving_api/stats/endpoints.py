"""`GET /api/users/stats`."""

import logging
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from serving_api.parameters import refuse_repeated_parameters
from serving_api.problems import InvalidParameter, ProblemError, invalid_request, problem_responses
from serving_api.security.bearer import player_id
from serving_api.state import state_of
from serving_api.stats.answers import build_answer
from serving_api.stats.repository import Question
from serving_api.stats.schemas import StatsQuery, UserStats
from serving_api.warehouse import WarehouseUnavailableError

logger = logging.getLogger(__name__)

router = APIRouter(tags=["stats"])


@router.get(
    "/api/users/stats",
    summary="The caller's own statistics",
    response_model=UserStats,
    response_model_exclude_unset=True,
    responses=problem_responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def user_stats(
    request: Request,
    user_id: Annotated[int, Depends(player_id)],
    query: Annotated[StatsQuery, Query()],
) -> UserStats:
    """The user is the token's `sub`; there is no user parameter.

    Every count is exact and includes every event stored until `meta.watermark`. Days are UTC dates.
    A user without events gets zeros and null dates.
    """
    refuse_repeated_parameters(request)
    state = state_of(request)
    today = state.clock().date()
    as_of = query.as_of or today
    if as_of > today:
        raise invalid_request(
            InvalidParameter(
                location="query.as_of", message=f"is in the future: today is {today} in UTC"
            )
        )
    definition = query.definition or state.settings.active_day_definition
    try:
        reading = await state.stats.read(
            user_id, Question(as_of, definition, by_game=query.includes("by_game"))
        )
    except WarehouseUnavailableError as error:
        logger.warning("no statistics for request %s: %s", request.scope["request_id"], error)
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "warehouse-unavailable",
            "The numbers cannot be read right now",
            "Try again after the time in Retry-After.",
            headers={"Retry-After": "2"},
        ) from error
    return build_answer(user_id, reading, query, as_of, definition)
