"""What the warehouse holds: rows and bytes of every table."""

from dataclasses import dataclass

from clickhouse_connect.driver import Client

_TABLES = """
select database || '.' || name, toUInt64(total_rows), toUInt64(total_bytes)
from system.tables
where database in ('raw', 'marts', 'published') and total_rows is not null
order by total_bytes desc
"""


@dataclass(frozen=True)
class TableSize:
    """The stored rows of a table, superseded versions included, and their bytes on the disk."""

    name: str
    rows: int
    bytes: int


def table_sizes(client: Client) -> list[TableSize]:
    """Every table of raw and the marts, the largest first."""
    return [TableSize(*row) for row in client.query(_TABLES).result_rows]


def as_markdown(sizes: list[TableSize]) -> str:
    """A table for a person."""
    rows = [f"| {each.name} | {each.rows:,} | {each.bytes / 2**20:,.1f} |" for each in sizes]
    return "\n".join(["| table | rows | MiB |", "|---|---:|---:|", *rows])
