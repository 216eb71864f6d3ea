"""The messages of a batch as they came, in columns: as objects they take three times the memory."""

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct


class Message(Protocol):
    """What is needed of a Kafka record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Any


class Kept(Struct):
    """A message again."""

    offset: int
    timestamp: int
    headers: Any
    key: bytes | None = None
    value: bytes | None = None


class Messages:
    """Messages in the order of their offsets."""

    def __init__(self) -> None:
        self._parts: list[pa.RecordBatch] = []
        self._headers: dict[int, Any] = {}  # hardly any message has some

    def __len__(self) -> int:
        return sum(part.num_rows for part in self._parts)

    def add(self, messages: Sequence[Message]) -> None:
        """Take in the messages that follow."""
        columns: list[pa.Array[Any]] = [
            pa.array([m.offset for m in messages], pa.uint64()),
            pa.array([m.timestamp for m in messages], pa.int64()),
            pa.array([m.key for m in messages], pa.binary()),
            pa.array([m.value for m in messages], pa.binary()),
        ]
        self._parts.append(pa.record_batch(columns, names=["offset", "timestamp", "key", "value"]))
        self._headers.update((m.offset, m.headers) for m in messages if m.headers)

    @property
    def timestamps(self) -> "pa.Array[Any]":
        """When Kafka got each, as producers or brokers say (milliseconds)."""
        return pa.concat_arrays([part["timestamp"] for part in self._parts])

    def offset_of(self, nth: int) -> int:
        """The offset of the message at this place, counted from 0."""
        offset: int = pa.chunked_array([part["offset"] for part in self._parts])[nth].as_py()
        return offset

    def at(self, offsets: Collection[int]) -> list[Kept]:
        """The messages at these offsets."""
        if not offsets:
            return []
        rows = chain.from_iterable(
            part.filter(is_among(part["offset"], offsets)).to_pylist() for part in self._parts
        )
        return [Kept(headers=self._headers.get(row["offset"], ()), **row) for row in rows]

    def between(self, first: int, end: int) -> "Messages":
        """Those from the offset `first`, without `end`."""
        some = Messages()
        for part in self._parts:
            some._parts.append(part.filter(is_within(part["offset"], first, end)))
        some._headers = self._headers
        return some

    def blank(self, offsets: Collection[int]) -> None:
        """Forget key and value of the messages at these offsets."""
        for nth, part in enumerate(self._parts):
            is_kept = pc.invert(is_among(part["offset"], offsets))
            columns = {name: part[name] for name in part.schema.names}
            for name in ("key", "value"):
                columns[name] = pc.if_else(is_kept, columns[name], None)
            self._parts[nth] = pa.record_batch(columns)


def is_among(column: "pa.Array[Any]", offsets: Collection[int]) -> Any:
    """Which rows of a column of offsets are at one of these."""
    return pc.is_in(column, pa.array(list(offsets), pa.uint64()))


def is_within(column: "pa.Array[Any]", first: int, end: int) -> Any:
    """Which rows of a column of offsets are from `first` on, without `end`."""
    return pc.and_(
        pc.greater_equal(column, pa.scalar(first, pa.uint64())),
        pc.less(column, pa.scalar(end, pa.uint64())),
    )
