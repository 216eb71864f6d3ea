"""How far the marts are behind the ingest ledger."""

from tally.settings import Settings
from tally.warehouse import connect


def messages_behind(settings: Settings) -> int:
    """Stored messages that at least one mart has not seen; all of them before the first build."""
    client = connect(settings)
    try:
        built = client.command("exists marts.materialization_backlog")
        relation = (
            "select messages_behind from marts.materialization_backlog"
            if built
            else "select toInt64(last_offset - first_offset + 1) as messages_behind"
            " from raw.ingest_ledger final"
        )
        (row,) = client.query(f"select sum(messages_behind) from ({relation})").result_rows
        return int(row[0] or 0)
    finally:
        client.close()
