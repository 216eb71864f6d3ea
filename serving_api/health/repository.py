"""What readiness asks the warehouse."""

from dataclasses import dataclass
from datetime import datetime

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
