"""The account of every offset: each is an event, a duplicate, a dead letter, erased, or a gap.

Read from what is stored and from the broker, not from what ingestion believes it did: the ledger
itself is one of the things that are checked.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from clickhouse_connect.driver import Client
from msgspec import Struct, field

from ingest.ledger import LedgerRow, read_rows
from ingest.progress import Backlog
from ingest.streams import Stream, parse_stream

EXAMPLES = 5  # of each kind of fault, a stream

# One row per offset that is stored anywhere; the counts are 0 or 1.
_OFFSETS = """
offsets as (
    select
        stream, offset, max(is_event) as is_event, max(is_arrival) as is_arrival,
        max(is_dead) as is_dead, max(is_erased) as is_erased
    from (
        select stream, offset, 1 as is_event, 0 as is_arrival, 0 as is_dead, 0 as is_erased
        from raw.events final
        union all
        select stream, offset, 0, 1, 0, 0 from raw.arrivals
        union all
        select stream, offset, 0, 0, 1, 0 from raw.dead_letters final
        union all
        select stream, offset, 0, 0, 0, 1 from raw.erased_offsets
    )
    where stream in (select stream from raw.ingest_ledger where topic = {topic:String})
        or position(stream, concat('/', {topic:String}, '/')) > 0
    group by stream, offset
)
"""

_RANGES = f"""
with
    {_OFFSETS},
    ranges as (
        select stream, first_offset, last_offset
        from raw.ingest_ledger final
        where topic = {{topic:String}} and kind = 'stored'
    )
select
    stream, found, countIf(is_event and not is_dead) as events,
    countIf(is_arrival and not is_event and not is_dead) as duplicates,
    countIf(is_dead and not is_event and not is_arrival) as dead,
    -- Accepted once and erased; when the range was read again, it was a dead letter.
    countIf(is_erased and not is_event and not is_arrival and not is_dead) as erased,
    groupArrayIf({EXAMPLES})(offset, is_dead and (is_event or is_arrival)) as contradictory,
    groupArrayIf({EXAMPLES})(offset, is_event and not is_arrival) as without_arrival,
    groupArrayIf({EXAMPLES})(offset, is_erased and (is_event or is_arrival)) as not_erased
from (
    select offsets.*, ranges.first_offset as found, ranges.last_offset as last_offset
    from offsets asof inner join ranges
    on offsets.stream = ranges.stream and offsets.offset >= ranges.first_offset
    where offset <= last_offset
)
group by stream, found
"""

_OUTSIDE = f"""
with
    {_OFFSETS},
    ranges as (
        select stream, first_offset, last_offset
        from raw.ingest_ledger final
        where topic = {{topic:String}} and kind = 'stored'
    )
select stream, groupArray({EXAMPLES})(offset), count()
from (
    select offsets.stream as stream, offsets.offset as offset, ranges.last_offset as last_offset
    from offsets asof left join ranges
    on offsets.stream = ranges.stream and offsets.offset >= ranges.first_offset
    where last_offset is null or offset > last_offset
)
group by stream
"""

# Accepted messages that are not the one that stands for their event: is their event there at all?
_VANISHED = f"""
with
    {_OFFSETS},
    claims as (
        select stream, offset, any(event_id) as id from raw.event_ids group by stream, offset
    ),
    stored as (select distinct UUIDStringToNum(toString(event_id)) as id from raw.events)
select offsets.stream as stream, groupArray({EXAMPLES})(offsets.offset), count()
from offsets left join claims
on offsets.stream = claims.stream and offsets.offset = claims.offset
where is_arrival and not is_event
    and (claims.id is null or claims.id not in (select id from stored))
group by stream
"""

_TWICE = f"""
select
    toString(event_id), groupArray(toString(stream)), groupArray(offset)
