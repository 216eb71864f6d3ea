"""What a card shows beside the statistics."""

from dataclasses import dataclass

from serving_api.warehouse import Warehouse

_CARD = "select level, gold_balance from marts.user_cards(user_ids = {user_ids:Array(UInt64)})"


@dataclass(frozen=True, slots=True)
class Card:
    """Level and gold balance; None before the first event that says so."""

    level: int | None
    gold_balance: int | None


class IdentityRepository:
    """Reads cards."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def card(self, user_id: int) -> Card:
        """One user's card. Raises `WarehouseUnavailableError`."""
        rows = (await self._warehouse.query(_CARD, {"user_ids": [user_id]})).result_rows
        return Card(*rows[0]) if rows else Card(None, None)
