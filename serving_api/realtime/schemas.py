"""The answer of `GET /api/metrics/global`, which is also what its stream says."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field, NonNegativeInt

from serving_api.stats.schemas import Instant, metric_field
from tally.metrics import metrics
from tally.settings import ActiveDayDefinition

Status = Literal["fresh", "held", "stale"]
RTP = f"{metrics()['rtp'].description} Rounded to 4 digits; null where nothing was staked."


class GameToday(BaseModel):
    """One game type, today in UTC."""

    game_type: str = Field(description="slot, gacha, rps or crash.")
    rounds: NonNegativeInt = metric_field("total_games_played")
    bet_amount: NonNegativeInt = metric_field("bet_amount")
    payout_amount: NonNegativeInt = metric_field("payout_amount")
    rtp: float | None = Field(description=RTP)


class Today(BaseModel):
    """The current UTC day so far."""

    date: date
    dau: NonNegativeInt = metric_field("dau")
    wau: NonNegativeInt = metric_field("wau")
    mau: NonNegativeInt = metric_field("mau")
    events: NonNegativeInt = Field(description="Accepted events, also those of the system.")
    rounds: NonNegativeInt = metric_field("total_games_played")
    bet_amount: NonNegativeInt = metric_field("bet_amount")
    payout_amount: NonNegativeInt = metric_field("payout_amount")
    rtp: float | None = Field(description=RTP)
    by_game: list[GameToday] = Field(description="In the order of the game types; played ones.")


class Totals(BaseModel):
    """Since the first event until today."""

    users: NonNegativeInt = Field(description="Users who ever had an active day (`all_actions`).")
    events: NonNegativeInt
    rounds: NonNegativeInt = metric_field("total_games_played")
    bet_amount: NonNegativeInt = metric_field("bet_amount")
    payout_amount: NonNegativeInt = metric_field("payout_amount")


class GlobalMeta(BaseModel):
    """What the numbers mean and how fresh they are."""

    status: Status = Field(
        description="`fresh`: as of `materialized_at`. `held`: a quality check has failed. "
        "`stale`: the warehouse is out of reach, and these are the last known numbers."
    )
    timezone: Literal["UTC"] = "UTC"
    active_day_definition: ActiveDayDefinition = Field(description="Of `dau`, `wau` and `mau`.")
    definition_hash: str = Field(
        description="Changes when the definition of one of the numbers changes: `sha256:<hex>`."
    )
    materialized_at: Instant | None = Field(
        description="When the tables were last materialized; newer events are not counted yet."
    )


class GlobalMetrics(BaseModel):
    """The whole platform's numbers, the same as those of the dashboards."""

    today: Today
    totals: Totals
    meta: GlobalMeta
