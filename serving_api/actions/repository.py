"""A user's actions as they are stored."""

from typing import Any

from serving_api.warehouse import Warehouse

# Copies of an event are equal in all three columns of the order, so one of each is all of it.
_RECENT = """
select
    toString(event_id) as event_id, user_id, action_type, initiator, occurred_at, client_ts,
    session_id, source, context
from raw.events
where user_id = {user_id:UInt64}
order by occurred_at desc, toString(event_id) desc
limit 1 by event_id
limit {limit:UInt32}
"""


class ActionsRepository:
    """Reads actions."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def recent(self, user_id: int, limit: int) -> list[dict[str, Any]]:
        """The newest actions first. Raises `WarehouseUnavailableError`."""
        asked = {"user_id": user_id, "limit": limit}
        return list((await self._warehouse.query(_RECENT, asked)).named_results())
