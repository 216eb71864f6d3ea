"""What a good token is: verification against the key set, and nothing about HTTP requests."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import jwt

from serving_api.problems import ProblemError, forbidden, unauthorized
from serving_api.security.keys import KeySet
from tally.tokens import Role

LEEWAY_SECONDS = 5
MAX_TOKEN_LENGTH = 8192

_REQUIRED_CLAIMS = ["exp", "iat", "sub", "aud", "iss"]


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a verified token."""

    subject: str
    role: Role
    issued_at: int = field(default=0, compare=False)
    expires_at: int = field(default=0, compare=False)
    """Unix seconds."""


class TokenVerifier:
    """Verifies tokens of one issuer for one audience."""

    def __init__(self, keys: KeySet, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    async def verify(self, token: str) -> Principal:
        """The bearer of `token`.

        Raises `ProblemError`: 401 for a token that is not good, 403 for a role that is not known,
        503 while there are no keys to verify with.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise unauthorized("The token is too long.")
        key = await self._key_of(token)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED_CLAIMS},
            )
        except jwt.ExpiredSignatureError as error:
            raise unauthorized("The token has expired.") from error
        # PyJWT lets a few malformed claims out as the plain errors of int().
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise unauthorized("The token is not valid here.") from error
        return Principal(claims["sub"], _role_of(claims), int(claims["iat"]), int(claims["exp"]))

    async def _key_of(self, token: str) -> jwt.PyJWK:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError) as error:
            raise unauthorized("The token is not a JWT.") from error
        if not isinstance(kid, str):
            raise unauthorized("The token names no key: its header has no kid.")
        key = await self._keys.find(kid)
        if key is None and len(self._keys) == 0:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "keys-unavailable",
                "Tokens cannot be verified right now",
                headers={"Retry-After": "5"},
            )
        if key is None:
            raise unauthorized("The token is signed with a key that is not known.")
        return key


def _role_of(claims: dict[str, Any]) -> Role:
    try:
        return Role(str(claims.get("role")))
    except ValueError as error:
        raise forbidden("The token has no role that is known here.") from error
