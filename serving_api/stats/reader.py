"""Answers a question from the cache, from the warehouse or, while that is away, from what is known.

`repository` knows the queries; here is when they are asked, and how fresh the answer may be called.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from datetime import date
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter

from serving_api.arrivals import Arrivals
from serving_api.consistency import ConsistencyToken
from serving_api.stats.cache import Entry, StatsCache
from serving_api.stats.repository import Question, StatsRepository
from serving_api.warehouse import WarehouseUnavailableError

logger = logging.getLogger(__name__)

AFTER_SECONDS = 2.0
PATIENCE_SECONDS = 3.5

# A page asks again when its own copy is old, which is when the cache's is: each such request would
# wait for the warehouse. So an answer is read anew in the last tenth of its time, many users in one
# query, where somebody asked for it within twice its time.
REFRESHED_IN_ITS_LAST = 0.1
KEPT_WARM = 2.0

# Where the ledger proves that an answer still holds it is not read anew, for so many of its times:
# numbers that were corrected without an arrival and without a publication are seen then.
CONFIRMED = 10

Status = Literal["fresh", "catching_up", "stale"]
"""`held` is decided by what the repository reads of the marts, not here."""


class ReaderMetrics:
    """Where answers come from."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = Counter(
            "tally_stats_answers",
            "Answers by where they came from: cache, warehouse, stale (the last known).",
            ("source",),
            registry=registry,
        )
        self.refreshed = Counter(
            "tally_stats_refreshed",
            "Answers that were read anew before they were old, because they had been asked for.",
            registry=registry,
        )
        self.read_ahead = Counter(
            "tally_stats_read_ahead",
            "Answers that were read before anybody asked, after a start or a publication.",
            registry=registry,
        )
        self.confirmed = Counter(
            "tally_stats_confirmed",
            "Answers that were not read anew, because the ledger proves that they hold.",
            registry=registry,
        )


