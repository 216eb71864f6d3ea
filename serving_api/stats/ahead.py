"""Reads answers before they are asked for: after a start, after each publication, at midnight.

Of the 12 ms that a statement takes for one user 10 are its planning, and for 100 users it takes 15
(docs/decisions/0020).
"""

import asyncio
import logging
import time
from typing import NamedTuple

from serving_api.arrivals import Arrivals
from serving_api.clock import Clock
from serving_api.stats.reader import CONFIRMED, StatsReader
from serving_api.stats.repository import MartsState, Question, StatsRepository
from serving_api.warehouse import WarehouseUnavailableError
from tally.settings import ActiveDayDefinition

logger = logging.getLogger(__name__)

# More at once would hold the event loop for longer than a warm answer may take, which nobody has
# asked for yet when a process starts.
TOGETHER = 100
TOGETHER_AT_FIRST = 500
SHARE_OF_TIME = 0.25
LOOK_SECONDS = 0.5
# A process that has just started is asked soon.
START_SECONDS = 60.0
# Nothing is given as fresh for longer than CONFIRMED of its times: it is read anew before that.
REREAD = CONFIRMED / 2


class _Pass(NamedTuple):
    """What the answers of everybody were read for."""

    began: float
    question: Question
    marts: MartsState


class ReadAhead:
    """Keeps the answers of `users` players known, as long as anybody asks for anything.

    The first time of those who were the last to come to the game, then of those who were the last
    to ask. With the games of each, because that answers the question without them too.
    """

    def __init__(
        self,
        repository: StatsRepository,
        reader: StatsReader,
        arrivals: Arrivals,
        clock: Clock,
        definition: ActiveDayDefinition,
        *,
        users: int,
        cache_seconds: float,
    ) -> None:
        self._repository = repository
        self._reader = reader
        self._arrivals = arrivals
        self._clock = clock
        self._definition = definition
        self._users = users
        self._reread_seconds = cache_seconds * REREAD
        self._last: _Pass | None = None

    async def follow(self) -> None:
        """Read until cancelled."""
        if self._users == 0:
            return
        self._arrivals.want(START_SECONDS)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            # Who does not follow the ledger would not know when an answer ends.
            if not self._arrivals.is_current:
                continue
            self._repository.keep_current()
            try:
                await self._read_what_is_due()
            except WarehouseUnavailableError as error:
                logger.info("answers are not read ahead: %s", error)
            except Exception:
                logger.exception("answers are not read ahead")

    async def _read_what_is_due(self) -> None:
        marts = self._repository.marts
        if marts is None:
            return
        now = time.monotonic()
        question = Question(self._clock().date(), self._definition, by_game=True)
        if (
            self._last is not None
            and self._last.question == question
            and self._last.marts.has_the_marts_of(marts)
            and now - self._last.began < self._reread_seconds
        ):
            return
        if self._last is None:
            users = await self._repository.latest_players(self._users)
            together, share = TOGETHER_AT_FIRST, 1.0
        else:
            users = self._reader.latest_users(self._users)
            together, share = TOGETHER, SHARE_OF_TIME
        for at in range(0, len(users), together):
            began = time.monotonic()
            some = users[at : at + together]
            await self._reader.read_ahead(some, question, now - self._reread_seconds / 2)
            spent = time.monotonic() - began
            await asyncio.sleep(spent / share - spent)
        self._last = _Pass(now, question, marts)
        logger.info("read the answers of %d players in %.1f s", len(users), time.monotonic() - now)
