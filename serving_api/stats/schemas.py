"""Question and answer of `GET /api/users/stats`, and the identities that every answer holds."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Literal, Self

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


class StatsQuery(BaseModel):
    """The query parameters; any other is refused."""

    model_config = ConfigDict(extra="forbid")

    definition: ActiveDayDefinition | None = Field(
        None,
        description="What makes a UTC day active: `all_actions` is at least one action of the "
        "user, `daily_login` at least one DAILY_LOGIN. By default the platform's setting.",
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

    def includes(self, part: Literal["by_game", "definitions"]) -> bool:
        """Whether the caller asked for the part."""
        return self.include is not None and part in self.include.split(",")


class GameStats(BaseModel):
    """The game metrics of one game type."""

    game_type: str = Field(description="slot, gacha, rps or crash.")
    played: NonNegativeInt = Field(description="Rounds settled and not voided since, without demo.")
    wins: NonNegativeInt = Field(description="Rounds with payout - bet > 0.")
    losses: NonNegativeInt = Field(description="Rounds with payout - bet < 0, and lost free bets.")
    draws: NonNegativeInt = Field(description="Rounds with payout = bet.")
    no_outcome: NonNegativeInt = Field(
        description="Rounds of games that are not won or lost (gacha)."
    )
    bet_amount: NonNegativeInt = Field(description="Sum of the bets in minor units.")
    payout_amount: NonNegativeInt = Field(description="Sum of the payouts in minor units.")

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

    status: Literal["fresh"] = Field(
        description="`fresh`: every event stored until `watermark` is counted. Other values may be "
        "added; treat one you do not know as a reason to show the numbers with their age."
    )
    timezone: Literal["UTC"]
    as_of: date
    active_day_definition: ActiveDayDefinition
    definition_hash: str = Field(
        description="Changes when the SQL that defines the numbers changes: `sha256:<hex>`."
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
    total_games_played: NonNegativeInt = Field(
        description="Rounds whose latest state is settled, without demo rounds. A cancelled round "
        "never counts, one voided after settling is taken out again. A round belongs to the UTC "
        "day of its settled event."
    )
    last_30d_active_days: NonNegativeInt = Field(
        description="Distinct active UTC days in the 30 dates that end with `as_of`, by the "
        "active-day definition of the answer."
    )
    lifetime_active_days: NonNegativeInt = Field(
        description="Distinct active UTC days until `as_of`, by the active-day definition of the "
        "answer."
    )
    last_7d_active_days: NonNegativeInt = Field(
        description="Distinct active UTC days in the 7 dates that end with `as_of`, by the "
        "active-day definition of the answer."
    )
    last_90d_active_days: NonNegativeInt = Field(
        description="Distinct active UTC days in the 90 dates that end with `as_of`, by the "
        "active-day definition of the answer."
    )
    current_streak_days: NonNegativeInt = Field(
        description="Consecutive UTC days with a DAILY_LOGIN, ending at `as_of`, or at the day "
        "before while `as_of` has none; else 0. Always by `daily_login`."
    )
    total_wins: NonNegativeInt = Field(description="Rounds won: payout - bet > 0.")
    total_losses: NonNegativeInt = Field(
        description="Rounds lost: payout - bet < 0, and free bets (bet = 0) without a payout."
    )
    total_draws: NonNegativeInt = Field(description="Rounds with payout = bet, both above 0.")
    total_no_outcome: NonNegativeInt = Field(
        description="Rounds of games that are neither won nor lost: gacha."
    )
    win_rate: float | None = Field(
        ge=0,
        le=1,
        description="wins / (wins + losses), rounded half up to 4 digits; null when both are 0.",
    )
    bet_amount: NonNegativeInt = Field(
        description="Sum of the bets of the played rounds in minor units."
    )
    payout_amount: NonNegativeInt = Field(
        description="Sum of the payouts of the played rounds in minor units."
    )
    first_active_date: date | None = Field(
        description="The first active UTC day until `as_of`, by the active-day definition of the "
        "answer; null for none."
    )
    last_active_date: date | None = Field(
        description="The last active UTC day until `as_of`, by the active-day definition of the "
        "answer; null for none."
    )
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


METRIC_DEFINITIONS = {
    name: field.description
    for name, field in UserStats.model_fields.items()
    if field.description is not None and name not in ("by_game", "definitions", "meta")
}
