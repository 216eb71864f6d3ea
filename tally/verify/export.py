"""Copies raw and the marts out of the warehouse into a DuckDB database, as they are stored."""

from collections.abc import Callable

import duckdb
import pyarrow as pa
from clickhouse_connect.driver import Client

from tally.warehouse import stream_arrow

# Every stored row, duplicates too: removing them is what is to be proven.
_RAW_EVENTS = """
select
    user_id, toString(event_id) as event_id, toString(action_type) as action_type, occurred_at,
    session_id, context, received_at, toString(stream) as stream, offset
from raw.events
"""
_RAW_DEAD_LETTERS = """
select
    toString(stream) as stream, offset, toString(reason) as reason, received_at,
    length(value) as bytes, replay_of
from raw.dead_letters
"""
_RAW_REPLAYS = "select toString(stream) as stream, offset from raw.dead_letter_replays"
_RAW_LEDGER = """
select
    toString(stream) as stream, first_offset, last_offset, toString(kind) as kind, accepted, dead,
    newest_appended_at, stored_at
from raw.ingest_ledger
"""
_RAW_RECORDED_HOURS = "select hour, recorded, arrived, compared_at from raw.recorded_hours"
RAW = {
    "raw_event": _RAW_EVENTS,
    "raw_dead_letter": _RAW_DEAD_LETTERS,
    "raw_replay": _RAW_REPLAYS,
    "raw_ledger": _RAW_LEDGER,
    "raw_recorded_hour": _RAW_RECORDED_HOURS,
}


def export_raw(
    warehouse: Client, into: duckdb.DuckDBPyConnection, progress: Callable[[str], None]
) -> None:
    """Fill the tables of `RAW`."""
    for table, query in RAW.items():
        copy(warehouse, query, into, table, progress)


def copy(
    warehouse: Client,
    query: str,
    into: duckdb.DuckDBPyConnection,
    table: str,
    progress: Callable[[str], None],
) -> None:
    """Make `table` of the rows of a query, a block at a time."""
    rows = 0
    into.execute(f"drop table if exists {table}")
    for block in stream_arrow(warehouse, query):
        _append(into, table, block)
        rows += block.num_rows
        progress(f"exported {rows:,} rows of {table}")


def _append(into: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    into.register("exported", rows)
    into.execute(f"create table if not exists {table} as select * from exported limit 0")
    into.execute(f"insert into {table} select * from exported")
    into.unregister("exported")
