"""Consistency tokens: where in the log a write went, so that a later read can wait for it.

A token only asks its reader to wait, at most two seconds, so it is not signed: whoever forges one
delays themselves.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

MAX_TOKEN_LENGTH = 2048
PATTERN = rf"^[A-Za-z0-9_-]{{1,{MAX_TOKEN_LENGTH}}}$"

_STREAM = re.compile(r"(?P<place>.+/\d+)(?:\+(?P<epoch>\d+))?")


class _Content(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    cluster_id: str
    offsets: dict[int, int]


@dataclass(frozen=True, slots=True)
class ConsistencyToken:
    """The highest offset written to each partition of the actions topic of one cluster."""

    cluster_id: str
    offsets: Mapping[int, int]

    def __str__(self) -> str:
        content = msgspec.msgpack.encode(_Content(self.cluster_id, dict(self.offsets)))
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def parse_token(text: str) -> ConsistencyToken:
    """The inverse of `str(token)`. Raises `ValueError` for any other text."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        content = msgspec.msgpack.decode(raw, type=_Content)
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValueError("is not a consistency token of this API") from error
    return ConsistencyToken(content.cluster_id, content.offsets)


def is_stored(token: ConsistencyToken, topic: str, stored: Mapping[str, int]) -> bool:
    """Whether every write of the token is among `stored`: the last stored offset by stream name.

    Of a partition whose topic was made anew (`+N` behind the stream's name) the newest log counts.
    """
    newest: dict[str, tuple[int, int]] = {}
    for name, offset in _places(stored.items()):
        newest[name] = max(newest.get(name, (-1, -1)), offset)
    return all(
        newest.get(f"{token.cluster_id}/{topic}/{partition}", (0, -1))[1] >= offset
        for partition, offset in token.offsets.items()
    )


def _places(stored: Iterable[tuple[str, int]]) -> Iterable[tuple[str, tuple[int, int]]]:
    """(cluster/topic/partition, (epoch, offset)) of each stream."""
    for name, offset in stored:
        if found := _STREAM.fullmatch(name):
            yield found["place"], (int(found["epoch"] or 0), offset)
