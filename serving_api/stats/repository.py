"""The queries behind a player's statistics."""

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Gauge, Histogram

from serving_api.arrivals import Arrivals
from serving_api.warehouse import Warehouse, WarehouseUnavailableError
from tally.batch_loader import BatchLoader, LoaderFullError
from tally.metrics import metrics
from tally.settings import ActiveDayDefinition

# No event is older than 2015-01-01 (the event contract), so for an earlier date every answer is
# that of the day before, and no window leaves the range of the warehouse's Date.
_BEFORE_THE_FIRST_EVENT = date(2014, 12, 31)

# How far the marts are: per stream the offset up to which all of them have seen the arrivals. Any
# older state than the current one is as good, it only makes more days count as touched.
_MARTS_STATE = """
with (
    select tuple(groupArray(toString(stream)), groupArray(materialized_offset))
    from marts.materialization_backlog
) as seen
select seen.1 as streams, seen.2 as offsets, status, watermark, lag_seconds, materialized_at
from marts.freshness
"""
MARTS_STATE_SECONDS = 1.0
MAX_MARTS_STATE_SECONDS = 5.0

# Who has touched days at all, where following the ledger has not told it.
_TOUCHED_USERS = """
select distinct user_id
from raw.arrivals
where
    user_id in {user_ids:Array(UInt64)}
    and toInt64(offset)
    > transform(toString(stream), {streams:Array(String)}, {offsets:Array(Int64)}, toInt64(-1))
"""

_TOUCHED_DAYS = """
select user_id, date
from marts.touched_days_live(
    user_ids = {user_ids:Array(UInt64)},
    streams = {streams:Array(String)},
    offsets = {offsets:Array(Int64)}
)
"""

_LATEST_PLAYERS = """
select user_id
from published.user_days
group by user_id
order by max(date) desc, user_id
limit {count:UInt64}
"""

_CLOSED = "user_ids = {user_ids:Array(UInt64)}, as_of = {as_of:Date}"
_TOUCHED = f"""
    {_CLOSED},
    touched = {{touched:Array(Tuple(UInt64, Date))}},
    first_touched = {{first_touched:Date}},
    last_touched = {{last_touched:Date}}
"""
_RANGE = "from_date = {from_date:Date}, to_date = {to_date:Date}"
_DEFINITION = "definition = {definition:String}"
_CLOSED_STATS = f"select * from marts.user_stats_closed({_CLOSED}, {_DEFINITION})"
_TOUCHED_STATS = f"select * from marts.user_stats_touched({_TOUCHED}, {_DEFINITION})"
_CLOSED_GAMES = f"select * from marts.user_games_closed({_CLOSED}) order by game_type"
_TOUCHED_GAMES = f"select * from marts.user_games_touched({_TOUCHED}) order by game_type"

_DAYS = f"""
select * from marts.user_days_touched({_TOUCHED.replace("as_of = {as_of:Date}", _RANGE)})
order by date
"""

# The totals over games, by the name of the metric that they are sums of.
_TOTALS = {
    metric.measure: metric.name
    for metric in metrics().values()
    if metric.section == "Games" and metric.measure is not None
}

# A parameter of ClickHouse holds 128 KiB (http_max_field_value_size), a touched day takes 32 bytes.
_MAX_TOUCHED_DAYS = 4_000


@dataclass(frozen=True, slots=True)
class Freshness:
    """How current the warehouse was when the numbers were read."""

    watermark: datetime | None
    lag_seconds: float | None
    materialized_at: datetime | None
    status: Literal["fresh", "held"] = "fresh"


