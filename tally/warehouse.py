"""The one way into ClickHouse: clients with the session settings that keep numbers exact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver import AsyncClient, Client

from tally.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

RAW = "raw"
MARTS = "marts"
ANALYTICS = "analytics"

# Every session is in UTC (metrics.md: a day is the UTC date of `occurred_at`, never the session's),
# and an unmatched left join yields NULL, not a type default that would read as a real zero.
SESSION_SETTINGS = {"session_timezone": "UTC", "join_use_nulls": 1}


def _arguments(settings: Settings, database: str) -> dict[str, object]:
    url = urlsplit(settings.endpoint("clickhouse_url"))
    return {
        "interface": url.scheme,
        "host": url.hostname,
        "port": url.port or (8443 if url.scheme == "https" else 8123),
        "username": settings.clickhouse_user,
        "password": settings.clickhouse_password.get_secret_value(),
        "database": database,
        "settings": dict(SESSION_SETTINGS),
        # The sync client's own session fails under concurrent use.
        "autogenerate_session_id": False,
        "tz_mode": "aware",
    }


def connect(
    settings: Settings, database: str = "default", *, timeout_seconds: float = 300
) -> Client:
    """A synchronous client; safe for concurrent use because it keeps no server session."""
    return clickhouse_connect.get_client(
        **_arguments(settings, database),  # type: ignore[arg-type]
        send_receive_timeout=timeout_seconds,
    )


async def connect_async(settings: Settings, database: str = "default") -> AsyncClient:
    """An asynchronous client."""
    return await clickhouse_connect.get_async_client(**_arguments(settings, database))  # type: ignore[arg-type]


def stream_arrow(client: Client, query: str) -> Iterator[pa.Table]:
    """The rows of a query, a block at a time; an empty result is one table that has its columns."""
    import pyarrow as pa

    is_empty = True
    with client.query_arrow_stream(query) as blocks:
        for block in blocks:
            is_empty = False
            yield block if isinstance(block, pa.Table) else pa.Table.from_batches([block])
    if is_empty:
        yield client.query_arrow(f"select * from ({query}) limit 0")
