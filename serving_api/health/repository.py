"""What readiness and the health of the warehouse ask it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serving_api.warehouse import Warehouse

REQUIRED_RELATIONS = frozenset(
    {
        "freshness",
        "materialization_backlog",
        "touched_days_live",
        "user_cards",
        "user_days_touched",
        "user_stats_closed",
        "user_stats_touched",
    }
)

_RELATIONS = """
select name from system.tables where database = 'marts' and name in {names:Array(String)}
"""
_MATERIALIZED_AT = "select materialized_at from marts.freshness"
_INGESTION = """
with newest as (
    select
        count() as batches,
        if(batches = 0, null, max(stored_at)) as last_batch_at,
        countIf(stored_at > now64(3, 'UTC') - interval 1 day) as batches_of_day,
        sumIf(accepted, stored_at > now64(3, 'UTC') - interval 1 day) as accepted,
        sumIf(dead, stored_at > now64(3, 'UTC') - interval 1 day) as dead_letters
    from raw.ingest_ledger final
    where kind = 'stored'
),

losses as (
    select sum(last_offset - first_offset + 1) as lost
    from raw.ingest_ledger final
    where kind = 'lost' and stored_at > now64(3, 'UTC') - interval 1 day
)

select
    freshness.status as status,
    freshness.held_by as held_by,
    freshness.watermark as watermark,
    freshness.lag_seconds as lag_seconds,
    freshness.materialized_at as materialized_at,
    newest.last_batch_at as last_batch_at,
    newest.batches_of_day as batches,
    newest.accepted as accepted,
    newest.dead_letters as dead_letters,
    losses.lost as lost
from marts.freshness as freshness
cross join newest
cross join losses
"""


@dataclass(frozen=True, slots=True)
class MartsHealth:
    """What is missing of the marts, and when they were last materialized."""

    missing_relations: frozenset[str]
    materialized_at: datetime | None


class HealthRepository:
    """Asks the warehouse whether it can serve."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def marts(self) -> MartsHealth:
        """The state of the marts. Raises `WarehouseUnavailableError`."""
        found = await self._warehouse.query(_RELATIONS, {"names": sorted(REQUIRED_RELATIONS)})
        missing = REQUIRED_RELATIONS - {name for (name,) in found.result_rows}
        if missing:
            return MartsHealth(missing, None)
        rows = (await self._warehouse.query(_MATERIALIZED_AT)).result_rows
        return MartsHealth(missing, rows[0][0] if rows else None)

    async def ingestion(self) -> dict[str, Any]:
        """The state of ingestion. Raises `WarehouseUnavailableError`."""
        (row,) = (await self._warehouse.query(_INGESTION)).named_results()
        return dict(row)
