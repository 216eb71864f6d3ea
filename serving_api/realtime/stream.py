"""`GET /api/metrics/stream`: the platform's snapshots as server-sent events, to one reader."""

import asyncio
import json
from collections.abc import AsyncGenerator

from serving_api.problems import ProblemError
from serving_api.realtime.closing import Close, close_of
from serving_api.realtime.hub import Hub
from serving_api.realtime.metrics import RealtimeMetrics
from serving_api.realtime.platform import Platform
from serving_api.security.tokens import Principal

HEARTBEAT_SECONDS = 15.0
RETRY_MS = 3_000


class Stream:
    """One reader. It keeps only where it is, so a slow one is told the newest and costs nothing."""

    def __init__(
        self, platform: Platform, metrics: RealtimeMetrics, token: str, bearer: Principal
    ) -> None:
        self.token = token
        self.bearer = bearer
        self._platform = platform
        self._metrics = metrics
        self._closed: tuple[Close, str] | None = None
        self._closing = asyncio.Event()

    def close(self, code: Close, why: str) -> None:
        """End the stream with an event that says why."""
        if self._closed is None:
            self._closed = code, why
            self._closing.set()
            self._metrics.closed.labels(str(int(code))).inc()

    async def events(self, hub: Hub, last_event_id: str | None) -> AsyncGenerator[bytes]:
        """The text of the stream, until the client leaves or `close` is called."""
        try:
            with hub.holding(self), self._metrics.streams.track_inprogress():
                async for text in self._told(last_event_id):
                    yield text
        except ProblemError as problem:  # the last room went to another one meanwhile
            self.close(*close_of(problem))
        if self._closed is not None:
            code, why = self._closed
            data = json.dumps({"code": int(code), "reason": why})
            yield f"event: close\ndata: {data}\n\n".encode()

    async def _told(self, last_event_id: str | None) -> AsyncGenerator[bytes]:
        yield f"retry: {RETRY_MS}\n\n".encode()
        told = last_event_id
        for event_id, body in self._platform.since(told):
            yield _event(event_id, body)
            told = event_id
        while self._closed is None:
            if not await self._something(told):
                yield b": heartbeat\n\n"
                continue
            news = self._platform.since(told)
            if len(news) > 1:
                self._metrics.throttled.labels("superseded").inc(len(news) - 1)
            for event_id, body in news[-1:]:
                yield _event(event_id, body)
                told = event_id

    async def _something(self, told: str | None) -> bool:
        """Whether there is news, or an end, before the next heartbeat is due."""
        change = asyncio.create_task(self._platform.is_news_after(told, HEARTBEAT_SECONDS))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({change, closing}, return_when=asyncio.FIRST_COMPLETED)
            return closing.done() or change.result()
        finally:
            change.cancel()
            closing.cancel()


def _event(event_id: str, body: bytes) -> bytes:
    return b"id: %s\nevent: snapshot\ndata: %s\n\n" % (event_id.encode(), body)
