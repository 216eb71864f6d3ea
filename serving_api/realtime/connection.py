"""One open socket of a player: what waits to be sent, and in which order it goes.

An idle connection runs nothing but its endpoint's wait for the client. A task that sends exists
while there is something to send, and one that reads numbers while they are due.

A reader who is slow costs only themselves: numbers are read when they can be sent, so that however
often they change one state waits; of events the last `MAX_WAITING` wait, and where one was left out
a whole `initial_state` follows.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from serving_api.realtime.closing import Close
from serving_api.realtime.metrics import RealtimeMetrics
from serving_api.security.tokens import Principal
from serving_api.warehouse import WarehouseUnavailableError

logger = logging.getLogger(__name__)

MAX_WAITING = 100
# While the warehouse does not answer and nothing is known to be told.
RETRY_SECONDS = 2.0

# The frame of the user's numbers now: the whole state, or what an update says.
Numbers = Callable[[bool], Awaitable[str]]


class Connection:
    """Pushes frames to one socket. `push`, `numbers_changed` and `close` return at once."""

    __slots__ = (
        "_events",
        "_is_due",
        "_is_whole_due",
        "_metrics",
        "_numbers",
        "_ready",
        "_socket",
        "_tasks",
        "bearer",
        "is_closed",
        "token",
        "user_id",
    )

    def __init__(
        self,
        socket: WebSocket,
        token: str,
        bearer: Principal,
        user_id: int,
        *,
        numbers: Numbers,
        metrics: RealtimeMetrics,
    ) -> None:
        self.token = token
        self.bearer = bearer
        self.user_id = user_id
        self.is_closed = False
        self._socket = socket
        self._numbers = numbers
        self._metrics = metrics
        # Made for the first event: an empty one takes 0.8 kB.
        self._events: deque[tuple[str, float | None]] | None = None
        self._ready: str | None = None
        self._is_due = False
        self._is_whole_due = True
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Read and send the whole state; events that come meanwhile wait behind it."""
        self._is_due = True
        self._wake()

    def push(self, frame: str, appended_at: float | None = None) -> None:
        """Send a frame; `appended_at` is the broker's time of its event, Unix seconds."""
        if self.is_closed:
            return
        if self._events is None:
            self._events = deque()
        if len(self._events) >= MAX_WAITING:
            self._events.popleft()
            self._metrics.throttled.labels("dropped").inc()
            self._is_due = self._is_whole_due = True
        self._events.append((frame, appended_at))
        self._wake()

    def numbers_changed(self) -> None:
        """Send the numbers as they are when the client can take them."""
        if self._is_due or self._ready is not None:
            self._metrics.throttled.labels("superseded").inc()
        self._is_due = True
        self._wake()

    def close(self, code: Close, why: str) -> None:
        """End the connection; nothing more is sent."""
        if not self.is_closed:
            self.is_closed = True
            self._metrics.closed.labels(str(int(code))).inc()
            self._run("close", lambda: self._end(code, why))

    def forget(self) -> None:
        """The client is gone."""
        self.is_closed = True
        for task in self._tasks.values():
            task.cancel()
        self._events = None

    def _wake(self) -> None:
        """Have running what there is work for."""
        if self.is_closed:
            return
        if self._ready is not None or (self._events and not self._is_whole_due):
            self._run("send", self._send)
        if self._is_due and self._ready is None:
            self._run("read", self._read)

    def _run(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._finished(name, done))

    def _finished(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a connection ends by a bug", exc_info=error)
            self.close(Close.TRY_AGAIN_LATER, "Something went wrong on our side.")
        # Between a task's last look and its end something may have come.
        self._wake()

    async def _read(self) -> None:
        # One at a time, so that no older number is sent after a newer one.
        while self._is_due and self._ready is None and not self.is_closed:
            whole = self._is_whole_due
            self._is_due = False
            try:
                self._ready = await self._numbers(whole)
            except WarehouseUnavailableError as error:
                logger.debug("numbers wait: %s", error)
                self._is_due = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if whole:
                self._is_whole_due = False
            self._wake()

    async def _send(self) -> None:
        try:
            while not self.is_closed and (sent := self._next()) is not None:
                frame, appended_at = sent
                await self._socket.send_text(frame)
                if appended_at is not None:
                    lag = max(0.0, time.time() - appended_at) * 1000
                    self._metrics.event_lag.observe(lag)
        except (WebSocketDisconnect, RuntimeError):
            # The client left at this moment, or its pings ended; the endpoint is about to hear it.
            self.is_closed = True

    def _next(self) -> tuple[str, float | None] | None:
        """What goes next: events as they came, but none before the whole state."""
        if self._events and not (self._is_whole_due or self._ready):
            return self._events.popleft()
        if self._ready is not None:
            frame, self._ready = self._ready, None
            return frame, None
        return None

    async def _end(self, code: Close, why: str) -> None:
        try:
            await self._socket.close(int(code), why)
        except (WebSocketDisconnect, RuntimeError):
            return  # it was closed from the other side at that moment