class StatsReader:
    """One user's numbers, from the cache where nothing has arrived for the user since.

    Concurrent equal questions are asked once. A user whose events were stored is asked for anew as
    soon as `arrivals` has seen them, also where a question was under way at that moment.
    """

    def __init__(
        self,
        repository: StatsRepository,
        arrivals: Arrivals,
        metrics: ReaderMetrics,
        *,
        cache_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._arrivals = arrivals
        self._metrics = metrics
        self._cache_seconds = cache_seconds
        self._monotonic = monotonic
        self._cache = StatsCache()
        self._loading: dict[int, dict[tuple[Question, bool], asyncio.Task[Entry]]] = {}
        self._dropped: set[int] = set()
        # In the order in which they get old.
        self._aging: deque[tuple[float, int, Question]] = deque()
        arrivals.tell(self._forget)

    async def read(
        self,
        user_id: int,
        question: Question,
        after: ConsistencyToken | None = None,
        *,
        newest: bool = False,
        fallback: Question | None = None,
    ) -> tuple[Entry, Question, Status]:
        """The numbers, the question that they answer, and what may be said of them.

        `newest` asks the warehouse, whatever is known. While that is away the question may be
        `fallback`, where only its answer is known. Raises `WarehouseUnavailableError` where there
        is no answer.
        """
        self._arrivals.want(max(self._cache_seconds, AFTER_SECONDS))
        status: Status = "fresh"
        if after is not None and not await self._arrivals.wait_for(after, AFTER_SECONDS):
            status = "catching_up"
        self._cache.note_use(user_id)
        known = None if newest else self._fresh(user_id, question)
        if known is not None:
            known.asked_at = self._monotonic()
            self._metrics.answers.labels("cache").inc()
            return known, question, status
        last = self._last_known(user_id, question, fallback)
        if last is not None and not self._arrivals.is_reachable:
            return self._stale(last)
        try:
            # Who can be told something does not wait until the deadline.
            async with asyncio.timeout(None if last is None else PATIENCE_SECONDS):
                entry = await asyncio.shield(self._load(user_id, question, newest=newest))
        except (TimeoutError, WarehouseUnavailableError) as error:
            if last is None:
                raise
            logger.warning("answering with what is known of a user: %s", error)
            return self._stale(last)
        entry.asked_at = self._monotonic()
        self._metrics.answers.labels("warehouse").inc()
        return entry, question, status

    async def days(self, user_id: int, first: date, last: date) -> list[dict[str, Any]]:
        """One user's days, always from the warehouse; see `StatsRepository.days`."""
        return await self._repository.days(user_id, first, last)

    def latest_users(self, count: int) -> list[int]:
        """So many of the users of whom something is known, who asked last first."""
        return self._cache.latest(count)

    async def read_ahead(
        self, users: Collection[int], question: Question, read_since: float
    ) -> None:
        """Read for who may ask next what the cache does not know of the present marts.

        Nor since `read_since`, on the clock of this reader. Of whom the marts lack events nothing
        is read: the next event ends it. Raises `WarehouseUnavailableError`.
        """
        marts = self._repository.marts
        beyond = self._repository.beyond_marts(users) or set()
        loading = []
        for user_id in users:
            known = self._cache.find(user_id, question)
            is_of_the_marts = (
                known is not None
                and marts is not None
                and marts.has_the_marts_of(known.reading.state)
                and known.read_at >= read_since
            )
            if not is_of_the_marts and user_id not in beyond:
                loading.append(self._load(user_id, question))
        self._metrics.read_ahead.inc(len(loading))
        await asyncio.gather(*loading)

    async def keep_warm(self) -> None:
        """Read what is asked for again and again before it is old, until cancelled."""
        while self._cache_seconds > 0:
            # Often, so that no refresh is long: 250 users at once held the event loop for 25 ms.
            await asyncio.sleep(self._cache_seconds * REFRESHED_IN_ITS_LAST / 15)
            self.refresh()

    def refresh(self) -> None:
        """Confirm what is nearly old and was asked for lately, or begin to read it anew."""
        if not self._aging or not self._arrivals.is_reachable:
            return
        self._repository.keep_current()
        now = self._monotonic()
        soon = now + self._cache_seconds * REFRESHED_IN_ITS_LAST
        while self._aging and self._aging[0][0] <= soon:
            _, user_id, question = self._aging.popleft()
            entry = self._cache.find(user_id, question)
            # It may have been ended by arrivals, or replaced by one that will have its own turn.
            if (
                entry is not None
                and now < entry.fresh_until <= soon
                and now - entry.asked_at < self._cache_seconds * KEPT_WARM
                and not self._confirm(user_id, question, entry)
            ):
                self._load(user_id, question)
                self._metrics.refreshed.inc()

    def drop(self, users: Collection[int]) -> None:
        """Keep nothing of these users, who were erased, from now on."""
        self._dropped.update(users)
        self._cache.drop(users)

    async def aclose(self) -> None:
        """Stop what is under way."""
        tasks = [task for loading in self._loading.values() for task in loading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fresh(self, user_id: int, question: Question) -> Entry | None:
        """What is known and may be given as fresh."""
        if not self._arrivals.is_current:
            return None
        for asked in question.answered_by():
            entry = self._cache.find(user_id, asked)
            if entry is not None and (
                self._monotonic() < entry.fresh_until or self._confirm(user_id, asked, entry)
            ):
                return entry
        return None

    def _confirm(self, user_id: int, question: Question, entry: Entry) -> bool:
        """Let an answer whose time is over begin anew, where the ledger proves that it holds."""
        now = self._monotonic()
        has_arrivals = entry.fresh_until == float("-inf")
        if has_arrivals or now - entry.read_at >= self._cache_seconds * CONFIRMED:
            return False
        confirmed = self._repository.confirm(entry.reading, self._arrivals.followed_until)
        if confirmed is None:
            return False
        entry.reading = confirmed
        entry.bodies.clear()
        entry.fresh_until = now + self._cache_seconds
        self._aging.append((entry.fresh_until, user_id, question))
        self._metrics.confirmed.inc()
        return True

    def _last_known(
        self, user_id: int, *questions: Question | None
    ) -> tuple[Entry, Question] | None:
        for question in filter(None, questions):
            for asked in question.answered_by():
                if entry := self._cache.find(user_id, asked):
                    return entry, asked
        return None

    def _stale(self, last: tuple[Entry, Question]) -> tuple[Entry, Question, Status]:
        self._metrics.answers.labels("stale").inc()
        return (*last, "stale")

    def _load(
        self, user_id: int, question: Question, *, newest: bool = False
    ) -> asyncio.Task[Entry]:
        """The query for an answer, one for all who ask."""
        loading = self._loading.setdefault(user_id, {})
        # What is cached is as of the last look at the ledger. Without a cache nobody expects that,
        # and without looks it would be too old.
        newest = newest or self._cache_seconds == 0 or not self._arrivals.is_current
        task = loading.get((question, True)) or (not newest and loading.get((question, False)))
        if not task:
            task = asyncio.create_task(self._ask(user_id, question, newest))
            loading[question, newest] = task
            task.add_done_callback(lambda done: self._finished(user_id, (question, newest), done))
        return task

    async def _ask(self, user_id: int, question: Question, newest: bool) -> Entry:
        asked_at = self._monotonic()
        reading = await self._repository.read(user_id, question, newest=newest)
        return Entry(reading, fresh_until=asked_at + self._cache_seconds, read_at=asked_at)

    def _finished(
        self, user_id: int, key: tuple[Question, bool], task: asyncio.Task[Entry]
    ) -> None:
        loading = self._loading.get(user_id, {})
        if is_last := loading.get(key) is task:
            del loading[key]
            if not loading:
                del self._loading[user_id]
        if task.cancelled() or task.exception() is not None or user_id in self._dropped:
            return
        entry, (question, _) = task.result(), key
        if not is_last:
            # Arrivals overtook it: good for who asked, and to be known as the last, but not fresh.
            entry.fresh_until = float("-inf")
        known = self._cache.find(user_id, question)
        if known is None or (is_last and known.read_at <= entry.read_at):
            if known is not None:
                entry.asked_at = max(entry.asked_at, known.asked_at)
            self._cache.keep(user_id, question, entry)
            if self._cache_seconds > 0:
                self._aging.append((entry.fresh_until, user_id, question))

    def _forget(self, users: Collection[int] | None) -> None:
        """Events of these users became readable: what was read before is old."""
        self._cache.expire(users)
        if users is None:
            self._loading.clear()
        else:
            for user_id in users:
                self._loading.pop(user_id, None)
