"""Claims on event ids: the first message to use an id is accepted, another payload is a conflict.

A batch claims its ids, then asks who was first (`raw.event_ids` says why the answer never changes).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.external import ExternalData
from msgspec import Struct

from tally.events import Event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_FIELDS: list[tuple[str, pa.DataType]] = [
    ("event_id", pa.binary(16)),
    ("payload", pa.binary(16)),
    ("stream", pa.string()),
    ("offset", pa.uint64()),
]
SCHEMA = pa.schema(_FIELDS)

_FIRST = """
select
    event_id,
    argMin((payload, toString(stream), offset), (_block_number, offset)) as first
from raw.event_ids
where event_id in (select event_id from asked)
group by event_id
having min(payload) != max(payload)
"""


class Claim(Struct, frozen=True):
    """One message's use of an event id."""

    event_id: bytes
    payload: bytes
    offset: int


class First(Struct, frozen=True):
    """The message that used an id first."""

    payload: bytes
    stream: str
    offset: int


def claim(event: Event, offset: int) -> Claim:
    """The claim of an accepted event. Equal payloads are those of which the same is stored."""
    client_ts = "" if event.client_ts is None else (event.client_ts - _EPOCH) // _MILLISECOND
    # No text of an event holds a NUL: the contract refuses it.
    text = (
        f"{event.user_id}\0{event.action_type}\0{(event.occurred_at - _EPOCH) // _MILLISECOND}\0"
        f"{client_ts}\0{event.session_id}\0{event.source}\0{event.schema_version}\0"
    )
    payload = hashlib.md5(text.encode() + event.context, usedforsecurity=False).digest()
    return Claim(bytes.fromhex(event.event_id.replace("-", "")), payload, offset)


def encode(stream: str, claims: Sequence[Claim]) -> bytes:
    """The Arrow stream of one batch's claims."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(
            pa.record_batch(
                [
                    pa.array([c.event_id for c in claims], pa.binary(16)),
                    pa.array([c.payload for c in claims], pa.binary(16)),
                    pa.array([stream] * len(claims), pa.string()),
                    pa.array([c.offset for c in claims], pa.uint64()),
                ],
                schema=SCHEMA,
            )
        )
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def contested(client: Client, event_ids: Iterable[bytes]) -> dict[bytes, First]:
    """Of these ids, those that were used with more than one payload, and who was first."""
    asked = ExternalData(
        file_name="asked",
        data=b"".join(set(event_ids)),
        fmt="RowBinary",
        structure="event_id FixedString(16)",
    )
    rows = client.query(
        _FIRST,
        external_data=asked,
        query_formats={"FixedString": "bytes"},
        # For a replicated table: what another replica has acknowledged is seen.
        settings={"select_sequential_consistency": 1},
    ).result_rows
    return {event_id: First(bytes(payload), stream, offset) for event_id, (payload, stream, offset)
            in rows}  # fmt: skip


def conflicts(claims: Iterable[Claim], contested: Mapping[bytes, First]) -> dict[int, First]:
    """The offsets of claims whose payload is not the first one, with who was first."""
    return {
        c.offset: first
        for c in claims
        if (first := contested.get(c.event_id)) is not None and first.payload != c.payload
    }
