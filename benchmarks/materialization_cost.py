"""What a materialization costs: the same 20,000 new events on ever longer histories, and a rebuild.

    python -m benchmarks.materialization_cost --events 1000000 --events 10000000

For each size it fills a fresh embedded warehouse through `raw.landing`, as ingestion does, builds
the marts from nothing, and then times runs that each find 20,000 new events of the next day and 200
voids of rounds from anywhere in the past. dbt is imported and parsed before
(tests/dbt/warm_dbt.py).

The peer of the rebuild is DuckDB, in this process with as many threads, which makes `user_days` and
`user_game_days` from a Parquet file of the same rows. Prints seconds by the clock and by the CPU of
the warehouse, rows read and bytes stored.
"""

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import duckdb
from clickhouse_connect.driver import Client

from ingest.migrations import migrate
from tally.settings import Settings
from tally.warehouse import connect
from tests.dbt.warm_dbt import WarmDbt, warm_dbt
from tests.servers import RunningServer, start_clickhouse

# 20,000 of 50,000 players come on a day, and do five things each.
PLAYERS = 50_000
EVENTS_A_DAY = 100_000
ACTIVE_A_DAY = 20_000
NEW_EVENTS = 20_000
LATE_VOIDS = 200
RUNS = 5
INSERT_ROWS = 1_000_000
MARTS = ("run", "--select", "user_days", "user_game_days")
GOAL_GROWTH = 1.3

# Event `n` of the history: its day, its player, and what it is. One in five is a login.
_EVENTS = """
with
    intDiv(number, {per_day}) as day,
    (number % {per_day}) % {active} as player,
    intDiv(number % {per_day}, {active}) as nth,
    cityHash64(number) as random,
    nth > 0 as is_round,
    multiIf(not is_round, 'DAILY_LOGIN', random % 20 < 14, 'SLOT_SPIN', random % 20 < 17,
        'CRASH_ROUND', random % 20 < 19, 'RPS_PLAY', 'GACHA_SPIN') as action,
    multiIf(not is_round, '', random % 20 < 14, 'slot', random % 20 < 17, 'crash',
        random % 20 < 19, 'rps', 'gacha') as game,
    if(is_round, hex(toUnixTimestamp64Milli(at)) || hex(sipHash64(number)), '') as round,
    if(is_round, (1 + random % 10) * 100, 0) as stake,
    if(is_round and intDiv(random, 97) % 2 = 0, (1 + intDiv(random, 89) % 20) * 100, 0) as won,
    toDateTime64('2025-01-01 00:00:00', 3, 'UTC') + interval day day
        + interval (random % 86400000) millisecond as at
select
    'benchmark' as cluster_id, 'user-actions' as topic, 0 as partition, number as offset,
    'benchmark/user-actions/0' as stream, at as appended_at, at as received_at,
    generateUUIDv4(number) as event_id,
    -- Whoever comes on a day, their neighbours by number mostly do not.
    ((player + day * 7919) * 30011) % {players} + 1 as user_id,
    action as action_type, 'user' as initiator, at as occurred_at, 'benchmark' as source,
    1 as schema_version, round as round_id, if(is_round, '{state}', '') as round_state,
    game as game_type, stake as bet, won as payout, 1 as units, false as is_demo,
    if(
        is_round,
        concat('{{"round_id":"', round, '","state":"{state}","bet":', toString(stake), ',"payout":',
            toString(won), '}}'),
        '{{}}'
    ) as context
from {numbers}
"""
_LEDGER = """
insert into raw.ingest_ledger
    (stream, first_offset, last_offset, kind, cluster_id, topic, partition, accepted, dead)
values
    ('benchmark/user-actions/0', {first}, {last}, 'stored', 'benchmark', 'user-actions', 0,
        {count}, 0)
"""
_COLUMNS = (
    "cluster_id, topic, partition, offset, stream, appended_at, received_at, event_id, user_id,"
    " action_type, initiator, occurred_at, source, schema_version, round_id, round_state,"
    " game_type, bet, payout, units, is_demo, context"
)

