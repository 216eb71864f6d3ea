"""Who was erased: nothing is answered about them, whatever a cache still knows."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any

from serving_api.problems import ProblemError
from serving_api.warehouse import Warehouse, WarehouseUnavailableError
from tally.erasure import MARK, USERS

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
TIMEOUT_SECONDS = 1.0
# An answer goes by a list of this age or younger, while the warehouse can be asked.
CURRENT_SECONDS = 2.0
# So long after the last question the list is still followed; an idle process asks nothing.
WANTED_SECONDS = 10.0

# Told of users who were erased a moment ago.
Listener = Callable[[Collection[int]], None]


def erased_user() -> ProblemError:
    """404 for an erased user, on every route that is about a user."""
    return ProblemError(
        HTTPStatus.NOT_FOUND,
        "erased-user",
        "This user was erased",
        "Nothing is kept of this user, and nothing is taken.",
    )


class Erasures:
    """The list of erased users, followed while somebody asks.

    While the warehouse is away it is the list as last seen; nobody can be put on it meanwhile.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._users: frozenset[int] = frozenset()
        self._mark: tuple[Any, ...] | None = None
        self._listeners: list[Listener] = []
        self._tried_at = float("-inf")
        self._looking = asyncio.Lock()
        self._wanted_until = float("-inf")
        self._wanted = asyncio.Event()

    def tell(self, listener: Listener) -> None:
        """Call `listener` with users as soon as they are known to be erased."""
        self._listeners.append(listener)

    def want(self, seconds: float = WANTED_SECONDS) -> None:
        """Keep looking for so long."""
        self._wanted_until = max(self._wanted_until, time.monotonic() + seconds)
        self._wanted.set()

    async def has(self, user_id: int) -> bool:
        """Whether the user was erased, by a list of the last seconds."""
        self.want()
        if user_id not in self._users and self._is_old(CURRENT_SECONDS):
            await self._look(CURRENT_SECONDS)
        return user_id in self._users

    async def follow(self) -> None:
        """Look until cancelled."""
        while True:
            if time.monotonic() > self._wanted_until:
                self._wanted.clear()
                await self._wanted.wait()
            await self._look(POLL_SECONDS)
            await asyncio.sleep(POLL_SECONDS)

    def _is_old(self, seconds: float) -> bool:
        return time.monotonic() - self._tried_at > seconds

    async def _look(self, seconds: float) -> None:
        """Ask, unless somebody did within so many seconds."""
        async with self._looking:
            if not self._is_old(seconds):
                return
            try:
                await self._read()
            except WarehouseUnavailableError as error:
                logger.debug("the list of erased users cannot be read: %s", error)
            except Exception:
                logger.exception("the list of erased users cannot be read")
            self._tried_at = time.monotonic()

    async def _read(self) -> None:
        (row,) = (await self._warehouse.query(MARK, timeout_seconds=TIMEOUT_SECONDS)).result_rows
        if (mark := tuple(row)) == self._mark:
            return
        found = await self._warehouse.query(USERS, timeout_seconds=TIMEOUT_SECONDS)
        users = frozenset(user_id for (user_id,) in found.result_rows)
        new, self._users, self._mark = users - self._users, users, mark
        if new:
            for listener in self._listeners:
                listener(new)
