"""The cards."""

from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field, NonNegativeInt

from serving_api.stats.schemas import Instant, UserStats
from tally.tokens import Role

Level = Annotated[
    NonNegativeInt | None, Field(description="Of the latest LEVEL_UP; null before the first.")
]
Masked = Literal["gold_balance", "bet_amount", "payout_amount"]


class Me(BaseModel):
    """Who the token says the caller is."""

    subject: str
    user_id: int | None = Field(description="Null for a caller who is not a player.")
    role: Role
    issued_at: Instant
    expires_at: Instant


class Profile(BaseModel):
    """The caller's own card."""

    user_id: int
    role: Role
    level: Level
    gold_balance: int | None = Field(
        description="`balance_after` of the latest REWARD_GRANTED, in minor units; null before the "
        "first."
    )
    current_streak_days: NonNegativeInt = Field(
        description="Consecutive UTC days with a DAILY_LOGIN until today, or until yesterday."
    )
    stats: UserStats


class PublicCard(BaseModel):
    """Anyone's card: what everybody may see. Never use it for oneself: amounts are masked."""

    user_id: int
    level: Level
    current_streak_days: NonNegativeInt
    lifetime_active_days: NonNegativeInt
    total_games_played: NonNegativeInt
    total_wins: NonNegativeInt
    win_rate: float | None
    gold_balance: Literal[0] = 0
    bet_amount: Literal[0] = 0
    payout_amount: Literal[0] = 0
    masked: list[Masked] = Field(
        list(get_args(Masked)), description="Private fields, of which the 0 says nothing."
    )


def instant(seconds: int) -> datetime:
    """The moment of a token's claim. Claims far in the future end with the calendar."""
    return datetime.fromtimestamp(min(seconds, _LAST_SECOND), UTC)


_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z
