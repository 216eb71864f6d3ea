"""Which failures of the warehouse pass by themselves, and are worth another try."""

import re

# The network, or a server that starts, stops or is for the moment out of memory (241), of slots
# (202) or of time (159, 209, 210). Anything else fails again: a wrong model, a failed test.
_TRANSIENT = re.compile(
    r"connection (refused|reset|aborted)|connection error|max retries exceeded|timed out|"
    r"remote end closed|broken pipe|temporarily unavailable|"
    r"\bcode: (159|202|209|210|241|279)\b|error code:? (159|202|209|210|241|279)\b",
    re.IGNORECASE,
)


RETRIES = 3
_RETRY_SECONDS = 5


def seconds_until_retry(retries: int) -> int:
    """5, 10, 20: how long to wait when there have been so many."""
    return _RETRY_SECONDS << retries


def is_transient(message: str) -> bool:
    """Whether an error's text says that the same statement may succeed a little later."""
    return _TRANSIENT.search(message) is not None
