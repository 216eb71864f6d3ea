"""The ledger: which offsets of which stream are readable in the warehouse, and what was lost.

It lies beside the data, so that after a crash or a restore ingestion goes on where the data ends,
whatever the consumer group's committed offset says.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from clickhouse_connect.driver import Client
from msgspec import Struct

from ingest.streams import Stream, parse_stream

Kind = Literal["stored", "lost", "gap", "replaced"]


class LedgerRow(Struct, frozen=True):
    """A contiguous range of offsets, both ends included. Counts are messages."""

    stream: Stream
    first_offset: int
    last_offset: int
    kind: Kind
    accepted: int = 0
    dead: int = 0
    end_offset: int = 0
    newest_appended_at: datetime | None = None

    @property
    def messages(self) -> int:
        """The number of offsets in the range."""
        return self.last_offset - self.first_offset + 1


class Position(Struct, frozen=True):
    """Where a stream stands.

    Everything before `next_offset` is stored; everything before `accounted` is stored or known to
    be lost; `end_offset` is the end of the log as last seen; `replaced` says that the stream's end
    was already reported.
    """

    stream: Stream
    next_offset: int = 0
    accounted: int = 0
    end_offset: int = 0
    replaced: bool = False


# Named with their types: a driver that is not told asks the warehouse before every insert.
COLUMNS = {
    "stream": "LowCardinality(String)",
    "first_offset": "UInt64",
    "last_offset": "UInt64",
    "kind": "Enum8('stored' = 1, 'lost' = 2, 'gap' = 3, 'replaced' = 4)",
    "cluster_id": "LowCardinality(String)",
    "topic": "LowCardinality(String)",
    "partition": "UInt16",
    "accepted": "UInt64",
    "dead": "UInt64",
    "end_offset": "UInt64",
    "newest_appended_at": "Nullable(DateTime64(3, 'UTC'))",
    "stored_at": "DateTime64(3, 'UTC')",
}

# `covered` is the furthest offset of the rows before; a row that starts beyond it begins a hole.
_POSITIONS = """
with
    ranges as (
        select
            stream, first_offset, last_offset, kind, end_offset,
            row_number() over earlier as number,
            max(last_offset) over (
                partition by stream order by first_offset, last_offset
                rows between unbounded preceding and 1 preceding
            ) as covered
        from raw.ingest_ledger
        where topic = {topic:String} and kind != 'replaced'
        window earlier as (partition by stream order by first_offset, last_offset)
    ),
    holes as (
        select stream, min(first_offset) as hole
        from ranges
        where number > 1 and first_offset > covered + 1
        group by stream
    ),
    contiguous as (
        select
            ranges.stream as stream,
            maxIf(last_offset + 1, kind in ('stored', 'gap')) as next_offset,
            max(last_offset + 1) as accounted,
            max(end_offset) as end_offset
        from ranges left join holes on ranges.stream = holes.stream
        where holes.hole is null or first_offset < holes.hole
        group by ranges.stream
    ),
    ends as (
        select stream, max(first_offset) as replaced_at, 1 as known
        from raw.ingest_ledger
        where topic = {topic:String} and kind = 'replaced'
        group by stream
    )
select
    contiguous.stream, next_offset, accounted, end_offset,
    coalesce(ends.known, 0) = 1 and ends.replaced_at >= next_offset
