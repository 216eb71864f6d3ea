"""The platform's numbers of today, and their stream: one snapshot, whoever asks for it.

Read from the marts that dashboards and analysts read, and only when these were materialized anew or
the day is another one: until then a look at their freshness is all that it costs.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from serving_api.clock import Clock
from serving_api.realtime.schemas import GameToday, GlobalMeta, GlobalMetrics, Today, Totals
from serving_api.stats.answers import ratio
from serving_api.warehouse import Warehouse, WarehouseUnavailableError
from tally.metrics import definition_hash
from tally.settings import ActiveDayDefinition

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
# As many materializations, at most, of which a reader who comes back can be told one by one.
RING_LENGTH = 100

_METRICS = ("dau", "wau", "mau", "total_games_played", "bet_amount", "payout_amount", "rtp")

_FRESHNESS = "select status, materialized_at from marts.freshness"
# A user has one first active day, so the new users of all days are the users there are.
_PLATFORM = """
select
    sumIf({prefix}dau, date = {{today:Date}}) as dau,
    sumIf({prefix}wau, date = {{today:Date}}) as wau,
    sumIf({prefix}mau, date = {{today:Date}}) as mau,
    sumIf(days.events, date = {{today:Date}}) as events,
    sum(days.new_users) as all_users,
    sum(days.events) as all_events,
    sum(days.rounds) as all_rounds,
    sum(days.bet_amount) as all_bet_amount,
    sum(days.payout_amount) as all_payout_amount
from marts.daily_metrics as days
where date <= {{today:Date}}
"""
_GAMES = """
select
    game_type,
    sum(played) as rounds,
    sum(games.bet_amount) as bet_amount,
    sum(games.payout_amount) as payout_amount
from marts.user_game_days as games final
where date = {today:Date} and played > 0
group by game_type
order by game_type
"""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a snapshot depends on."""

    today: date
    status: str
    materialized_at: datetime | None


class Platform:
    """The snapshot, read for many at once, and the last of them for who comes back."""

    def __init__(self, warehouse: Warehouse, clock: Clock, definition: ActiveDayDefinition) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._definition = definition
        self._seen: _Seen | None = None
        self._snapshot: GlobalMetrics | None = None
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        # Another process counts its snapshots by itself, so an id says whose it is.
        self._epoch = secrets.token_hex(4)
        self._last = 0
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=RING_LENGTH)
        self._changed = asyncio.Event()
        self._wanted_until = float("-inf")
        self._wanted = asyncio.Event()

    async def snapshot(self) -> GlobalMetrics:
        """The numbers, at most `LOOK_SECONDS` behind the marts.

        Those last known, marked `stale`, while the warehouse is away. Raises
        `WarehouseUnavailableError` where none are known.
        """
        async with self._looking:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                await self._look()
        assert self._snapshot is not None
        return self._snapshot

    async def follow(self) -> None:
        """Keep the stream current while somebody reads it; until cancelled."""
        while True:
            if time.monotonic() > self._wanted_until:
                self._wanted.clear()
                await self._wanted.wait()
            try:
                await self.snapshot()
            except WarehouseUnavailableError as error:
                logger.debug("the platform's numbers cannot be read: %s", error)
            except Exception:
                logger.exception("the platform's numbers cannot be read")
            await asyncio.sleep(LOOK_SECONDS)

    def since(self, event_id: str | None) -> Sequence[tuple[str, bytes]]:
        """What was published after the event: all of it where the ring has it, else the newest."""
        number = self._number_of(event_id)
        first = self._ring[0][0] if self._ring else 0
        if number is None or number + 1 < first or number > self._last:
            return [self._named(each) for each in list(self._ring)[-1:]]
        return [self._named(each) for each in self._ring if each[0] > number]

    async def is_news_after(self, event_id: str | None, seconds: float) -> bool:
        """Whether something was published after the event, by now or within `seconds`."""
        self._wanted_until = time.monotonic() + seconds + 2 * LOOK_SECONDS
        self._wanted.set()
        # What was published while the reader was sent the event before is not waited for.
        changed = self._changed
        if not self.since(event_id):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await changed.wait()
        return bool(self.since(event_id))

    async def _look(self) -> None:
        today = self._clock().date()
        try:
            ((status, materialized_at),) = (await self._warehouse.query(_FRESHNESS)).result_rows
            seen = _Seen(today, status, materialized_at)
            if seen != self._seen:
                self._publish(await self._read(seen))
                self._seen = seen
        except WarehouseUnavailableError:
            if self._snapshot is None:
                raise
            if self._seen is not None:
                self._seen = None
                self._publish(_stale(self._snapshot))
        self._looked_at = time.monotonic()

    async def _read(self, seen: _Seen) -> GlobalMetrics:
        prefix = "daily_login_" if self._definition == "daily_login" else ""
        asked = {"today": seen.today}
        found, games = await asyncio.gather(
            self._warehouse.query(_PLATFORM.format(prefix=prefix), asked),
            self._warehouse.query(_GAMES, asked),
        )
        (row,) = found.named_results()
        return GlobalMetrics(
            today=_today(seen.today, row, list(games.named_results())),
            totals=Totals(
                **{name: row[f"all_{name}"] for name in Totals.model_fields},
            ),
            meta=GlobalMeta(
                status="held" if seen.status == "held" else "fresh",
                active_day_definition=self._definition,
                definition_hash=definition_hash(_METRICS),
                materialized_at=seen.materialized_at,
            ),
        )

    def _publish(self, snapshot: GlobalMetrics) -> None:
        self._snapshot = snapshot
        self._last += 1
        self._ring.append((self._last, snapshot.model_dump_json().encode()))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _number_of(self, event_id: str | None) -> int | None:
        epoch, _, number = (event_id or "").partition("-")
        return int(number) if epoch == self._epoch and number.isdecimal() else None

    def _named(self, event: tuple[int, bytes]) -> tuple[str, bytes]:
        number, body = event
        return f"{self._epoch}-{number}", body


def _today(today: date, row: Mapping[str, Any], games: Sequence[Mapping[str, Any]]) -> Today:
    """Read at another moment than the days, the games decide what they are the sums of."""
    sums = {
        name: sum(game[name] for game in games)
        for name in ("rounds", "bet_amount", "payout_amount")
    }
    return Today(
        date=today,
        **{name: row[name] for name in ("dau", "wau", "mau", "events")},
        **sums,
        rtp=ratio(sums["payout_amount"], sums["bet_amount"]),
        by_game=[
            GameToday(**game, rtp=ratio(game["payout_amount"], game["bet_amount"]))
            for game in games
        ],
    )


def _stale(snapshot: GlobalMetrics) -> GlobalMetrics:
    return snapshot.model_copy(
        update={"meta": snapshot.meta.model_copy(update={"status": "stale"})}
    )