_ROUNDS = """
rounds as (
    select
        user_id, round_id,
        arg_max(round_state, (occurred_at, event_id)) as state,
        max((occurred_at, event_id, game_type, bet, payout, is_demo))
            filter (where round_state = 'settled') as settled
    from events where round_id <> '' group by user_id, round_id
)
"""
_DUCKDB_USER_DAYS = f"""
create table user_days as
with
{_ROUNDS},
played as (
    select
        user_id, cast(settled[1] as date) as date, settled[3] as game_type,
        settled[4] as bet, settled[5] as payout
    from rounds where state = 'settled' and not settled[6]
),
games as (
    select
        user_id, date, count(*) as played,
        count(*) filter (where game_type <> 'gacha' and payout > bet) as wins,
        count(*) filter (where game_type <> 'gacha' and (payout < bet or payout = 0)) as losses,
        sum(bet) as bet_amount, sum(payout) as payout_amount
    from played group by user_id, date
),
activity as (
    select
        user_id, cast(occurred_at as date) as date, bool_or(initiator = 'user') as is_active,
        bool_or(action_type = 'DAILY_LOGIN') as has_daily_login,
        count(distinct event_id) as events
    from events group by user_id, date
)
select * from activity left join games using (user_id, date)
"""
_DUCKDB_USER_GAME_DAYS = f"""
create table user_game_days as
with
{_ROUNDS}
select
    user_id, cast(settled[1] as date) as date, settled[3] as game_type, count(*) as played,
    count(*) filter (where settled[3] <> 'gacha' and settled[5] > settled[4]) as wins,
    count(*) filter (where settled[3] <> 'gacha' and (settled[5] < settled[4] or settled[5] = 0))
        as losses,
    sum(settled[4]) as bet_amount, sum(settled[5]) as payout_amount
from rounds where state = 'settled' and not settled[6]
group by user_id, date, game_type
"""


@dataclass(frozen=True)
class Cost:
    """What one piece of work cost the warehouse."""

    seconds: float
    cpu_seconds: float
    read_rows: int


