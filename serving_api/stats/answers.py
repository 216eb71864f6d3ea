"""From a warehouse row to the answer: pure, so that the rules can be tested without a server."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from serving_api.stats.reader import Status
from serving_api.stats.repository import Reading
from serving_api.stats.schemas import (
    USER_METRICS,
    GameStats,
    StatsMeta,
    StatsQuery,
    UserStats,
    Window,
    Windows,
)
from tally.metrics import definition_hash, metrics, window_days
from tally.settings import ActiveDayDefinition

# Of how many dates each window of `meta` is.
_WINDOWS = {name: window_days(f"{name}_active_days") for name in Windows.model_fields}

_NO_EVENTS: Mapping[str, Any] = {
    "total_games_played": 0,
    "last_30d_active_days": 0,
    "lifetime_active_days": 0,
    "last_7d_active_days": 0,
    "last_90d_active_days": 0,
    "current_streak_days": 0,
    "total_wins": 0,
    "total_losses": 0,
    "total_draws": 0,
    "total_no_outcome": 0,
    "bet_amount": 0,
    "payout_amount": 0,
    "first_active_date": None,
    "last_active_date": None,
    "by_game": (),
}


def build_answer(
    user_id: int,
    reading: Reading,
    query: StatsQuery,
    as_of: date,
    definition: ActiveDayDefinition,
    *,
    status: Status = "fresh",
) -> UserStats:
    """The answer to `query`.

    Raises pydantic's `ValidationError` where the warehouse's numbers contradict each other: no
    answer is better than a wrong one.
    """
    row = _NO_EVENTS if reading.row is None else reading.row
    parts: dict[str, Any] = {}
    if query.includes("by_game"):
        parts["by_game"] = [GameStats.model_validate(game) for game in row["by_game"]]
    if query.includes("definitions"):
        parts["definitions"] = {name: metrics()[name].description for name in USER_METRICS}
    return UserStats(
        user_id=user_id,
        **{name: row[name] for name in _NO_EVENTS if name != "by_game"},
        win_rate=win_rate(row["total_wins"], row["total_losses"]),
        **parts,
        meta=StatsMeta(
            status=reading.freshness.status if status == "fresh" else status,
            timezone="UTC",
            as_of=as_of,
            active_day_definition=definition,
            definition_hash=definition_hash(USER_METRICS),
            watermark=reading.freshness.watermark,
            lag_seconds=reading.freshness.lag_seconds,
            materialized_at=reading.freshness.materialized_at,
            windows=Windows(**{name: window(as_of, days) for name, days in _WINDOWS.items()}),
        ),
    )


def win_rate(wins: int, losses: int) -> float | None:
    """wins / (wins + losses), as `ratio` rounds."""
    return ratio(wins, wins + losses)


def ratio(part: int, whole: int) -> float | None:
    """part / whole, rounded half up to 4 digits in integers: no tie hangs on a float."""
    if whole == 0:
        return None
    return (20_000 * part + whole) // (2 * whole) / 10_000


def window(as_of: date, days: int) -> Window:
    """The closed interval of `days` dates ending with `as_of`, cut at the first date there is."""
    first = max(as_of.toordinal() - (days - 1), date.min.toordinal())
    return Window(from_=date.fromordinal(first), to=as_of)