@dataclass(frozen=True, slots=True)
class MartsState:
    """Up to which offset of each stream the marts are materialized, and the freshness of raw."""

    streams: Sequence[str]
    offsets: Sequence[int]
    freshness: Freshness

    def has_the_marts_of(self, other: "MartsState") -> bool:
        """Whether nothing was published between the two, and neither held nor let go."""
        return all(
            mine == theirs
            for mine, theirs in (
                (self.streams, other.streams),
                (self.offsets, other.offsets),
                (self.freshness.status, other.freshness.status),
                (self.freshness.materialized_at, other.freshness.materialized_at),
            )
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """One user's row of the marts, None for a user without events."""

    row: Mapping[str, Any] | None
    state: MartsState

    @property
    def freshness(self) -> Freshness:
        """How current the warehouse was."""
        return self.state.freshness


@dataclass(frozen=True, slots=True)
class Question:
    """What a user's numbers are asked for; equal questions of several users share queries."""

    as_of: date
    definition: ActiveDayDefinition
    by_game: bool = False

    def a_day_earlier(self) -> "Question":
        """The same question as it was asked yesterday."""
        return replace(self, as_of=self.as_of - timedelta(days=1))

    def answered_by(self) -> tuple["Question", ...]:
        """The questions whose answers hold this one's: itself, and the one with the games."""
        return (self,) if self.by_game else (self, replace(self, by_game=True))


class StatsMetrics:
    """How the batches come out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.batch_users = Histogram(
            "tally_stats_batch_users",
            "Users asked for in one warehouse query.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=registry,
        )
        self.query_seconds = Histogram(
            "tally_stats_query_seconds",
            "Duration of one warehouse query.",
            buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )
        self.held = Gauge(
            "tally_stats_held",
            "1 while a failed quality check holds the answers at the last good state.",
            registry=registry,
        )


class StatsRepository:
    """Reads the marts, exact up to the ingest ledger; concurrent questions share queries.

    Days that no arrival has touched since the last materialization are read from the marts. For the
    few users with touched days these are computed again from raw.
    """

    def __init__(self, warehouse: Warehouse, arrivals: Arrivals, metrics: StatsMetrics) -> None:
        self._warehouse = warehouse
        self._arrivals = arrivals
        self._metrics = metrics
        self._loader = BatchLoader(self._fetch)
        self._state: MartsState | None = None
        self._state_read_at = float("-inf")
        self._former_state: tuple[MartsState | None, float] = (None, float("-inf"))
        self._state_lock = asyncio.Lock()
        self._state_refresh: asyncio.Task[None] | None = None

    @property
    def is_held(self) -> bool:
        """Whether the last numbers were held at the last good state."""
        return self._state is not None and self._state.freshness.status == "held"

    async def read(self, user_id: int, question: Question, *, newest: bool = True) -> Reading:
        """One user's numbers. Raises `WarehouseUnavailableError`.

        `newest`: with all that is readable now; else with all that was when the ledger was looked
        at last, which costs a query less.
        """
        try:
            return await self._loader.load((question, newest), user_id)
        except LoaderFullError as error:
            raise WarehouseUnavailableError(str(error)) from error

    def confirm(self, reading: Reading, followed_until: float) -> Reading | None:
        """The reading as of now, where nothing can have changed it; else None.

        The caller has followed the arrivals until then (monotonic) and found none of its user. With
        the same marts the same numbers would be read. What the state knows is not promised before
        the arrivals up to it were followed.
        """
        state = self._state_read_by(followed_until)
        if state is None or not state.has_the_marts_of(reading.state):
            return None
        return replace(reading, state=state)

    def _state_read_by(self, moment: float) -> MartsState | None:
        """The newest state of the marts that was read before then, where it is not old.

        The ledger is followed ten times a second and the state read once: for a tenth of the time
        that is the state before the newest.
        """
        for state, read_at in ((self._state, self._state_read_at), self._former_state):
            if read_at <= moment:
                is_old = time.monotonic() - read_at > MAX_MARTS_STATE_SECONDS
                return None if is_old else state
        return None

    @property
    def marts(self) -> MartsState | None:
        """The newest state of the marts up to which the arrivals were followed."""
        return self._state_read_by(self._arrivals.followed_until)

    def beyond_marts(self, user_ids: Collection[int]) -> set[int] | None:
        """Those of the users with events that the marts lack; None where that is not known."""
        return None if self.marts is None else self._known_touched_users(user_ids, self.marts)

    async def latest_players(self, count: int) -> list[int]:
        """So many players, the last to have come first. Raises `WarehouseUnavailableError`."""
        found = await self._warehouse.query(_LATEST_PLAYERS, {"count": count})
        return [user_id for (user_id,) in found.result_rows]

    def keep_current(self) -> None:
        """Read the state of the marts in the background, where it is not of this second."""
        is_old = time.monotonic() - self._state_read_at > MARTS_STATE_SECONDS
        if is_old and not self._state_lock.locked():
            self._state_refresh = asyncio.create_task(self._refresh_marts_state())

    async def days(self, user_id: int, first: date, last: date) -> list[dict[str, Any]]:
        """One user's days with an event from `first` to `last`, in their order.

        Raises `WarehouseUnavailableError`.
        """
        state = await self._marts_state()
        touched = await self._touched_days(await self._touched_users([user_id], state), state)
        # ClickHouse cannot map from an empty list either; nobody is user 0.
        days = touched.get(user_id, [])
        asked = {
            "user_ids": [user_id],
            "from_date": max(first, _BEFORE_THE_FIRST_EVENT),
            "to_date": max(last, _BEFORE_THE_FIRST_EVENT),
            "touched": [(user_id, day) for day in days] or [(0, _BEFORE_THE_FIRST_EVENT)],
            "first_touched": min(days, default=_BEFORE_THE_FIRST_EVENT),
            "last_touched": max(days, default=_BEFORE_THE_FIRST_EVENT),
        }
        return list((await self._warehouse.query(_DAYS, asked)).named_results())

    async def aclose(self) -> None:
        """Stop what is under way."""
        if self._state_refresh is not None:
            self._state_refresh.cancel()
        await self._loader.aclose()

    async def _fetch(
        self, key: tuple[Question, bool], user_ids: Sequence[int]
    ) -> Mapping[int, Reading]:
        question, newest = key
        started = time.perf_counter()
        # Read first, so that the freshness never promises more than the numbers hold.
        state = await self._marts_state()
        lately = None
        if not newest and (followed := self.marts):
            lately = self._known_touched_users(user_ids, followed)
            if lately is not None:
                state = followed
        if lately is None:
            lately = await self._touched_users(user_ids, state)
        asked: dict[str, Any] = {
            "as_of": max(question.as_of, _BEFORE_THE_FIRST_EVENT),
            "definition": question.definition,
        }
        touched, rows = await asyncio.gather(
            self._touched_days(lately, state),
            self._closed_rows(set(user_ids) - lately, asked, question),
        )
        rows |= await self._closed_rows(lately - touched.keys(), asked, question)
        for days in _parts(touched):
            pairs = [(user_id, day) for user_id, dates in days.items() for day in dates]
            asked |= {
                "user_ids": list(days),
                "touched": pairs,
                "first_touched": min(day for _, day in pairs),
                "last_touched": max(day for _, day in pairs),
            }
            rows |= await self._rows(_TOUCHED_STATS, _TOUCHED_GAMES, asked, question)
        self._metrics.batch_users.observe(len(user_ids))
        self._metrics.query_seconds.observe(time.perf_counter() - started)
        return {user_id: Reading(rows.get(user_id), state) for user_id in user_ids}

    async def _closed_rows(
        self,
        users: Collection[int],
        asked: Mapping[str, Any],
        question: Question,
    ) -> dict[int, dict[str, Any]]:
        """The rows of those users of whom something is published."""
        if not users:
            return {}
        here = {**asked, "user_ids": list(users)}
        return await self._rows(_CLOSED_STATS, _CLOSED_GAMES, here, question)

    async def _rows(
        self, stats_sql: str, games_sql: str, asked: Mapping[str, Any], question: Question
    ) -> dict[int, dict[str, Any]]:
        """The users' rows, with their `by_game` where it is asked for."""
        if not question.by_game:
            stats = await self._warehouse.query(stats_sql, asked)
            return {row["user_id"]: row for row in stats.named_results()}
        stats, games = await asyncio.gather(
            self._warehouse.query(stats_sql, asked), self._warehouse.query(games_sql, asked)
        )
        rows = {row["user_id"]: {**row, "by_game": []} for row in stats.named_results()}
        for game in games.named_results():
            if row := rows.get(game["user_id"]):
                row["by_game"].append(game)
        # The two were read at two moments: the totals follow the games that are listed beside them.
        for row in rows.values():
            for metric, total in _TOTALS.items():
                row[total] = sum(game[metric] for game in row["by_game"])
        return rows

    async def _marts_state(self) -> MartsState:
        """The state of the marts.

        Read anew in the background once it is `MARTS_STATE_SECONDS` old, because nobody has to wait
        for it: an older state only makes more days count as touched. Where nobody has asked for so
        long that this would cost more than reading it, the question waits.
        """
        age = time.monotonic() - self._state_read_at
        if age > MAX_MARTS_STATE_SECONDS:
            async with self._state_lock:
                # Another question may have read it while this one waited for the lock.
                if time.monotonic() - self._state_read_at > MARTS_STATE_SECONDS:
                    self._state = await self._read_marts_state()
        else:
            self.keep_current()
        assert self._state is not None  # read_at is minus infinity until there is one
        return self._state

    async def _refresh_marts_state(self) -> None:
        # A lost warehouse is told by the queries for the numbers.
        async with self._state_lock:
            with contextlib.suppress(WarehouseUnavailableError):
                self._state = await self._read_marts_state()

    async def _read_marts_state(self) -> MartsState:
        (row,) = (await self._warehouse.query(_MARTS_STATE)).named_results()
        self._former_state = self._state, self._state_read_at
        self._state_read_at = time.monotonic()
        self._metrics.held.set(row["status"] == "held")
        return MartsState(
            row["streams"],
            row["offsets"],
            Freshness(row["watermark"], row["lag_seconds"], row["materialized_at"], row["status"]),
        )

    def _known_touched_users(self, user_ids: Collection[int], state: MartsState) -> set[int] | None:
        """`_touched_users` without a query, as of the last look; None where that is not known."""
        seen = dict(zip(state.streams, state.offsets, strict=True))
        return self._arrivals.users_beyond(seen, user_ids)

    async def _touched_users(self, user_ids: Collection[int], state: MartsState) -> set[int]:
        """Those of the users of whom arrivals are newer than the marts."""
        asked = {"user_ids": list(user_ids), **_seen(state)}
        found = await self._warehouse.query(_TOUCHED_USERS, asked)
        return {user_id for (user_id,) in found.result_rows}

    async def _touched_days(
        self, user_ids: Collection[int], state: MartsState
    ) -> dict[int, list[date]]:
        """The users' days that arrivals have touched since the last materialization.

        None while a failed check holds the state: then the last published numbers are the answer.
        """
        days: dict[int, list[date]] = {}
        if state.freshness.status != "held" and user_ids:
            asked = {"user_ids": list(user_ids), **_seen(state)}
            for user_id, day in (await self._warehouse.query(_TOUCHED_DAYS, asked)).result_rows:
                days.setdefault(user_id, []).append(day)
        return days


def _seen(state: MartsState) -> dict[str, Any]:
    """Up to where the marts have seen each stream, as parameters of a query."""
    # ClickHouse cannot map from an empty list; no stream has an empty name.
    return {"streams": [*state.streams, ""], "offsets": [*state.offsets, -1]}


def _parts(touched: Mapping[int, list[date]]) -> Iterator[dict[int, list[date]]]:
    """Split users so that each part's days fit into one parameter."""
    part: dict[int, list[date]] = {}
    size = 0
    for user_id, days in touched.items():
        if part and size + len(days) > _MAX_TOUCHED_DAYS:
            yield part
            part, size = {}, 0
        part[user_id] = days
        size += len(days)
    if part:
        yield part