class Warehouse:
    """An embedded warehouse with a synthetic history."""

    def __init__(self, server: RunningServer, client: Client, dbt: WarmDbt) -> None:
        self.client = client
        self._server = server
        self._dbt = dbt
        self._next = 0

    def append(self, count: int) -> None:
        """The next `count` events of the history."""
        for first in range(self._next, self._next + count, INSERT_ROWS):
            self._insert(first, min(INSERT_ROWS, self._next + count - first))
        self._next += count

    def append_new(self) -> None:
        """20,000 events of a day that is not yet there, and voids of rounds of any day."""
        history = self._next
        self._next = -(-history // EVENTS_A_DAY) * EVENTS_A_DAY
        # Every fifth player of that day, with all that they do.
        self._insert(
            self._next,
            EVENTS_A_DAY,
            numbers=f"(select number from numbers({self._next}, {EVENTS_A_DAY})"
            f" where number % {ACTIVE_A_DAY} < {NEW_EVENTS // 5})",
        )
        self._next += EVENTS_A_DAY
        step = history // LATE_VOIDS
        self._insert(
            self._next,
            LATE_VOIDS,
            numbers=f"(select number * {step} + {ACTIVE_A_DAY} as number"
            f" from numbers({LATE_VOIDS}) where number < {history})",
            state="voided",
        )
        self._next += LATE_VOIDS

    def _insert(
        self, first: int, count: int, *, numbers: str | None = None, state: str = "settled"
    ) -> None:
        shape = {"per_day": EVENTS_A_DAY, "active": ACTIVE_A_DAY, "players": PLAYERS}
        events = _EVENTS.format(
            numbers=numbers or f"numbers({first}, {count})", state=state, **shape
        )
        if state == "voided":
            # A void comes a minute after its round, at an offset of now.
            events = (
                f"select * replace({first} + rowNumberInAllBlocks() as offset,"
                f" occurred_at + interval 1 minute as occurred_at) from ({events})"
            )
        self.client.command(
            f"insert into raw.landing ({_COLUMNS}) select {_COLUMNS} from ({events})"
        )
        self.client.command(_LEDGER.format(first=first, last=first + count - 1, count=count))

    def materialize(self, *options: str) -> Cost:
        """A run of dbt and what it cost."""
        started, cpu, rows = time.perf_counter(), self._cpu_seconds(), self._selected_rows()
        self._dbt.run(*MARTS, *options)
        return Cost(
            time.perf_counter() - started,
            self._cpu_seconds() - cpu,
            self._selected_rows() - rows,
        )

    def bytes_of(self, database: str, *tables: str) -> int:
        """Bytes on disk of the active parts."""
        names = ", ".join(f"'{table}'" for table in tables)
        (row,) = self.client.query(
            "select sum(bytes_on_disk) from system.parts"
            f" where active and database = '{database}' and table in ({names})"
        ).result_rows
        return int(row[0])

    def count(self, relation: str) -> int:
        """Rows of a relation."""
        (row,) = self.client.query(f"select count() from {relation}").result_rows
        return int(row[0])

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _selected_rows(self) -> int:
        (row,) = self.client.query(
            "select value from system.events where event = 'SelectedRows'"
        ).result_rows
        return int(row[0])


@contextmanager
def warehouse(folder: Path) -> Iterator[Warehouse]:
    """A fresh one with raw in place."""
    with start_clickhouse(folder / "clickhouse") as server:
        settings = Settings(home=folder / "home", clickhouse_url=server.url)
        client = connect(settings)
        for _ in migrate(client):
            pass
        with warm_dbt(settings, folder) as dbt:
            yield Warehouse(server, client, dbt)
        client.close()


def duckdb_rebuild(parquet: Path, folder: Path) -> Cost:
    """The same two tables made by DuckDB from the Parquet file."""
    with duckdb.connect(folder / "peer.duckdb") as database:
        database.execute("set timezone = 'UTC'")
        database.execute(f"create view events as select * from read_parquet('{parquet}')")
        started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        database.execute(_DUCKDB_USER_DAYS)
        database.execute(_DUCKDB_USER_GAME_DAYS)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        return Cost(time.perf_counter() - started, cpu, 0)


def measure(events: int, folder: Path, *, peer: bool) -> Cost:
    """Print what `events` of history cost; the median of the incremental runs."""
    with warehouse(folder) as there:
        there.append(events)
        stored = there.bytes_of("raw", "events", "round_events", "arrivals", "ingest_ledger")
        built = there.materialize("--full-refresh")
        user_days = there.count("marts.user_days")
        kept = there.bytes_of("marts", "user_days", "user_game_days")
        print(f"\n{events:,} events, {user_days:,} user-days")
        print(
            f"  stored         {stored / events:6.1f} bytes/event,"
            f" {kept / user_days:.1f} bytes/user-day"
        )
        print(_line("rebuild", built))
        if peer:
            parquet = folder / "events.parquet"
            there.client.command(
                f"insert into function file('{parquet}', Parquet) select user_id,"
                " toString(event_id) as event_id, toString(action_type) as action_type,"
                " toString(initiator) as initiator, occurred_at, round_id,"
                " toString(round_state) as round_state, toString(game_type) as game_type, bet,"
                " payout, is_demo from raw.events"
            )
            beside = duckdb_rebuild(parquet, folder)
            again = there.materialize("--full-refresh")
            print(_line("rebuild again", again))
            print(_line("DuckDB", beside))
            print(
                f"  Tally / DuckDB  {again.seconds / beside.seconds:.2f} by the clock,"
                f" {again.cpu_seconds / beside.cpu_seconds:.2f} by CPU"
            )
        runs = []
        for _ in range(RUNS):
            there.append_new()
            runs.append(there.materialize())
        median = Cost(
            statistics.median(run.seconds for run in runs),
            statistics.median(run.cpu_seconds for run in runs),
            int(statistics.median(run.read_rows for run in runs)),
        )
        idle = there.materialize()
        print(_line("20,000 new", median))
        print(_line("nothing new", idle))
        return median


def _line(what: str, cost: Cost) -> str:
    return (
        f"  {what:<14} {cost.seconds:7.2f} s  {cost.cpu_seconds:7.2f} s of CPU "
        f" {cost.read_rows:>13,} rows read"
    )


@click.command()
@click.option("--events", multiple=True, type=int, default=[1_000_000, 10_000_000])
@click.option("--peer/--no-peer", default=True, help="Rebuild in DuckDB too.")
def main(events: tuple[int, ...], peer: bool) -> None:
    """Measure each size in turn, the smallest first."""
    costs = {}
    for count in sorted(events):
        with tempfile.TemporaryDirectory(prefix="materialization-") as folder:
            costs[count] = measure(count, Path(folder), peer=peer)
    smallest, largest = min(costs), max(costs)
    if smallest == largest:
        return
    growth = costs[largest].seconds / costs[smallest].seconds
    cpu = costs[largest].cpu_seconds / costs[smallest].cpu_seconds
    print(
        f"\nthe same new events on {largest / smallest:.0f}x history: {growth:.2f}x, CPU {cpu:.2f}x"
    )
    # By CPU: the clock of a shared machine once said 0.62x, because the load fell between the two.
    print(f"goal {GOAL_GROWTH}x for 10x: {'met' if cpu <= GOAL_GROWTH else 'missed'}")


if __name__ == "__main__":
    main()
