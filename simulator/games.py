"""The games' pay tables: returns are exact fractions here, so that realized play can be judged."""

from bisect import bisect
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Literal

GameType = Literal["slot", "gacha", "rps", "crash"]

ACTION_TYPES: dict[GameType, str] = {
    "slot": "SLOT_SPIN",
    "gacha": "GACHA_SPIN",
    "rps": "RPS_PLAY",
    "crash": "CRASH_ROUND",
}

# Every stake is a multiple of this, so that a pay-out in percent of it is an integer.
STAKE_UNIT = 100


class PayTable:
    """A distribution of the pay-out in percent of the stake, from (weight, percent) rows."""

    def __init__(self, *rows: tuple[int, int]) -> None:
        total = sum(weight for weight, _ in rows)
        self._percents = [percent for _, percent in rows]
        self._upper = [mark / total for mark in accumulate(weight for weight, _ in rows)][:-1]
        mean = sum(Fraction(weight * percent, total) for weight, percent in rows) / 100
        square = sum(Fraction(weight * percent**2, total) for weight, percent in rows) / 10_000
        self.rtp = Fraction(mean)
        """The expected pay-out of a stake of 1."""
        self.variance = Fraction(square - mean**2)
        """The variance of the pay-out of a stake of 1."""

    def draw(self, random: Callable[[], float]) -> int:
        """A pay-out in percent of the stake; `random` gives numbers in [0, 1)."""
        return self._percents[bisect(self._upper, random())]


SLOT = PayTable(
    (6_158, 0), (1_000, 50), (900, 100), (1_300, 200), (550, 500), (80, 2_000), (12, 10_000)
)  # 95.5 %
RPS = PayTable((1, 0), (1, 100), (1, 186))  # 95.3 %
GACHA = PayTable((790, 42), (170, 150), (35, 600), (5, 3_000))  # 94.7 % a pull

# A player of crash names the multiplier at which to leave; each has the same return, 96 %.
CRASH: dict[int, PayTable] = {
    target: PayTable((target - 96, 0), (96, target)) for target in (120, 150, 200, 300, 500, 1_000)
}

TABLES: dict[GameType, Sequence[PayTable]] = {
    "slot": (SLOT,),
    "gacha": (GACHA,),
    "rps": (RPS,),
    "crash": tuple(CRASH.values()),
}


def result(game: GameType, bet: int, payout: int) -> str:
    """The outcome that the backend declares for a settled round (metrics.md)."""
    if game == "gacha":
        return "none"
    if payout > bet:
        return "win"
    return "draw" if payout == bet > 0 else "loss"
