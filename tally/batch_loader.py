"""Turns many concurrent questions into few: the next query answers what was asked during this one.

Asking ClickHouse for 100 users costs three times one user, not a hundred times, so the queue that
forms under load is also what makes the load cheap. Without load nothing waits. What is written is
shared in the same way: what a small claim of event ids costs is mostly its statements.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
I = TypeVar("I")  # noqa: E741
R = TypeVar("R")

Fetch = Callable[[K, Sequence[I]], Awaitable[Mapping[I, R]]]


class LoaderFullError(Exception):
    """So many wait already that one more would not be answered in time."""


class BatchLoader(Generic[K, I, R]):
    """Collects items by key and fetches them in batches.

    `fetch(key, items)` answers for every item; its error reaches every caller of that batch. An
    answer is always of a query that started after it was asked for, so nobody reads the past. What
    is asked for in one turn of the event loop shares one query from the first. A caller that is
    cancelled leaves the others alone. At most `max_waiting` callers wait.
    """

    def __init__(
        self,
        fetch: Fetch[K, I, R],
        *,
        max_batch: int = 500,
        max_in_flight: int = 2,
        max_waiting: int = 5_000,
    ) -> None:
        self._fetch = fetch
        self._max_waiting = max_waiting
        self._callers = 0
        self._max_batch = max_batch
        self._max_in_flight = max_in_flight
        self._waiting: dict[K, dict[I, list[asyncio.Future[R]]]] = {}
        self._queries: set[asyncio.Task[None]] = set()
        self._closed = False

    async def load(self, key: K, item: I) -> R:
        """The answer for one item. Raises what `fetch` raised, and `LoaderFullError`."""
        if self._closed:
            raise RuntimeError("the loader is closed")
        if self._callers >= self._max_waiting:
            raise LoaderFullError(f"{self._callers} callers wait already")
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, {}).setdefault(item, []).append(answer)
        self._callers += 1
        asyncio.get_running_loop().call_soon(self._start_queries)
        try:
            return await answer
        except asyncio.CancelledError:
            self._leave(key, item, answer)
            raise
        finally:
            self._callers -= 1

    async def aclose(self) -> None:
        """Cancel the queries under way, and everyone who waits."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for batch in waiting.values():
            _cancel(batch)
        for query in self._queries:
            query.cancel()
        await asyncio.gather(*self._queries, return_exceptions=True)

    def _start_queries(self) -> None:
        while not self._closed and self._waiting and len(self._queries) < self._max_in_flight:
            key, batch = self._next_batch()
            query = asyncio.create_task(self._answer(key, batch))
            self._queries.add(query)
            query.add_done_callback(self._finished)

    def _next_batch(self) -> tuple[K, dict[I, list[asyncio.Future[R]]]]:
        """Take the key that waits longest; what is over the limit queues again, as the last."""
        key = next(iter(self._waiting))
        waiting = list(self._waiting.pop(key).items())
        if len(waiting) > self._max_batch:
            self._waiting[key] = dict(waiting[self._max_batch :])
        return key, dict(waiting[: self._max_batch])

    async def _answer(self, key: K, batch: dict[I, list[asyncio.Future[R]]]) -> None:
        try:
            results = await self._fetch(key, list(batch))
            for item, answers in batch.items():
                for answer in answers:
                    if not answer.done():
                        answer.set_result(results[item])
        except asyncio.CancelledError:
            _cancel(batch)
            raise
        except Exception as error:
            for answers in batch.values():
                for answer in answers:
                    if not answer.done():
                        answer.set_exception(error)

    def _finished(self, query: asyncio.Task[None]) -> None:
        self._queries.discard(query)
        self._start_queries()

    def _leave(self, key: K, item: I, answer: asyncio.Future[R]) -> None:
        """Take a cancelled caller out of the queue, so that no query asks for nobody."""
        batch = self._waiting.get(key, {})
        answers = batch.get(item, [])
        if answer in answers:
            answers.remove(answer)
            if not answers:
                del batch[item]
            if not batch:
                del self._waiting[key]


def _cancel(batch: Mapping[I, list[asyncio.Future[R]]]) -> None:
    for answers in batch.values():
        for answer in answers:
            answer.cancel()