from contiguous left join ends on contiguous.stream = ends.stream
"""


def read_positions(client: Client, topic: str) -> list[Position]:
    """The position of every stream that this topic ever had, in all clusters."""
    rows = client.query(
        _POSITIONS, parameters={"topic": topic}, settings={"join_use_nulls": 1}
    ).result_rows
    return [
        Position(parse_stream(stream), next_offset, accounted, end_offset, bool(replaced))
        for stream, next_offset, accounted, end_offset, replaced in rows
    ]


def read_rows(client: Client, topic: str) -> list[LedgerRow]:
    """Every row of the topic, of all its streams."""
    rows = client.query(
        "select stream, first_offset, last_offset, kind, accepted, dead, end_offset "
        "from raw.ingest_ledger final where topic = {topic:String}",
        parameters={"topic": topic},
    ).result_rows
    return [LedgerRow(parse_stream(stream), *others) for stream, *others in rows]


def append(client: Client, rows: Sequence[LedgerRow]) -> None:
    """Write rows; writing a row again changes nothing."""
    now = datetime.now(UTC)
    client.insert(
        "raw.ingest_ledger",
        [
            (
                str(row.stream),
                row.first_offset,
                row.last_offset,
                row.kind,
                row.stream.cluster_id,
                row.stream.topic,
                row.stream.partition,
                row.accepted,
                row.dead,
                row.end_offset,
                row.newest_appended_at,
                now,
            )
            for row in rows
        ],
        column_names=list(COLUMNS),
        column_type_names=list(COLUMNS.values()),
        settings={"async_insert": 0},
    )


def current(positions: Iterable[Position], cluster_id: str, partition: int, topic: str) -> Position:
    """The position of the partition's newest stream in the cluster; at 0 for one never read."""
    for position in _newest(positions):
        stream = position.stream
        if (stream.cluster_id, stream.topic, stream.partition) == (cluster_id, topic, partition):
            return position
    return Position(Stream(cluster_id, topic, partition))


class Start(Struct, frozen=True):
    """Where to read on, as which stream, and what the ledger must be told before."""

    stream: Stream
    offset: int
    findings: tuple[LedgerRow, ...] = ()


def plan_start(
    positions: Sequence[Position],
    own: Stream,
    *,
    log_start: int,
    log_end: int,
    partitions: int,
) -> Start:
    """Decide from the ledger and the broker's log where a partition is read on.

    `own` names the partition (its epoch is ignored), which has offsets from `log_start` up to but
    without `log_end`. Partition 0 also answers for former partitions beyond `partitions`.
    """
    findings: list[LedgerRow] = []
    for position in _newest(positions):
        was = position.stream
        same_place = was.partition == own.partition or (
            own.partition == 0 and was.partition >= partitions
        )
        if was.cluster_id != own.cluster_id and same_place and not position.replaced:
            findings.extend(_ended(position))

    position = current(positions, own.cluster_id, own.partition, own.topic)
    if position.next_offset > log_end:
        findings.extend(_ended(position))
        position = Position(position.stream.renewed())
    start = max(position.next_offset, log_start)
    if position.replaced or start < position.accounted:
        # What was given up for lost is here again. Readers of the ledger have passed these offsets,
        # so that the messages would go unnoticed in the same stream.
        return Start(position.stream.renewed(), start, tuple(findings))
    if position.accounted < start:
        findings.append(
            LedgerRow(position.stream, position.accounted, start - 1, "lost", end_offset=log_end)
        )
    return Start(position.stream, start, tuple(findings))


def _newest(positions: Iterable[Position]) -> list[Position]:
    """Of every partition of every cluster, the stream that is or was read last."""
    newest: dict[tuple[str, str, int], Position] = {}
    for position in sorted(positions, key=lambda p: p.stream.epoch):
        stream = position.stream
        newest[stream.cluster_id, stream.topic, stream.partition] = position
    return list(newest.values())


def _ended(position: Position) -> list[LedgerRow]:
    """What the ledger says of a stream that cannot be read any more."""
    rows = []
    if position.accounted < position.end_offset:
        rows.append(
            LedgerRow(
                position.stream,
                position.accounted,
                position.end_offset - 1,
                "lost",
                end_offset=position.end_offset,
            )
        )
    rows.append(
        LedgerRow(
            position.stream,
            position.next_offset,
            position.next_offset,
            "replaced",
            end_offset=position.end_offset,
        )
    )
    return rows
