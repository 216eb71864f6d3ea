"""Question and answer of `GET /api/users/stats`, and the identities that every answer holds."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from serving_api.consistency import PATTERN as CONSISTENCY_TOKEN
from tally.metrics import metrics, registry
from tally.settings import ActiveDayDefinition

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INCLUDES = r"^(by_game|definitions)(,(by_game|definitions))*$"


def _parse_iso_date(given: object) -> object:
    # Pydantic also takes a timestamp or a datetime at midnight, whose day depends on a zone.
    if isinstance(given, str) and not _ISO_DATE.fullmatch(given):
        raise ValueError("Input should be a calendar date, YYYY-MM-DD")
    return given


def _format_instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


IsoDate = Annotated[
    date, BeforeValidator(_parse_iso_date), WithJsonSchema({"type": "string", "format": "date"})
]
Instant = Annotated[
    datetime,
    PlainSerializer(_format_instant, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def metric_field(name: str, **constraints: Any) -> Any:
    """A required field that says what its metric means, in the words of the registry."""
    return Field(description=metrics()[name].description, **constraints)


class StatsQuery(BaseModel):
    """The query parameters; any other is refused."""

    model_config = ConfigDict(extra="forbid")

    definition: ActiveDayDefinition | None = Field(
        None,
        description="What makes a day active. "
        + "; ".join(f"`{name}`: {meaning}" for name, meaning in registry().active_days.items())
        + ". By default the platform's setting.",
    )
    as_of: IsoDate | None = Field(
        None,
        description="The last UTC date that counts, by default today in UTC; not in the future. It "
        "limits the days that count, not what is known: an answer for a past date uses every event "
        "accepted until now.",
    )
    include: str | None = Field(
        None,
        pattern=_INCLUDES,
        description="Parts to add to the answer, separated by commas: `by_game`, `definitions`.",
    )

    after: str | None = Field(
        None,
        pattern=CONSISTENCY_TOKEN,
        description="The consistency token of a write: the answer waits at most 2 seconds until "
        "that write is counted, else its `status` is `catching_up`.",
    )

    def includes(self, part: Literal["by_game", "definitions"]) -> bool:
        """Whether the caller asked for the part."""
        return self.include is not None and part in self.include.split(",")


MAX_HISTORY_DAYS = 366

Explained = Literal[
    "total_games_played",
    "last_7d_active_days",
    "last_30d_active_days",
    "last_90d_active_days",
    "lifetime_active_days",
    "current_streak_days",
    "total_wins",
    "total_losses",
    "total_draws",
    "total_no_outcome",
    "win_rate",
    "bet_amount",
    "payout_amount",
    "first_active_date",
    "last_active_date",
]


class ExplainQuery(BaseModel):
    """The query parameters of an explanation; any other is refused."""

    model_config = ConfigDict(extra="forbid")

    field: Explained = Field(description="The number to explain.")
    definition: ActiveDayDefinition | None = Field(
        None, description="What makes a UTC day active; by default the platform's setting."
    )
    as_of: IsoDate | None = Field(
        None, description="The last UTC date that counts, by default today in UTC."
    )


class HistoryQuery(BaseModel):
    """The query parameters of a history; any other is refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: IsoDate | None = Field(
        None, alias="from", description="The first UTC date; by default 29 days before `to`."
    )
    to: IsoDate | None = Field(None, description="The last UTC date, by default today in UTC.")


class Day(BaseModel):
    """What the user did on one UTC day."""

    date: date
    is_active: bool = Field(description="At least one action of the user (`all_actions`).")
    has_daily_login: bool = Field(description="At least one DAILY_LOGIN (`daily_login`).")
    events: NonNegativeInt = Field(description="Accepted events, also those of the system.")
    played: NonNegativeInt
    wins: NonNegativeInt
    losses: NonNegativeInt
    draws: NonNegativeInt
    no_outcome: NonNegativeInt
    bet_amount: NonNegativeInt
    payout_amount: NonNegativeInt

    @model_validator(mode="after")
    def _outcomes_add_up(self) -> Self:
        _require_sum(
            str(self.date), self.played, self.wins, self.losses, self.draws, self.no_outcome
        )
        return self


class Explanation(BaseModel):
    """One number of the statistics and what it was made of.

    A number of days has its `dates`, one over rounds the days (`rounds`) that it is the sum of.
    """

    field: Explained
    value: int | float | date | None
    timezone: Literal["UTC"] = "UTC"
    as_of: date
    active_day_definition: ActiveDayDefinition
    dates: list[date] | None = None
    rounds: list[Day] | None = None


