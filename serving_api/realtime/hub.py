"""The open connections of this process, and what may end them while they are open.

Every process serves its own: each follows Kafka and the ledger by itself, so that none has to know
of another's connections.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Protocol

from serving_api.arrivals import Arrivals
from serving_api.clock import Clock
from serving_api.erasures import Erasures, erased_user
from serving_api.problems import ProblemError, no_room, too_many_connections
from serving_api.realtime.closing import Close, close_of
from serving_api.realtime.connection import Connection
from serving_api.realtime.metrics import RealtimeMetrics
from serving_api.security.keys import KeySet
from serving_api.security.tokens import LEEWAY_SECONDS, Principal, TokenVerifier

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
# A revoked key ends what it opened within a minute: two of these, and the time of a refresh.
VERIFY_SECONDS = 20.0
# How many tokens are looked at before others have their turn.
_VERIFIED_AT_ONCE = 200


class Open(Protocol):
    """A connection as far as its end is concerned."""

    token: str
    bearer: Principal

    def close(self, code: Close, why: str) -> None:
        """End it."""


class Hub:
    """Who is connected, who may be, and what their connections are told."""

    def __init__(
        self,
        arrivals: Arrivals,
        keys: KeySet,
        verifier: TokenVerifier,
        metrics: RealtimeMetrics,
        clock: Clock,
        *,
        erasures: Erasures,
        is_held: Callable[[], bool],
        per_subject: int,
        in_all: int,
    ) -> None:
        self._arrivals = arrivals
        self._erasures = erasures
        self._keys = keys
        self._verifier = verifier
        self._metrics = metrics
        self._clock = clock
        self._is_held = is_held
        self._per_subject = per_subject
        self._in_all = in_all
        self._open: set[Open] = set()
        self._counts: Counter[str] = Counter()
        self._users: dict[int, set[Connection]] = {}
        self._is_ending = False
        # Told after the reader, which by then has dropped what it knew of these users.
        arrivals.tell(self.numbers_changed)
        erasures.tell(self.end_erased)

    @contextmanager
    def holding(self, opened: Open) -> Iterator[None]:
        """Count a connection while it is open. Raises 429 and 503 where there are too many."""
        self.require_room(opened.bearer)
        name = opened.bearer.name
        self._open.add(opened)
        self._counts[name] += 1
        try:
            yield
        finally:
            self._open.discard(opened)
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]

    def require_room(self, bearer: Principal) -> None:
        """Raise 429 where the caller has as many as one may have, and 503 where all have."""
        if self._is_ending or len(self._open) >= self._in_all:
            raise no_room()
        if self._counts[bearer.name] >= self._per_subject:
            self._metrics.throttled.labels("connections").inc()
            raise too_many_connections(self._per_subject)

    @contextmanager
    def listening(self, connection: Connection) -> Iterator[None]:
        """Push to a player's connection while it is open, beginning with the whole state."""
        with self.holding(connection), self._metrics.sockets.track_inprogress():
            connections = self._users.setdefault(connection.user_id, set())
            connections.add(connection)
            self._arrivals.want(2 * SWEEP_SECONDS)
            self._erasures.want()
            connection.start()
            try:
                yield
            finally:
                connection.forget()
                connections.discard(connection)
                if not connections and self._users.get(connection.user_id) is connections:
                    del self._users[connection.user_id]

    def is_listening(self, user_id: int) -> bool:
        """Whether anything that is said of the user would be heard."""
        return user_id in self._users

    def push(self, user_id: int, frame: str, appended_at: float | None = None) -> None:
        """Send a frame to every connection of the user; see `Connection.push`."""
        for connection in self._users.get(user_id, ()):
            connection.push(frame, appended_at)

    def numbers_changed(self, users: Collection[int] | None) -> None:
        """Send these users their numbers anew; None is everyone."""
        for user_id in self._users.keys() if users is None else self._users.keys() & users:
            for connection in self._users[user_id]:
                connection.numbers_changed()

    def end_erased(self, users: Collection[int]) -> None:
        """End the connections of these users."""
        for user_id in self._users.keys() & users:
            for connection in self._users[user_id]:
                connection.close(*close_of(erased_user()))

    def end(self) -> None:
        """End every connection, because the process ends: clients come back to another one."""
        self._is_ending = True
        for opened in self._open:
            opened.close(Close.GOING_AWAY, "The server is restarting.")

    async def watch(self) -> None:
        """Look after the open connections until cancelled."""
        verified_at = time.monotonic()
        seen = self._world()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if not self._open:
                continue
            try:
                if self._users:
                    self._arrivals.want(2 * SWEEP_SECONDS)
                    self._erasures.want()
                self._end_expired()
                # Numbers change without an event: at midnight, while the warehouse is away, and
                # when a failed quality check begins or ends to hold them.
                if (world := self._world()) != seen:
                    seen = world
                    self.numbers_changed(None)
                if time.monotonic() - verified_at >= VERIFY_SECONDS:
                    verified_at = time.monotonic()
                    await self._end_revoked()
            except Exception:
                # A bug must not leave expired tokens connected for good.
                logger.exception("the open connections cannot be looked after")

    def _world(self) -> tuple[date, bool, bool]:
        # What is cached is fresh for as long as the last look is current: until then a warehouse
        # that cannot be reached changes nothing that could be told.
        may_be_fresh = self._arrivals.is_reachable or self._arrivals.is_current
        return self._clock().date(), may_be_fresh, self._is_held()

    def _end_expired(self) -> None:
        now = time.time() - LEEWAY_SECONDS
        for opened in [each for each in self._open if each.bearer.expires_at <= now]:
            opened.close(Close.TOKEN_EXPIRED, "The token has expired.")

    async def _end_revoked(self) -> None:
        await self._keys.refresh()
        for nth, opened in enumerate(list(self._open)):
            if nth % _VERIFIED_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                await self._verifier.verify(opened.token)
            except ProblemError as problem:
                opened.close(*close_of(problem))
