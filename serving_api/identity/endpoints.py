"""`/api/auth/me`, `/api/auth/profile`, `/api/users/{user_id}`, and the deprecated profile path."""

import asyncio
import logging
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from serving_api.caching import wants_the_newest
from serving_api.identity.repository import Card
from serving_api.identity.schemas import Me, Profile, PublicCard, instant
from serving_api.parameters import refuse_parameters
from serving_api.problems import problem_responses
from serving_api.security.gate import Caller, Player, parse_user_id
from serving_api.state import state_of
from serving_api.stats.asking import ask_stats
from serving_api.stats.schemas import StatsQuery, UserStats
from serving_api.warehouse import answering
from tally.tokens import MAX_USER_ID

logger = logging.getLogger(__name__)

router = APIRouter(tags=["identity"], dependencies=[Depends(refuse_parameters)])

_PROBLEMS = problem_responses(
    HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
)

OLD_PROFILE = "/api/users/profile"
DEPRECATED_AT = datetime(2026, 11, 1, tzinfo=UTC)
SUNSET_AT = datetime(2027, 6, 1, tzinfo=UTC)
DEPRECATION_HEADERS = {
    "Deprecation": f"@{int(DEPRECATED_AT.timestamp())}",
    "Sunset": format_datetime(SUNSET_AT, usegmt=True),
    "Link": '</api/auth/profile>; rel="successor-version"',
}


@router.get(
    "/api/auth/me",
    summary="Who the token says you are",
    response_model=Me,
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def me(caller: Caller) -> Me:
    """Says what the token says; 404 where its user was erased."""
    return Me(
        subject=caller.subject,
        user_id=parse_user_id(caller.subject) if caller.role.is_player else None,
        role=caller.role,
        issued_at=instant(caller.issued_at),
        expires_at=instant(caller.expires_at),
    )


async def _card_and_stats(request: Request, user_id: int) -> tuple[Card, UserStats]:
    async with answering(request):
        card, asked = await asyncio.gather(
            state_of(request).identity.card(user_id),
            ask_stats(state_of(request), user_id, StatsQuery(), newest=wants_the_newest(request)),
        )
    return card, asked.answer()


@router.get(
    "/api/auth/profile",
    summary="The caller's own card",
    response_model=Profile,
    response_model_exclude_unset=True,
    responses=_PROBLEMS,
)
async def profile(request: Request, caller: Caller, user_id: Player) -> Profile:
    """Level, gold balance, streak and the statistics of `/api/users/stats`."""
    card, stats = await _card_and_stats(request, user_id)
    return Profile(
        user_id=user_id,
        role=caller.role,
        level=card.level,
        gold_balance=card.gold_balance,
        current_streak_days=stats.current_streak_days,
        stats=stats,
    )


@router.get(
    OLD_PROFILE,
    summary="The caller's own card, by its old path",
    deprecated=True,
    response_model=Profile,
    response_model_exclude_unset=True,
    responses=_PROBLEMS,
)
async def old_profile(request: Request, caller: Caller, user_id: Player) -> Profile:
    """Use `/api/auth/profile`."""
    request.scope["answer_headers"] |= DEPRECATION_HEADERS
    state_of(request).deprecated_calls.labels(OLD_PROFILE).inc()
    logger.warning("deprecated %s was called, request %s", OLD_PROFILE, request.scope["request_id"])
    return await profile(request, caller, user_id)


@router.get(
    "/api/users/{user_id}",
    summary="The public card of anyone",
    response_model=PublicCard,
    responses=_PROBLEMS,
)
async def public_card(
    request: Request, user_id: Annotated[int, Path(ge=1, le=MAX_USER_ID)]
) -> PublicCard:
    """Public fields only: private ones are 0 and named in `masked`. Never use it for oneself.

    A user without events has a card of zeros: who exists is not told.
    An erased user has none.
    """
    card, stats = await _card_and_stats(request, user_id)
    return PublicCard(
        user_id=user_id,
        level=card.level,
        current_streak_days=stats.current_streak_days,
        lifetime_active_days=stats.lifetime_active_days,
        total_games_played=stats.total_games_played,
        total_wins=stats.total_wins,
        win_rate=stats.win_rate,
    )
