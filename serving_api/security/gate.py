"""What every request passes before its endpoint: token, role, owner, rate, audit line, erasure.

In this order, and all of it before the request asks the warehouse for anything.
"""

import asyncio
import logging
import re
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection
from starlette.types import Scope
from starlette.websockets import WebSocket

from serving_api.erasures import erased_user
from serving_api.problems import (
    InvalidParameter,
    ProblemError,
    forbidden,
    invalid_request,
    unauthorized,
)
from serving_api.security.access import Access, access_to
from serving_api.security.audit import AuditLine
from serving_api.security.tokens import Principal
from serving_api.state import AppState, state_of
from tally.tokens import MAX_USER_ID, Role

logger = logging.getLogger(__name__)

_USER_ID = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)


async def gate(connection: HTTPConnection) -> None:
    """Let the request through, or raise its refusal.

    A socket's token may come in its first message, so sockets ask for it themselves.
    """
    if not isinstance(connection, Request):
        return
    try:
        await _let_through(connection)
    except ProblemError as problem:
        state_of(connection).refusals.labels(problem.name).inc()
        raise


async def _let_through(request: Request) -> None:
    access = access_to(request.method, request.scope["route"].path)
    if access.public:
        return
    state = state_of(request)
    caller = await _bearer(request, state)
    request.state.caller = caller
    if caller.role not in access.roles:
        raise forbidden(f"A token of role {caller.role} does not allow this.")
    asked = _asked_user(request)
    own = _own_id(caller)
    if asked is not None and asked != own and caller.role not in access.anyone:
        raise forbidden("This is another user's.")
    _limit_rate(request.scope, state, caller)
    if caller.role is Role.ADMIN or (asked is not None and asked != own):
        await _record(request, state, caller, asked)
    # The caller's own token is about the caller only where the route is.
    about = (asked, own if caller.role in access.own else None)
    for user_id in about:
        if user_id is not None and await state.erasures.has(user_id):
            raise erased_user()


async def admit_socket(socket: WebSocket, token: str) -> tuple[Principal, int]:
    """The bearer of the token that came with a socket, and their user id, or the refusal."""
    state: AppState = socket.state.tally
    caller = await state.verifier.verify(token)
    if caller.role not in access_to("WEBSOCKET", socket.scope["route"].path).roles:
        raise forbidden(f"A token of role {caller.role} does not allow this.")
    _limit_rate(socket.scope, state, caller)
    user_id = await player_id(caller)
    if await state.erasures.has(user_id):
        raise erased_user()
    return caller, user_id


async def caller_of(request: Request) -> Principal:
    """The bearer of the request's token, whom the gate let through."""
    caller: Principal = request.state.caller
    return caller


Caller = Annotated[Principal, Depends(caller_of)]


async def player_id(caller: Caller) -> int:
    """The user id of a caller who is a player."""
    own = _own_id(caller)
    if own is None:
        raise unauthorized(f"`sub` is not a user id, an integer from 1 to {MAX_USER_ID}.")
    return own


Player = Annotated[int, Depends(player_id)]


def is_for_all(request: Request, caller: Principal) -> bool:
    """Whether the caller may act for every user on this route."""
    return caller.role in _access(request).anyone


def _access(request: Request) -> Access:
    return access_to(request.method, request.scope["route"].path)


def _own_id(caller: Principal) -> int | None:
    """Others than players have no statistics of their own: their `sub` is no user id."""
    return parse_user_id(caller.subject) if caller.role.is_player else None


def parse_user_id(text: str) -> int | None:
    """The user id that the text is, in its one spelling."""
    if not _USER_ID.fullmatch(text) or int(text) > MAX_USER_ID:
        return None
    return int(text)


async def _bearer(request: Request, state: AppState) -> Principal:
    given = request.headers.getlist("authorization")
    if len(given) != 1:
        raise unauthorized("Send one header: `Authorization: Bearer <token>`.")
    scheme, _space, token = given[0].partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthorized("Send the token as `Authorization: Bearer <token>`.")
    return await state.verifier.verify(token)


def _asked_user(request: Request) -> int | None:
    """The user whom the path names, if it names one."""
    given = request.path_params.get("user_id")
    if given is None:
        return None
    user_id = parse_user_id(given)
    if user_id is None:
        message = f"is not a user id, an integer from 1 to {MAX_USER_ID}"
        raise invalid_request(InvalidParameter(location="path.user_id", message=message))
    return user_id


def _limit_rate(scope: Scope, state: AppState, caller: Principal) -> None:
    settings = state.settings
    limit = settings.api_rate_limit if caller.role.is_player else settings.api_staff_rate_limit
    allowance = state.rates.take(caller.name, limit)
    scope["answer_headers"] = allowance.headers
    if allowance.retry_after_seconds:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-requests",
            "Too many requests",
            f"At most {limit} a minute.",
            headers={"Retry-After": str(allowance.retry_after_seconds)},
        )


async def _record(
    request: Request, state: AppState, caller: Principal, user_id: int | None
) -> None:
    line = AuditLine(
        at=state.clock().isoformat(timespec="milliseconds"),
        subject=caller.subject[:256],
        role=caller.role.value,
        method=request.method,
        route=request.scope["route"].path,
        user_id=user_id,
        request_id=request.scope["request_id"],
    )
    try:
        await asyncio.to_thread(state.audit.append, line)
    except OSError as error:
        logger.error("the audit log cannot be written: %s", error)
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "audit-unavailable",
            "This request must be recorded, and cannot be right now",
            headers={"Retry-After": "30"},
        ) from error
