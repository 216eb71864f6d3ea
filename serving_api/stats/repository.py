"""The one query behind a player's statistics."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Histogram

from serving_api.stats.loader import BatchLoader
from serving_api.warehouse import Warehouse, WarehouseUnavailableError
from tally.settings import ActiveDayDefinition

REQUEST_DEADLINE_SECONDS = 5.0

# No event is older than 2015-01-01 (the event contract), so for an earlier date every answer is
# that of the day before, and no window leaves the range of the warehouse's Date.
_BEFORE_THE_FIRST_EVENT = date(2014, 12, 31)

# The scalar is evaluated before the rest, so the freshness never promises more than the numbers
# hold. Asked users without a single event come back with nulls.
_USER_STATS = """
with (
    select tuple(watermark, lag_seconds, materialized_at) from marts.freshness
) as freshness
select
    asked.user_id as asked_user_id,
    freshness.1 as watermark,
    freshness.2 as lag_seconds,
    freshness.3 as materialized_at,
    stats.*
from (select arrayJoin({user_ids:Array(UInt64)}) as user_id) as asked
left join marts.user_stats_live(
    user_ids = {user_ids:Array(UInt64)},
    as_of = {as_of:Date},
    definition = {definition:String}
) as stats on stats.user_id = asked.user_id
"""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How current the warehouse was when the numbers were read."""

    watermark: datetime | None
    lag_seconds: float | None
    materialized_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reading:
    """One user's row of `marts.user_stats_live`, None for a user without events."""

    row: Mapping[str, Any] | None
    freshness: Freshness


class StatsMetrics:
    """How the batches come out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.batch_users = Histogram(
            "tally_stats_batch_users",
            "Users asked for in one warehouse query.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=registry,
        )
        self.query_seconds = Histogram(
            "tally_stats_query_seconds",
            "Duration of one warehouse query.",
            buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )


class StatsRepository:
    """Reads `marts.user_stats_live`; concurrent questions share queries."""

    def __init__(self, warehouse: Warehouse, metrics: StatsMetrics) -> None:
        self._warehouse = warehouse
        self._metrics = metrics
        self._loader = BatchLoader(self._fetch)

    async def read(self, user_id: int, as_of: date, definition: ActiveDayDefinition) -> Reading:
        """One user's numbers.

        Raises `WarehouseUnavailableError` when there is no answer within the deadline.
        """
        try:
            async with asyncio.timeout(REQUEST_DEADLINE_SECONDS):
                return await self._loader.load((definition, as_of), user_id)
        except TimeoutError as error:
            raise WarehouseUnavailableError("no answer within the request's deadline") from error

    async def _fetch(
        self, key: tuple[ActiveDayDefinition, date], user_ids: Sequence[int]
    ) -> Mapping[int, Reading]:
        definition, as_of = key
        started = time.perf_counter()
        result = await self._warehouse.query(
            _USER_STATS,
            {
                "user_ids": list(user_ids),
                "as_of": max(as_of, _BEFORE_THE_FIRST_EVENT),
                "definition": definition,
            },
        )
        self._metrics.batch_users.observe(len(user_ids))
        self._metrics.query_seconds.observe(time.perf_counter() - started)
        return {row["asked_user_id"]: _reading(row) for row in result.named_results()}

    async def aclose(self) -> None:
        """Stop what is under way."""
        await self._loader.aclose()


def _reading(row: Mapping[str, Any]) -> Reading:
    freshness = Freshness(row["watermark"], row["lag_seconds"], row["materialized_at"])
    # An aliased joined column is named after its table only where the names collide.
    return Reading(None if row["user_id"] is None else row, freshness)
