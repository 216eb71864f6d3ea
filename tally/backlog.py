"""How far the marts are behind the ingest ledger."""

from clickhouse_connect.driver import Client

_BEHIND = "select sum(messages_behind) from marts.materialization_backlog"
_STORED = "select sum(toInt64(last_offset - first_offset + 1)) from raw.ingest_ledger final"


def messages_behind(warehouse: Client) -> int:
    """Stored messages that at least one mart has not seen; all of them before the first build."""
    built = warehouse.command("exists marts.materialization_backlog")
    ((behind,),) = warehouse.query(_BEHIND if built else _STORED).result_rows
    return int(behind or 0)
