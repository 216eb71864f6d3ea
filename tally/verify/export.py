"""Copies raw and the marts out of the warehouse, as they are stored, into a DuckDB database."""

from collections.abc import Callable

import duckdb
import pyarrow as pa
from clickhouse_connect.driver import Client

# Every stored row, duplicates too: removing them is what is to be proven.
_RAW_EVENTS = """
select
    user_id, toString(event_id) as event_id, toString(action_type) as action_type, occurred_at,
    context, received_at, toString(stream) as stream, offset
from raw.events
"""
_RAW_DEAD_LETTERS = """
select toString(stream) as stream, offset, toString(reason) as reason from raw.dead_letters
"""
_USER_DAYS = """
select
    user_id, date, is_active, has_daily_login, events, played, wins, losses, draws, no_outcome,
    bet_amount, payout_amount
from marts.user_days final
"""
_USER_GAME_DAYS = """
select
    user_id, date, game_type, played, wins, losses, draws, no_outcome, bet_amount, payout_amount
from marts.user_game_days final
"""

EXPORTS = {
    "raw_event": _RAW_EVENTS,
    "raw_dead_letter": _RAW_DEAD_LETTERS,
    "mart_user_days": _USER_DAYS,
    "mart_user_game_days": _USER_GAME_DAYS,
}


def export(
    warehouse: Client, into: duckdb.DuckDBPyConnection, progress: Callable[[str, int], None]
) -> None:
    """Fill the tables of `EXPORTS`, a block at a time; `progress(table, rows so far)` is told."""
    for table, query in EXPORTS.items():
        rows = 0
        into.execute(f"drop table if exists {table}")
        with warehouse.query_arrow_stream(query) as blocks:
            for block in blocks:
                batch = block if isinstance(block, pa.Table) else pa.Table.from_batches([block])
                _append(into, table, batch)
                rows += batch.num_rows
                progress(table, rows)
        if rows == 0:
            # A stream without a block has no schema to make the table from.
            _append(into, table, warehouse.query_arrow(f"select * from ({query}) limit 0"))


def _append(into: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    into.register("exported", rows)
    into.execute(f"create table if not exists {table} as select * from exported limit 0")
    into.execute(f"insert into {table} select * from exported")
    into.unregister("exported")
