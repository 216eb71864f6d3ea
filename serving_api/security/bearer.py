"""Who calls, as FastAPI dependencies: the bearer of a good token, or the request is refused."""

import re
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from serving_api.problems import forbidden, unauthorized
from serving_api.security.tokens import Principal
from serving_api.state import state_of
from tally.tokens import MAX_USER_ID

_USER_ID = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)

# Only for the OpenAPI document: the header is read below, where two of them can be refused.
_bearer_scheme = HTTPBearer(
    auto_error=False,
    bearerFormat="JWT",
    description="A JWT signed with EdDSA or RS256 by a key of the JWKS; its `sub` is the user id.",
)


async def principal(request: Request, _: Annotated[Any, Security(_bearer_scheme)]) -> Principal:
    """The caller of the request."""
    given = request.headers.getlist("authorization")
    if len(given) != 1:
        raise unauthorized("Send one header: `Authorization: Bearer <token>`.")
    scheme, _space, token = given[0].partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthorized("Send the token as `Authorization: Bearer <token>`.")
    return await state_of(request).verifier.verify(token)


async def player_id(caller: Annotated[Principal, Depends(principal)]) -> int:
    """The user id of a caller who is a player.

    Others have no statistics of their own: their `sub` is not a user id, even where it is a number.
    """
    if not caller.role.is_player:
        raise forbidden(f"A token of role {caller.role} is not a player's.")
    if not _USER_ID.fullmatch(caller.subject) or int(caller.subject) > MAX_USER_ID:
        raise unauthorized(f"`sub` is not a user id, an integer from 1 to {MAX_USER_ID}.")
    return int(caller.subject)
