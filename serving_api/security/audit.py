"""The audit log: an append-only file in which every line carries the hash of the one before it.

A line that is changed, removed or put in between breaks the chain from there on. A missing end
cannot be seen in the file itself: compare the head that `tally audit` prints with one kept
elsewhere.
"""

import fcntl
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from tally.errors import TallyError

GENESIS = "0" * 64
_MAX_LINE_BYTES = 8192


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who asked for what of whom. `user_id` is null where the request names no user."""

    at: str
    subject: str
    role: str
    method: str
    route: str
    user_id: int | None
    request_id: str


class AuditLog:
    """Appends to one file, which several processes may share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: AuditLine) -> None:
        """Write a line and hand it to the disk's cache. Raises `OSError`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a+b", opener=_private) as file:
            # The lock goes with the file's closing.
            fcntl.flock(file, fcntl.LOCK_EX)
            previous = _last_hash(file)
            file.write(_sealed(asdict(line), previous))


def verify_audit(path: Path) -> tuple[int, str]:
    """The number of lines and the head of an intact chain.

    Raises `TallyError` that names the first line that is not as it was written.
    """
    previous, number = GENESIS, 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    entry = json.loads(raw)
                    del entry["previous"], entry["hash"]
                    intact = raw == _sealed(entry, previous)
                except (ValueError, KeyError, TypeError):
                    intact = False
                if not intact:
                    raise TallyError(
                        f"{path}, line {number} is not what was written there, or a line before it "
                        "is missing.",
                        hint="Compare with a copy; everything before this line is as it was.",
                    )
                previous = _hash_of(raw)
    except FileNotFoundError:
        return 0, GENESIS
    return number, previous


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sealed(entry: dict[str, object], previous: str) -> bytes:
    body = {**entry, "previous": previous}
    text = json.dumps(body, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (
        json.dumps({**body, "hash": digest}, sort_keys=True, ensure_ascii=False) + "\n"
    ).encode()


def _hash_of(raw: bytes) -> str:
    found: str = json.loads(raw)["hash"]
    return found


def _last_hash(file: BinaryIO) -> str:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return GENESIS
    file.seek(max(0, size - _MAX_LINE_BYTES))
    try:
        return _hash_of(file.read().splitlines()[-1])
    except (ValueError, KeyError, IndexError) as error:
        raise OSError("the audit log ends with a broken line; `tally audit` names it") from error
