"""Claims on event ids: the first message to use an id is accepted, another payload is a conflict.

A batch claims its ids, then asks who was first (`raw.event_ids` says why the answer never changes).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.external import ExternalData
from msgspec import Struct

from ingest.arrow_stream import arrow_stream

ID_BYTES = 16
PAYLOAD_BYTES = 16
# The texts of a batch at once would take as much memory as the batch.
HASHED_TOGETHER = 5_000

_FIELDS: list[tuple[str, pa.DataType]] = [
    ("event_id", pa.binary(ID_BYTES)),
    ("payload", pa.binary(PAYLOAD_BYTES)),
    ("stream", pa.dictionary(pa.int32(), pa.string())),
    ("offset", pa.uint64()),
]
SCHEMA = pa.schema(_FIELDS)

_PAYLOAD = (
    "user_id",
    "action_type",
    "occurred_at",
    "client_ts",
    "session_id",
    "source",
    "schema_version",
)  # and the context

# Hardly ever is an id contested, and to tell who was first costs thrice as much as to see that.
_CONTESTED = """
select event_id
from raw.event_ids
where event_id in (select event_id from asked)
group by event_id
having min(reinterpretAsUInt128(payload)) != max(reinterpretAsUInt128(payload))
"""

_MISSING = """
select count()
from asked
where (event_id, stream, offset) not in (
    select event_id, toString(stream), offset
    from raw.event_ids
    where event_id in (select event_id from asked)
)
"""

_FIRST = """
select
    event_id,
    argMin((payload, toString(stream), offset), (_block_number, offset, toString(stream)))
from raw.event_ids
where event_id in (select event_id from asked)
group by event_id
"""


class Claims(Struct, frozen=True):
    """The uses of event ids by the accepted messages of one stream, message by message."""

    stream: str
    event_ids: bytes
    """`ID_BYTES` a message."""
    payloads: bytes
    """`PAYLOAD_BYTES` a message."""
    offsets: "pa.Array[Any]"

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Id, payload and offset of each."""
        columns: list[list[Any]] = [column.to_pylist() for column in _of_messages(self)]
        return zip(*columns, strict=True)


class First(Struct, frozen=True):
    """The message that used an id first."""

    payload: bytes
    stream: str
    offset: int


def claims_of(stream: str, events: pa.RecordBatch) -> Claims:
    """The claims of accepted events. Equal payloads are those of which the same is stored."""
    slices = range(0, events.num_rows, HASHED_TOGETHER)
    payloads = b"".join(_payloads(events.slice(first, HASHED_TOGETHER)) for first in slices)
    return Claims(stream, _bytes_of(events["event_id"]), payloads, events["offset"])


def _bytes_of(ids: "pa.Array[Any]") -> bytes:
    """The ids one behind the other, as they are in memory: a list of them costs 0.4 us a row."""
    values = ids.buffers()[1]
    assert values is not None
    return values.slice(ids.offset * ID_BYTES, len(ids) * ID_BYTES).to_pybytes()


def _payloads(events: pa.RecordBatch) -> bytes:
    column: dict[str, Any] = {name: events[name] for name in events.schema.names}
    for moment in ("occurred_at", "client_ts"):
        column[moment] = column[moment].cast(pa.int64())
    texts: Any = pc.binary_join_element_wise(
        *(column[name].cast(pa.string()).fill_null("").cast(pa.binary()) for name in _PAYLOAD),
        column["context"],
        b"\0",  # no text of an event holds one: the contract refuses it
    )
    hashes = [hashlib.md5(text, usedforsecurity=False).digest() for text in texts.to_pylist()]
    return b"".join(hashes)


def encode(together: Sequence[Claims]) -> bytes:
    """The Arrow stream of all of them, in one block."""
    encoded: bytes = arrow_stream(_columns(together)).to_pybytes()
    return encoded


def _columns(together: Sequence[Claims]) -> pa.RecordBatch:
    parts = zip(*(_of_messages(claims) for claims in together), strict=True)
    event_ids, payloads, offsets = (pa.concat_arrays(part) for part in parts)
    numbers = [
        pa.repeat(pa.scalar(nth, pa.int32()), len(claims)) for nth, claims in enumerate(together)
    ]
    streams = pa.DictionaryArray.from_arrays(
        pa.concat_arrays(numbers), pa.array([claims.stream for claims in together])
    )
    return pa.record_batch([event_ids, payloads, streams, offsets], schema=SCHEMA)


def _of_messages(claims: Claims) -> tuple["pa.Array[Any]", "pa.Array[Any]", "pa.Array[Any]"]:
    """Ids, payloads and offsets as columns."""

    def column(values: bytes, width: int) -> "pa.Array[Any]":
        buffers = [None, pa.py_buffer(values)]
        return pa.Array.from_buffers(pa.binary(width), len(claims), buffers)

    return (
        column(claims.event_ids, ID_BYTES),
        column(claims.payloads, PAYLOAD_BYTES),
        claims.offsets,
    )


def missing(client: Client, together: Sequence[Claims]) -> int:
    """How many of these claims are not there (see `presence`, how that comes about)."""
    asked = ExternalData(
        file_name="asked",
        data=encode(together),
        fmt="ArrowStream",
        structure=f"event_id FixedString({ID_BYTES}), payload FixedString(16), stream String, "
        "offset UInt64",
    )
    ((count,),) = _ask(client, _MISSING, asked)
    return int(count)


def contested(client: Client, event_ids: bytes) -> dict[bytes, First]:
    """Of these ids, those that were used with more than one payload, and who was first."""
    found = b"".join(row[0] for row in _ask(client, _CONTESTED, _asked(event_ids)))
    if not found:
        return {}
    return {
        event_id: First(bytes(payload), stream, offset)
        for event_id, (payload, stream, offset) in _ask(client, _FIRST, _asked(found))
    }


def _asked(event_ids: bytes) -> ExternalData:
    return ExternalData(
        file_name="asked",
        data=event_ids,
        fmt="RowBinary",
        structure=f"event_id FixedString({ID_BYTES})",
    )


def _ask(client: Client, question: str, asked: ExternalData) -> Sequence[Any]:
    return client.query(
        question,
        external_data=asked,
        query_formats={"FixedString": "bytes"},
        # For a replicated table: what another replica has acknowledged is seen.
        # On one thread it takes as long, and a tenth less of the processor.
        settings={"select_sequential_consistency": 1, "max_threads": 1},
    ).result_rows


def conflicts(claims: Claims, contested: Mapping[bytes, First]) -> dict[int, First]:
    """The offsets of claims whose payload is not the first one, with who was first."""
    if not contested:
        return {}
    return {
        offset: first
        for event_id, payload, offset in claims
        if (first := contested.get(event_id)) is not None and first.payload != payload
    }
