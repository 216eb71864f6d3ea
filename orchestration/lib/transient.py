"""Which failures of the warehouse pass by themselves, and are worth another try."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

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


def is_transient(message: str) -> bool:
    """Whether an error's text says that the same statement may succeed a little later."""
    return _TRANSIENT.search(message) is not None


def retry(retries: int) -> dg.RetryRequested:
    """The request for another try after so many, 5, 10 and 20 s later."""
    return dg.RetryRequested(RETRIES, _RETRY_SECONDS << retries)


@contextmanager
def retried(retries: int) -> Iterator[None]:
    """Ask for another try where what is inside fails by something that passes by itself."""
    try:
        yield
    except (dg.RetryRequested, dg.Failure):
        raise
    except Exception as error:
        if is_transient(str(error)):
            raise retry(retries) from error
        raise
