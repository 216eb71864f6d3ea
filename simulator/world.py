"""The world's clock: all players' events in one stream, in time order, an hour at a time.

Memory follows the number of players, not of events: a visit is played when its hour comes, and what
lies beyond the hour waits for its own.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from heapq import heapify, heappop, heappush
from itertools import count
from operator import attrgetter
from random import Random

from simulator.behaviour import visit
from simulator.events import DAY, HOUR, SECOND, Event, day_start
from simulator.journey import Journey, Voiding
from simulator.players import Player, draw_player, draw_visits

FIRST_USER_ID = 1_000_001
"""Real rounds have small user ids; the simulated players of a shared stack stand apart."""

_SIGN_UP_SHARE = 0.9
_WHOLE_LIFE = 1 << 30
_AT = attrgetter("at")


@dataclass(frozen=True)
class World:
    """`users` players who sign up over `days` days from `start` (UTC), all drawn from `seed`."""

    seed: int
    users: int
    days: int
    start: date
    first_user_id: int = FIRST_USER_ID

    @property
    def begins(self) -> int:
        """00:00Z of the first day in milliseconds since 1970."""
        return day_start(self.start)

    @property
    def ends(self) -> int:
        """00:00Z after the last day in milliseconds since 1970."""
        return self.begins + self.days * DAY

    @property
    def user_ids(self) -> range:
        """Everyone who signs up at some time."""
        return range(self.first_user_id, self.first_user_id + self.users)

    @property
    def key(self) -> int:
        """64 bits that differ between worlds, so that no event id is in two of them."""
        name = f"{self.seed}/{self.users}/{self.days}/{self.start}/{self.first_user_id}"
        return int.from_bytes(sha256(name.encode()).digest()[:8])

    def events(self) -> Iterator[Event]:
        """All events in time order, without end: the players live on after the last day."""
        return _Run(self).events()


class _Run:
    """One run through a world: its players, and an agenda of visits and voidings."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = world.key
        self._tag = f"{self._key >> 44:05x}"
        # Seeded anew for every visit (about 5 us), so that no visit depends on another's draws.
        self._rng = Random()  # noqa: S311
        self._players = [self._draw_player(index) for index in range(world.users)]
        # (when, player's index, tie-break, what): a visit where there is nothing to void.
        self._agenda: list[tuple[int, int, int, Voiding | None]] = []
        self._entries = count()

    def _seed(self, index: int, day: int, moment: int) -> Random:
        self._rng.seed(self._key << 128 | index << 80 | day << 48 | moment)
        return self._rng

    def _draw_player(self, index: int) -> Player:
        world = self._world
        rng = self._seed(index, 0, _WHOLE_LIFE)
        # In order of the index, so that inviters come before; a little denser at first.
        share = ((index + rng.random()) / world.users) ** 1.2
        signs_up = world.begins + int(share * world.days * DAY * _SIGN_UP_SHARE)
        user_id = world.first_user_id + index
        return draw_player(rng, user_id, index, signs_up, range(world.first_user_id, user_id))

    def events(self) -> Iterator[Event]:
        pending: list[Event] = []
        for day in count(self._world.begins // DAY):
            self._plan(day)
            for edge in range(day * DAY + HOUR, (day + 1) * DAY + 1, HOUR):
                while self._agenda and self._agenda[0][0] < edge:
                    pending += self._next_journey()
                pending.sort(key=_AT)
                due = bisect_left(pending, edge, key=_AT)
                yield from pending[:due]
                del pending[:due]

    def _plan(self, day: int) -> None:
        for player in self._players:
            rng = self._seed(player.index, day, _WHOLE_LIFE + 1)
            for at in draw_visits(rng, player, day):
                self._agenda.append((at, player.index, next(self._entries), None))
        heapify(self._agenda)

    def _next_journey(self) -> list[Event]:
        at, index, _, voiding = heappop(self._agenda)
        player = self._players[index]
        start = max(at, player.clock + SECOND)
        rng = self._seed(index, start // DAY, start % DAY)
        journey = Journey(player, rng, start, self._tag)
        if voiding is None:
            visit(journey)
        else:
            journey.void(voiding)
        for later in journey.voidings:
            heappush(self._agenda, (later.at, index, next(self._entries), later))
        return journey.close()
