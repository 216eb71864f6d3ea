"""What a JSON decoder accepts without a word and the contract refuses.

Duplicate keys, NUL characters (ClickHouse, Postgres and C readers each end or refuse a text there)
and nesting that no reader downstream could follow.
"""

import json
from typing import Any

MAX_DEPTH = 32


class MalformedDocumentError(Exception):
    """The document breaks a structural rule; the text says which one and where."""


def check_structure(raw: bytes, document: dict[str, Any]) -> None:
    """Check `document`, which was decoded from `raw`.

    Raises `MalformedDocumentError`.
    """
    keys, colons = _walk(document)
    # An escaped colon is the one thing that the count of bytes cannot see.
    if raw.count(b":") != keys + colons or b"\\u003" in raw:
        json.loads(raw.decode(), object_pairs_hook=_unique_keys)


def _walk(document: dict[str, Any]) -> tuple[int, int]:
    """The keys of all objects, and the colons inside all strings."""
    keys = colons = 0
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if "\0" in value:
                    raise MalformedDocumentError("a text contains the NUL character (\\u0000)")
                colons += value.count(":")
            elif isinstance(value, dict):
                keys += len(value)
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        if not below:
            return keys, colons
        level = below
    raise MalformedDocumentError(f"nested deeper than {MAX_DEPTH} levels")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise MalformedDocumentError(f"{key[:64]}: the key stands twice in one object")
            seen.add(key)
    return found
