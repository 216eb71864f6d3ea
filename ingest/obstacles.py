"""What stands in the way of a step, in words: the errors of ClickHouse and of connections."""

import re

from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

_CODE = re.compile(r"code:? ?(\d+)", re.IGNORECASE)

# Codes of ClickHouse that end by themselves or by an operator's hand, and what is waited for.
_PASSING = {
    164: "the warehouse to be writable: it is read-only",
    242: "the table to be writable: it is read-only",
    774: "the table to be writable: it is read-only",
    243: "disk space: the warehouse's disk is full",
    241: "memory: the warehouse is at its limit",
    252: "merges: the table has too many parts",
    202: "a free slot: too many queries run at the same time",
    159: "a faster answer: the query took longer than it may",
    209: "the network: a socket of the warehouse timed out",
    210: "the network: the warehouse lost a connection",
    319: "the replicas: whether the insert was taken is unknown",
    60: "a table that is missing: has `tally migrate` run?",
    81: "the database raw: has `tally migrate` run?",
    516: "credentials that the warehouse takes",
}

# Codes by which the warehouse refuses the data itself: the same bytes get the same answer.
_REFUSALS = frozenset({6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 128, 131, 321, 349, 407, 469})


def code_of(error: BaseException) -> int | None:
    """The code in an error of ClickHouse."""
    if not isinstance(error, ClickHouseError):
        return None
    found = _CODE.search(str(error))
    return int(found[1]) if found else None


def is_refusal(error: BaseException) -> bool:
    """Whether the warehouse looked at the data and refused it."""
    return code_of(error) in _REFUSALS


def explain(error: BaseException) -> str:
    """What has to happen before the step can succeed, and the error itself, on one line."""
    text = " ".join(str(error).split())[:300]
    said = f"{type(error).__name__}: {text}"
    code = code_of(error)
    if code in _PASSING:
        return f"needs {_PASSING[code]} ({said})"
    if isinstance(error, (OperationalError, ConnectionError, TimeoutError)):
        return f"needs a connection ({said})"
    return said
