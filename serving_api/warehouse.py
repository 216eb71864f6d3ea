"""The API's way into ClickHouse: connects late, and tells what may pass from what is a bug."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
from clickhouse_connect.driver import AsyncClient
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from clickhouse_connect.driver.query import QueryResult

from tally.settings import Settings
from tally.warehouse import MARTS, connect_async

logger = logging.getLogger(__name__)

# ClickHouse error codes that pass: unknown table or database (the marts are not built yet), time
# limit, too many queries, memory limit, network.
_PASSING_CODES = frozenset({60, 81, 159, 202, 209, 210, 241, 425})


class WarehouseUnavailableError(Exception):
    """The warehouse is away, overloaded, too slow or not yet built; trying again may help."""


class Warehouse:
    """Queries of the API; connects with the first one, so that the API can start before it."""

    def __init__(self, settings: Settings, *, timeout_seconds: float = 4.0) -> None:
        self._settings = settings
        self._timeout_seconds = timeout_seconds
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> QueryResult:
        """Run one query with bound parameters.

        Raises `WarehouseUnavailableError` for what may pass; an error of the query itself is a bug
        and comes as ClickHouse reports it.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                client = await self._connected()
                return await client.query(sql, parameters=dict(parameters or {}))
        except (TimeoutError, OSError, aiohttp.ClientError, OperationalError) as error:
            raise WarehouseUnavailableError(f"{type(error).__name__}: {error}") from error
        except DatabaseError as error:
            if error.code in _PASSING_CODES:
                raise WarehouseUnavailableError(str(error)) from error
            raise

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await connect_async(self._settings, MARTS)
            return self._client

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
