"""Why the server ends a connection: close codes of the private range, made to be compared."""

from enum import IntEnum

from serving_api.problems import ProblemError


class Close(IntEnum):
    """Close codes of the WebSockets, and `code` in the `close` event of the stream."""

    GOING_AWAY = 1001
    TRY_AGAIN_LATER = 1013
    BAD_MESSAGE = 4400
    UNAUTHORIZED = 4401
    """The token is not good, or is not any more: its key was revoked."""
    FORBIDDEN = 4403
    ERASED = 4404
    """The user was erased."""
    NO_TOKEN = 4408
    TOKEN_EXPIRED = 4419
    TOO_MANY = 4429


_CODES = {
    401: Close.UNAUTHORIZED,
    403: Close.FORBIDDEN,
    404: Close.ERASED,
    429: Close.TOO_MANY,
    503: Close.TRY_AGAIN_LATER,
}

# A close frame holds 123 bytes of reason.
MAX_REASON_BYTES = 123


def close_of(problem: ProblemError) -> tuple[Close, str]:
    """How a socket is closed for what a request would be refused for."""
    return _CODES[int(problem.status)], reason(problem.detail or problem.title)


def reason(text: str) -> str:
    """The text as far as a close frame takes it."""
    return text.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
