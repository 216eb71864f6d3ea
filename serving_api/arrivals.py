"""Follows what ingestion makes readable: whose cached answers are old now, and which writes are in.

Each process of the API follows the ingest ledger by itself, so that several need not know of each
other. A ledger row says that its range is readable everywhere (docs/decisions/0002), so a user
whose row was dropped here is read anew with the event in it.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping

from serving_api.consistency import ConsistencyToken, is_stored
from serving_api.warehouse import Warehouse, WarehouseUnavailableError

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
# On a busy machine a look takes longer than usual; it must not become the load.
MAX_SHARE_OF_TIME = 1 / 3
TIMEOUT_SECONDS = 2.0
# How old the last look may be for "nothing has arrived since" to be believed.
CURRENT_SECONDS = 2.0
# With more messages than this between two looks (a replay of history) everyone is told of.
MAX_FOLLOWED = 20_000
# Of so many users it is remembered when events of theirs were seen, and of so many looks what they
# found, a quarter of an hour of steady traffic while nothing is published: some 10 MiB each.
MAX_REMEMBERED = 100_000
MAX_LOOKS = 10_000

_STORED = """
select toString(stream), toInt64(max(last_offset))
from raw.ingest_ledger
where kind != 'replaced'
group by stream
"""
_USERS = "select distinct user_id from raw.arrivals where {ranges}"

# Told of the users with new arrivals; None is everyone.
Listener = Callable[[Collection[int] | None], None]


class Newcomers:
    """Whose events became readable since some state of the ledger, look by look and without a gap.

    A state is the last readable offset of each stream.
    """

    def __init__(self) -> None:
        self._since: Mapping[str, int] | None = None
        self._looks: deque[tuple[int, Mapping[str, int]]] = deque()
        self._last_look_with: dict[int, int] = {}
        self._number = 0

    def add(self, state: Mapping[str, int], users: Collection[int] | None) -> None:
        """A look found this state, and these users since the one before; None: not known who."""
        is_full = len(self._last_look_with) > MAX_REMEMBERED or len(self._looks) >= MAX_LOOKS
        if users is None or is_full:
            self._since = state
            self._looks.clear()
            self._last_look_with.clear()
            return
        self._number += 1
        self._looks.append((self._number, state))
        self._last_look_with.update(dict.fromkeys(users, self._number))

    def among(self, users: Collection[int], seen: Mapping[str, int]) -> set[int] | None:
        """Those of `users` with events that are not in the state `seen`; may hold others of them.

        None where that is not known. What `seen` holds is forgotten: a reader's `seen` only grows.
        """
        while self._looks and _is_within(self._looks[0][1], seen):
            _, self._since = self._looks.popleft()
        if self._since is None or not _is_within(self._since, seen):
            return None
        first = self._looks[0][0] if self._looks else self._number + 1
        return {user for user in users if self._last_look_with.get(user, 0) >= first}


def _is_within(state: Mapping[str, int], seen: Mapping[str, int]) -> bool:
    return all(seen.get(stream, -1) >= offset for stream, offset in state.items())


class Arrivals:
    """The stored offsets, looked up every `POLL_SECONDS` while somebody cares."""

    def __init__(self, warehouse: Warehouse, topic: str) -> None:
        self._warehouse = warehouse
        self._topic = topic
        self._listeners: list[Listener] = []
        self._stored: Mapping[str, int] | None = None
        self._newcomers = Newcomers()
        self._looked_at = float("-inf")
        self._wanted_until = float("-inf")
        self._wanted = asyncio.Event()
        self._looked = asyncio.Event()
        self.is_reachable = True
        """Whether the last look found the warehouse."""

    def tell(self, listener: Listener) -> None:
        """Call `listener` with the users of new arrivals, before any waiter is woken."""
        self._listeners.append(listener)

    def want(self, seconds: float) -> None:
        """Keep looking for so long."""
        self._wanted_until = max(self._wanted_until, time.monotonic() + seconds)
        self._wanted.set()

    @property
    def followed_until(self) -> float:
        """Of everything that was readable by then (monotonic) the listeners have been told."""
        return self._looked_at

    @property
    def is_current(self) -> bool:
        """Whether a listener who has heard nothing may conclude that nothing has arrived."""
        return time.monotonic() - self._looked_at <= CURRENT_SECONDS

    def users_beyond(self, seen: Mapping[str, int], users: Collection[int]) -> set[int] | None:
        """Those of `users` with events beyond these offsets, as of `followed_until`.

        There may be others among them. None where who they are is not known: this process has not
        followed for long enough, or so much had arrived that it was not asked whose it was.
        """
        return self._newcomers.among(users, seen)

    async def wait_for(self, token: ConsistencyToken, seconds: float) -> bool:
        """Whether the writes of `token` are readable now or within `seconds`."""
        self.want(seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._has(token):
                    await self._looked.wait()
        return self._has(token)

    def _has(self, token: ConsistencyToken) -> bool:
        return self._stored is not None and is_stored(token, self._topic, self._stored)

    async def follow(self) -> None:
        """Look until cancelled."""
        while True:
            if time.monotonic() > self._wanted_until:
                self._wanted.clear()
                await self._wanted.wait()
            started = time.monotonic()
            try:
                await self._look(started)
                self.is_reachable = True
            except WarehouseUnavailableError as error:
                if self.is_reachable:
                    logger.warning("the ledger cannot be followed: %s", error)
                self.is_reachable = False
            except Exception:
                # A bug must not leave everyone without a cache for good.
                logger.exception("the ledger cannot be followed")
            looked, self._looked = self._looked, asyncio.Event()
            looked.set()
            spent = time.monotonic() - started
            await asyncio.sleep(max(POLL_SECONDS, spent / MAX_SHARE_OF_TIME - spent))

    async def _look(self, started: float) -> None:
        rows = await self._warehouse.query(_STORED, timeout_seconds=TIMEOUT_SECONDS)
        stored = {stream: last for stream, last in rows.result_rows}  # noqa: C416
        if stored != self._stored:
            users = await self._users_since(stored)
            self._newcomers.add(stored, users)
            for listener in self._listeners:
                listener(users)
            self._stored = stored
        self._looked_at = started

    async def _users_since(self, stored: Mapping[str, int]) -> Collection[int] | None:
        """The users of the messages between the last look and `stored`."""
        known = self._stored
        if known is None or any(stored.get(stream, -1) < at for stream, at in known.items()):
            return None  # the first look, or the warehouse is another one or was restored
        ranges = {
            stream: (known.get(stream, -1), last)
            for stream, last in stored.items()
            if last > known.get(stream, -1)
        }
        if sum(last - first for first, last in ranges.values()) > MAX_FOLLOWED:
            return None
        parameters: dict[str, str | int] = {}
        conditions = []
        # A condition for each stream, because only so does the index find its range.
        for nth, (stream, (first, last)) in enumerate(ranges.items()):
            parameters |= {f"stream{nth}": stream, f"first{nth}": first + 1, f"last{nth}": last}
            conditions.append(
                f"(stream = {{stream{nth}:String}} and offset >= {{first{nth}:UInt64}} "
                f"and offset <= {{last{nth}:UInt64}})"
            )
        sql = _USERS.format(ranges=" or ".join(conditions))
        found = await self._warehouse.query(sql, parameters, timeout_seconds=TIMEOUT_SECONDS)
        return frozenset(user_id for (user_id,) in found.result_rows)
