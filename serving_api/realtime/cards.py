"""Tells the connected users what their cards show once the warehouse has counted what happened."""

import logging

from serving_api.arrivals import Arrivals
from serving_api.clock import Clock
from serving_api.consistency import ConsistencyToken
from serving_api.identity.repository import IdentityRepository
from serving_api.realtime.frames import ProfileChanges, ProfileUpdate, frame
from serving_api.realtime.hub import Hub
from serving_api.warehouse import WarehouseUnavailableError

logger = logging.getLogger(__name__)

STORED_SECONDS = 30.0


class Cards:
    """Level and gold as `/api/auth/profile` answers them.

    Not as the event says them: it may be late, and an older balance than the card's.
    """

    def __init__(
        self, arrivals: Arrivals, identity: IdentityRepository, hub: Hub, clock: Clock
    ) -> None:
        self._arrivals = arrivals
        self._identity = identity
        self._hub = hub
        self._clock = clock

    async def changed(self, user_id: int, token: ConsistencyToken) -> None:
        """Wait until the event of `token` is stored, then send the card as it is now."""
        try:
            if not await self._arrivals.wait_for(token, STORED_SECONDS):
                return
            card = await self._identity.card(user_id)
        except WarehouseUnavailableError as error:
            logger.debug("a card is not pushed: %s", error)
            return
        changes = ProfileChanges()
        if card.level is not None:
            changes.level = card.level
        if card.gold_balance is not None:
            changes.gold_balance = card.gold_balance
        told = frame("profile_update", user_id, ProfileUpdate(changes), self._clock())
        self._hub.push(user_id, told)