class History(BaseModel):
    """The user's days with an event, in their order."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    user_id: int
    timezone: Literal["UTC"]
    from_: date = Field(alias="from")
    to: date
    days: list[Day]


class GameStats(BaseModel):
    """The game metrics of one game type."""

    game_type: str = Field(description="slot, gacha, rps or crash.")
    played: NonNegativeInt = metric_field("total_games_played")
    wins: NonNegativeInt = metric_field("total_wins")
    losses: NonNegativeInt = metric_field("total_losses")
    draws: NonNegativeInt = metric_field("total_draws")
    no_outcome: NonNegativeInt = metric_field("total_no_outcome")
    bet_amount: NonNegativeInt = metric_field("bet_amount")
    payout_amount: NonNegativeInt = metric_field("payout_amount")

    @model_validator(mode="after")
    def _outcomes_add_up(self) -> Self:
        _require_sum(
            self.game_type, self.played, self.wins, self.losses, self.draws, self.no_outcome
        )
        return self


def _require_sum(of: str, played: int, *outcomes: int) -> None:
    if played != sum(outcomes):
        raise ValueError(f"{of}: played {played} is not the sum of its outcomes {outcomes}")


class Window(BaseModel):
    """A closed interval of UTC dates."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    from_: date = Field(alias="from")
    to: date


class Windows(BaseModel):
    """The dates behind each windowed metric, both ends included."""

    last_7d: Window
    last_30d: Window
    last_90d: Window


class StatsMeta(BaseModel):
    """What the numbers mean and how fresh they are."""

    status: Literal["fresh", "held", "catching_up", "stale"] = Field(
        description="`fresh`: every event stored until `watermark` is counted. `held`: a quality "
        "check has failed, and the numbers stay at the last good state, that of `watermark`. "
        "`catching_up`: the write of `after` was not stored within 2 seconds. `stale`: the "
        "warehouse is out of reach, and this is the last known answer. Other values may be added; "
        "treat one you do not know as a reason to show the numbers with their age."
    )
    timezone: Literal["UTC"]
    as_of: date
    active_day_definition: ActiveDayDefinition
    definition_hash: str = Field(
        description="Changes when the definition of one of the numbers changes, or the SQL behind "
        "it: `sha256:<hex>`."
    )
    watermark: Instant | None = Field(
        description="When the broker appended the newest event that is counted; null before the "
        "first one."
    )
    lag_seconds: float | None = Field(
        description="How long the newest events took from the broker to being counted."
    )
    materialized_at: Instant | None = Field(
        description="When the tables were last materialized. The numbers do not depend on it: days "
        "with newer events are computed from the events themselves."
    )
    windows: Windows


class UserStats(BaseModel):
    """One player's statistics. Days are UTC dates, counts are exact, amounts are in minor units."""

    model_config = ConfigDict(title="UserStats")

    user_id: int
    total_games_played: NonNegativeInt = metric_field("total_games_played")
    last_30d_active_days: NonNegativeInt = metric_field("last_30d_active_days")
    lifetime_active_days: NonNegativeInt = metric_field("lifetime_active_days")
    last_7d_active_days: NonNegativeInt = metric_field("last_7d_active_days")
    last_90d_active_days: NonNegativeInt = metric_field("last_90d_active_days")
    current_streak_days: NonNegativeInt = metric_field("current_streak_days")
    total_wins: NonNegativeInt = metric_field("total_wins")
    total_losses: NonNegativeInt = metric_field("total_losses")
    total_draws: NonNegativeInt = metric_field("total_draws")
    total_no_outcome: NonNegativeInt = metric_field("total_no_outcome")
    win_rate: float | None = metric_field("win_rate", ge=0, le=1)
    bet_amount: NonNegativeInt = metric_field("bet_amount")
    payout_amount: NonNegativeInt = metric_field("payout_amount")
    first_active_date: date | None = metric_field("first_active_date")
    last_active_date: date | None = metric_field("last_active_date")
    by_game: list[GameStats] = Field(
        [], description="With `include=by_game`: the game metrics by game type, in its order."
    )
    definitions: dict[str, str] = Field(
        {}, description="With `include=definitions`: what each metric means."
    )
    meta: StatsMeta

    @model_validator(mode="after")
    def _identities_hold(self) -> Self:
        days = (
            self.last_7d_active_days,
            self.last_30d_active_days,
            self.last_90d_active_days,
            self.lifetime_active_days,
        )
        if list(days) != sorted(days):
            raise ValueError(f"active days shrink with a wider window (7, 30, 90, all): {days}")
        if (self.first_active_date is None) != (self.lifetime_active_days == 0):
            raise ValueError(
                f"{self.lifetime_active_days} active days, the first at {self.first_active_date}"
            )
        _require_sum(
            "total",
            self.total_games_played,
            self.total_wins,
            self.total_losses,
            self.total_draws,
            self.total_no_outcome,
        )
        return self


USER_METRICS = tuple(name for name in UserStats.model_fields if name in metrics())