from raw.events final
group by event_id
having count() > 1 and countIf(position(stream, concat('/', {{topic:String}}, '/')) > 0) > 0
order by event_id limit {EXAMPLES}
"""


class RangeCount(Struct, frozen=True):
    """What is stored of one range of the ledger."""

    events: int = 0
    duplicates: int = 0
    dead: int = 0
    contradictory: tuple[int, ...] = ()
    without_arrival: tuple[int, ...] = ()
    erased: int = 0
    not_erased: tuple[int, ...] = ()


class StreamAccount(Struct):
    """The account of one stream, from its first offset to `end_offset` (not included)."""

    stream: str
    first_offset: int = 0
    end_offset: int = 0
    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    gaps: int = 0
    lost: int = 0
    erased: int = 0
    faults: list[str] = field(default_factory=list)


class Account(Struct):
    """All streams of a topic. Clean where there is no fault."""

    topic: str
    streams: list[StreamAccount]
    faults: list[str] = field(default_factory=list)

    @property
    def every_fault(self) -> list[str]:
        """The faults of all streams, with their stream, and those of none."""
        of_streams = [f"{each.stream}: {fault}" for each in self.streams for fault in each.faults]
        return [*of_streams, *self.faults]


def take_account(
    client: Client, topic: str, cluster_id: str, backlog: Iterable[Backlog]
) -> Account:
    """Account for every offset of the topic, in this cluster up to the end of its logs."""
    parameters = {"topic": topic}
    strict = {"join_use_nulls": 1}
    rows = read_rows(client, topic)
    counts: dict[str, dict[int, RangeCount]] = defaultdict(dict)
    for row in client.query(_RANGES, parameters=parameters, settings=strict).named_results():
        counts[row["stream"]][row["found"]] = RangeCount(
            row["events"],
            row["duplicates"],
            row["dead"],
            tuple(row["contradictory"]),
            tuple(row["without_arrival"]),
            row["erased"],
            tuple(row["not_erased"]),
        )
    by_stream: dict[str, list[LedgerRow]] = defaultdict(list)
    for each in rows:
        by_stream[str(each.stream)].append(each)
    accounts = {name: account_for(name, found, counts[name]) for name, found in by_stream.items()}

    for question, text in (
        (_OUTSIDE, "are stored in no range of the ledger"),
        (_VANISHED, "were accepted and their event is not there"),
    ):
        for stream, offsets, count in client.query(
            question, parameters=parameters, settings=strict
        ).result_rows:
            account = accounts.setdefault(stream, StreamAccount(stream))
            account.faults.append(f"{count:,} offsets {text}: {_examples(offsets, count)}")
    _compare_with_broker(accounts, topic, cluster_id, backlog)
    twice = [
        f"event {event_id} is stored {len(offsets)} times: offsets "
        + ", ".join(f"{o} of {s}" for s, o in zip(streams, offsets, strict=True))
        for event_id, streams, offsets in client.query(_TWICE, parameters=parameters).result_rows
    ]
    return Account(topic, [accounts[name] for name in sorted(accounts, key=parse_stream)], twice)


def account_for(
    stream: str, rows: Sequence[LedgerRow], counts: Mapping[int, RangeCount]
) -> StreamAccount:
    """The account of one stream from its ledger rows and what is stored of each stored range."""
    account = StreamAccount(stream)
    faults = account.faults
    ranges = sorted(
        (row for row in rows if row.kind in ("stored", "lost", "gap")),
        key=lambda row: (row.first_offset, -row.last_offset),
    )
    if ranges:
        account.first_offset = account.end_offset = ranges[0].first_offset
        if account.first_offset and not parse_stream(stream).epoch:
            faults.append(f"the ledger begins at {account.first_offset}")
    gaps_within: dict[int, int] = defaultdict(int)
    last_stored: LedgerRow | None = None
    for row in ranges:
        within = last_stored is not None and row.last_offset <= last_stored.last_offset
        if row.kind == "gap" and within and last_stored is not None:
            gaps_within[last_stored.first_offset] += row.messages
            account.gaps += row.messages
            continue
        if row.first_offset > account.end_offset:
            faults.append(
                f"the ledger has a hole from {account.end_offset} to {row.first_offset - 1}"
            )
        elif row.first_offset < account.end_offset:
            faults.append(
                f"the ledger has {row.first_offset} to "
                f"{min(row.last_offset, account.end_offset - 1)} twice"
            )
        account.end_offset = max(account.end_offset, row.last_offset + 1)
        if row.kind == "stored":
            last_stored = row
        elif row.kind == "gap":
            account.gaps += row.messages
        else:
            account.lost += row.messages
    for row in ranges:
        if row.kind == "stored":
            _check_range(account, row, counts.get(row.first_offset, RangeCount()),
                         gaps_within[row.first_offset])  # fmt: skip
    return account


def _check_range(account: StreamAccount, row: LedgerRow, count: RangeCount, gaps: int) -> None:
    account.events += count.events
    account.duplicates += count.duplicates
    account.dead_letters += count.dead
    account.erased += count.erased
    where = f"in {row.first_offset} to {row.last_offset}"
    accepted = count.events + count.duplicates + count.erased
    if accepted != row.accepted:
        account.faults.append(
            f"{accepted:,} accepted messages are stored {where}, {row.accepted:,} in the ledger"
        )
    if count.dead != row.dead:
        account.faults.append(
            f"{count.dead:,} dead letters are stored {where}, {row.dead:,} in the ledger"
        )
    known = row.accepted + row.dead + gaps
    if known != row.messages:
        account.faults.append(f"the ledger knows {known:,} of {row.messages:,} offsets {where}")
    if count.contradictory:
        account.faults.append(
            f"both accepted and dead letters {where}: {_examples(count.contradictory)}"
        )
    if count.without_arrival:
        account.faults.append(f"events without arrival {where}: {_examples(count.without_arrival)}")
    if count.not_erased:
        account.faults.append(
            f"erased and still stored {where} (run `tally erase` again): "
            f"{_examples(count.not_erased)}"
        )


def _compare_with_broker(
    accounts: dict[str, StreamAccount], topic: str, cluster_id: str, backlog: Iterable[Backlog]
) -> None:
    for partition in backlog:
        if partition.is_covered:
            continue
        own = [
            each
            for name, each in accounts.items()
            if (found := parse_stream(name)).cluster_id == cluster_id
            and (found.topic, found.partition) == (topic, partition.partition)
        ]
        name = str(Stream(cluster_id, topic, partition.partition))
        account = (
            max(own, key=lambda a: parse_stream(a.stream).epoch)
            if own
            else accounts.setdefault(name, StreamAccount(name))
        )
        if partition.next_offset < partition.end_offset:
            account.faults.append(
                f"not stored yet: {partition.next_offset} to {partition.end_offset - 1}"
            )
        else:
            account.faults.append(
                f"the ledger ends at {partition.next_offset}, the broker's log at "
                f"{partition.end_offset}"
            )


def _examples(offsets: Sequence[int], count: int | None = None) -> str:
    more = ", ..." if (len(offsets) if count is None else count) > len(offsets[:EXAMPLES]) else ""
    return ", ".join(str(offset) for offset in sorted(offsets)[:EXAMPLES]) + more
