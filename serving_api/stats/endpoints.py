"""`GET /api/users/stats`, and what is behind its numbers: `explain` and `history`."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from serving_api.caching import conditional, wants_the_newest
from serving_api.parameters import not_in_the_future, refuse_repeated_parameters
from serving_api.problems import InvalidParameter, invalid_request, problem_responses
from serving_api.security.gate import Player
from serving_api.state import state_of
from serving_api.stats.asking import ask_stats
from serving_api.stats.explanations import explain, first_date
from serving_api.stats.schemas import (
    MAX_HISTORY_DAYS,
    Day,
    ExplainQuery,
    Explanation,
    History,
    HistoryQuery,
    StatsQuery,
    UserStats,
)
from serving_api.warehouse import answering

router = APIRouter(tags=["stats"], dependencies=[Depends(refuse_repeated_parameters)])

_PROBLEMS = problem_responses(
    HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
)


@router.get(
    "/api/users/stats",
    summary="The caller's own statistics",
    response_model=UserStats,
    responses={
        **_PROBLEMS,
        304: {"description": "The answer is still the one of `If-None-Match`."},
    },
)
async def user_stats(
    request: Request, user_id: Player, query: Annotated[StatsQuery, Query()]
) -> Response:
    """The user is the token's `sub`; there is no user parameter.

    Every count is exact and includes every event stored until `meta.watermark`. Days are UTC dates.
    A user without events gets zeros and null dates, an erased one 404.
    """
    async with answering(request):
        asked = await ask_stats(state_of(request), user_id, query, newest=wants_the_newest(request))
    return conditional(
        request,
        asked.body(),
        # An answer that is not the latest must not outlive the moment.
        max_age=state_of(request).settings.api_cache_seconds if asked.status == "fresh" else 0,
    )


@router.get(
    "/api/users/stats/explain",
    summary="The dates or rounds behind one number",
    response_model=Explanation,
    responses=_PROBLEMS,
)
async def explain_stats(
    request: Request, user_id: Player, query: Annotated[ExplainQuery, Query()]
) -> Explanation:
    """Of the caller's own statistics. Never from a cache, so it may be newer than an answer was."""
    state = state_of(request)
    as_of = not_in_the_future("as_of", query.as_of, state.clock().date())
    definition = query.definition or state.settings.active_day_definition
    async with answering(request):
        days = await state.stats.days(user_id, first_date(query.field, as_of), as_of)
    return explain(query.field, [Day.model_validate(day) for day in days], as_of, definition)


@router.get(
    "/api/users/stats/history",
    summary="The caller's own days",
    response_model=History,
    responses=_PROBLEMS,
)
async def stats_history(
    request: Request, user_id: Player, query: Annotated[HistoryQuery, Query()]
) -> History:
    """Days without an event are left out. Never from a cache."""
    state = state_of(request)
    to = not_in_the_future("to", query.to, state.clock().date())
    from_ = query.from_ or to - timedelta(days=min(29, to.toordinal() - 1))
    length = (to - from_).days + 1
    if not 1 <= length <= MAX_HISTORY_DAYS:
        message = f"the range must hold 1 to {MAX_HISTORY_DAYS} dates, not {length}"
        raise invalid_request(InvalidParameter(location="query.from", message=message))
    async with answering(request):
        days = await state.stats.days(user_id, from_, to)
    return History(
        user_id=user_id,
        timezone="UTC",
        from_=from_,
        to=to,
        days=[Day.model_validate(day) for day in days],
    )
