"""Who plays: habits, and each player's drawn life and present state."""

from math import log
from random import Random

from msgspec import Struct, field

from simulator.events import DAY, HOUR
from simulator.games import GameType

# Relative traffic by local hour: a night's low, a lunch bump and the evening's peak at 21:00.
_HOURS = (3, 2, 1, 1, 1, 1, 2, 4, 5, 5, 5, 6, 9, 8, 6, 6, 7, 8, 10, 12, 14, 15, 12, 7)

# Minutes east of UTC, with the number of players in a hundred who live there.
_ZONES = ((540, 40), (480, 10), (330, 8), (60, 12), (0, 8), (-300, 12), (-480, 7), (765, 3))

RETURN_SHARE = 0.15
"""Of those who leave, the share that comes back once, months later."""


class Habit(Struct, frozen=True):
    """How a kind of player lives. Probabilities are per day or per visit, durations in days."""

    name: str
    share: int
    active: float
    visits: float
    rounds: float
    stakes: tuple[int, ...]
    buys: float
    stays: float
    games: tuple[GameType, ...]


HABITS = (
    Habit("tourist", 30, 0.25, 1.1, 12, (100, 200), 0.01, 6, ("slot", "slot", "rps")),
    Habit("casual", 45, 0.40, 1.3, 20, (100, 200, 500), 0.03, 90, ("slot", "gacha", "rps")),
    Habit(
        "regular",
        21,
        0.80,
        2.0,
        35,
        (200, 500, 1_000),
        0.06,
        300,
        ("slot", "crash", "rps", "gacha"),
    ),
    Habit("whale", 4, 0.92, 2.8, 60, (1_000, 5_000, 20_000), 0.35, 500, ("crash", "slot", "gacha")),
)


class Player(Struct, gc=False):
    """One player. Times are milliseconds since 1970 in UTC, gold is in minor units."""

    user_id: int
    index: int
    habit: Habit
    zone: int
    signs_up: int
    invited_by: int | None
    present: list[tuple[int, int]]
    """Spans of days, numbered from 1970, in which the player has not left."""

    clock: int = 0
    """The time of the last event: a player does one thing at a time."""
    gold: int = 0
    streak: int = 0
    last_login_day: int = -1
    rounds: int = 0
    purchases: int = 0
    xp: int = 0
    level: int = 1
    owns_limited: bool = False
    joined_event: str = ""
    claimed_event: str = ""
    wrong_passwords: list[int] = field(default_factory=list)
    locked_until: int = 0


def draw_player(rng: Random, user_id: int, index: int, signs_up: int, inviters: range) -> Player:
    """A new player; one of `inviters` (user ids) may have sent the code of the sign-up."""
    (habit,) = rng.choices(HABITS, [habit.share for habit in HABITS])
    ((zone, _),) = rng.choices(_ZONES, [share for _, share in _ZONES])
    first = signs_up // DAY
    last = first + _draw_days(rng, habit.stays)
    present = [(first, last)]
    if rng.random() < RETURN_SHARE:
        back = last + 30 + _draw_days(rng, 45)
        present.append((back, back + _draw_days(rng, habit.stays)))
    invited_by = rng.choice(inviters) if inviters and rng.random() < 0.6 else None
    return Player(user_id, index, habit, zone, signs_up, invited_by, present)


def _draw_days(rng: Random, mean: float) -> int:
    return int(-mean * log(1.0 - rng.random()))


def draw_visits(rng: Random, player: Player, day: int) -> list[int]:
    """When the player comes on a day (numbered from 1970), in order; empty for a day off."""
    visits = [player.signs_up] if player.signs_up // DAY == day else []
    if any(first <= day <= last for first, last in player.present):
        weekend = (day + 3) % 7 >= 5  # 1970-01-01 was a Thursday
        chance = player.habit.active * (1.25 if weekend else 0.9)
        if rng.random() < chance:
            wanted = 1 + _draw_days(rng, player.habit.visits - 1.0)
            visits += [_draw_start(rng, player, day) for _ in range(min(wanted, 8))]
    return sorted(visit for visit in visits if visit >= player.signs_up)


def _draw_start(rng: Random, player: Player, day: int) -> int:
    (hour,) = rng.choices(range(24), _HOURS)
    local = hour * HOUR + int(rng.random() * HOUR)
    return day * DAY + (local - player.zone * 60_000) % DAY
