"""What a good token is: verification against the key set, and nothing about HTTP requests."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import jwt

from serving_api.problems import ProblemError, forbidden, unauthorized
from serving_api.security.keys import KeySet
from tally.tokens import Role

LEEWAY_SECONDS = 5
MAX_TOKEN_LENGTH = 8192

# A signature costs 0.3 ms to verify, a third of an answer from the cache. About 1 KiB each.
MAX_KNOWN_TOKENS = 20_000

_REQUIRED_CLAIMS = ["exp", "iat", "sub", "aud", "iss"]


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a verified token."""

    subject: str
    role: Role
    issued_at: int = field(default=0, compare=False)
    expires_at: int = field(default=0, compare=False)
    """Unix seconds."""

    @property
    def name(self) -> str:
        """By what limits count: a service called "42" is not player 42."""
        return f"{self.role.is_player}/{self.subject}"


class TokenVerifier:
    """Verifies tokens of one issuer for one audience.

    A token that was good is good again without its signature being computed, until it expires and
    for as long as its key is the same one.
    """

    def __init__(
        self, keys: KeySet, issuer: str, audience: str, now: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._known: dict[str, tuple[jwt.PyJWK, Principal]] = {}

    async def verify(self, token: str) -> Principal:
        """The bearer of `token`.

        Raises `ProblemError`: 401 for a token that is not good, 403 for a role that is not known,
        503 while there are no keys to verify with.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise unauthorized("The token is too long.")
        if (known := self._known.get(token)) is not None:
            key, bearer = known
            assert key.key_id is not None
            is_current = self._now() < bearer.expires_at + LEEWAY_SECONDS
            if is_current and await self._keys.find(key.key_id) is key:
                return bearer
            self._known.pop(token, None)
        key = await self._key_of(token)
        bearer = self._decoded(token, key)
        self._known[token] = (key, bearer)
        if len(self._known) > MAX_KNOWN_TOKENS:
            del self._known[next(iter(self._known))]
        return bearer

    def _decoded(self, token: str, key: jwt.PyJWK) -> Principal:
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
