"""The API's way into ClickHouse: connects late, and tells what may pass from what is a bug."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp
from clickhouse_connect.driver import AsyncClient
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from clickhouse_connect.driver.query import QueryResult
from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge

from serving_api.problems import ProblemError
from tally.settings import Settings
from tally.warehouse import MARTS, connect_async

logger = logging.getLogger(__name__)

REQUEST_DEADLINE_SECONDS = 5.0

# More at once than cores only makes each of them slower; the batch loader needs four.
MAX_QUERIES = 8
# A query takes tens of milliseconds: who is behind so many would not be answered in time.
MAX_WAITING = 200

# ClickHouse error codes that pass: unknown table or database (the marts are not built yet), time
# limit, too many queries, memory limit, network.
_PASSING_CODES = frozenset({60, 81, 159, 202, 209, 210, 241, 425})


class WarehouseUnavailableError(Exception):
    """The warehouse is away, overloaded, too slow or not yet built; trying again may help."""


@asynccontextmanager
async def answering(request: Request) -> AsyncGenerator[None]:
    """The deadline of a request that reads the warehouse; 503 where there is no answer by then."""
    try:
        async with asyncio.timeout(REQUEST_DEADLINE_SECONDS):
            yield
    except (TimeoutError, WarehouseUnavailableError) as error:
        reason = error if str(error) else "no answer within the request's deadline"
        logger.warning("no answer for request %s: %s", request.scope["request_id"], reason)
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "warehouse-unavailable",
            "The numbers cannot be read right now",
            "Try again after the time in Retry-After.",
            headers={"Retry-After": "2"},
        ) from error


class PoolMetrics:
    """How busy the API's way into the warehouse is, and how often it fails."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.running = Gauge(
            "tally_api_warehouse_queries_running",
            f"Queries under way, of at most {MAX_QUERIES}.",
            registry=registry,
        )
        self.waiting = Gauge(
            "tally_api_warehouse_queries_waiting",
            f"Queries that wait for their turn, of at most {MAX_WAITING}.",
            registry=registry,
        )
        self.unavailable = Counter(
            "tally_api_warehouse_unavailable",
            "Queries without an answer: the warehouse was away, overloaded or too slow.",
            registry=registry,
        )


class Warehouse:
    """Queries of the API; connects with the first one, so that the API can start before it.

    At most `MAX_QUERIES` run at a time and `MAX_WAITING` wait for their turn.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        timeout_seconds: float = 4.0,
        metrics: PoolMetrics | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics or PoolMetrics()
        self._timeout_seconds = timeout_seconds
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._slots = asyncio.Semaphore(MAX_QUERIES)
        self._waiting = 0

    async def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> QueryResult:
        """Run one query with bound parameters.

        Raises `WarehouseUnavailableError` for what may pass; an error of the query itself is a bug
        and comes as ClickHouse reports it.
        """
        try:
            return await self._query(sql, parameters, timeout_seconds or self._timeout_seconds)
        except WarehouseUnavailableError:
            self._metrics.unavailable.inc()
            raise

    async def _query(
        self, sql: str, parameters: Mapping[str, Any] | None, timeout_seconds: float
    ) -> QueryResult:
        if self._waiting >= MAX_WAITING:
            raise WarehouseUnavailableError(f"{self._waiting} queries wait already")
        try:
            async with asyncio.timeout(timeout_seconds), self._turn():
                client = await self._connected()
                return await client.query(sql, parameters=dict(parameters or {}))
        except (TimeoutError, OSError, aiohttp.ClientError, OperationalError) as error:
            raise WarehouseUnavailableError(f"{type(error).__name__}: {error}") from error
        except DatabaseError as error:
            if error.code in _PASSING_CODES:
                raise WarehouseUnavailableError(str(error)) from error
            raise

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        self._waiting += 1
        try:
            with self._metrics.waiting.track_inprogress():
                await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            with self._metrics.running.track_inprogress():
                yield
        finally:
            self._slots.release()

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await connect_async(self._settings, MARTS)
            return self._client

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
