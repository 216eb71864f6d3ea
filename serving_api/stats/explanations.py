"""What is behind one number: pure, from the user's days to the dates or rounds that make it."""

from collections.abc import Sequence
from datetime import date, timedelta

from serving_api.stats.answers import win_rate
from serving_api.stats.schemas import Day, Explanation
from tally.settings import ActiveDayDefinition

WINDOWS = {"last_7d_active_days": 7, "last_30d_active_days": 30, "last_90d_active_days": 90}

# The columns of a day that a number over rounds is made of.
ROUNDS: dict[str, tuple[str, ...]] = {
    "total_games_played": ("played",),
    "total_wins": ("wins",),
    "total_losses": ("losses",),
    "total_draws": ("draws",),
    "total_no_outcome": ("no_outcome",),
    "win_rate": ("wins", "losses"),
    "bet_amount": ("bet_amount",),
    "payout_amount": ("payout_amount",),
}


def first_date(field: str, as_of: date) -> date:
    """The earliest date that the number can depend on."""
    days = WINDOWS.get(field)
    return date.min if days is None else date.fromordinal(max(1, as_of.toordinal() - days + 1))


def explain(
    field: str, days: Sequence[Day], as_of: date, definition: ActiveDayDefinition
) -> Explanation:
    """The explanation of `field`, from the user's days in their order."""
    value: int | float | date | None
    if columns := ROUNDS.get(field):
        behind = [day for day in days if any(getattr(day, column) for column in columns)]
        sums = [sum(getattr(day, column) for day in behind) for column in columns]
        value = win_rate(*sums) if field == "win_rate" else sums[0]
        return Explanation(
            field=field, value=value, as_of=as_of, active_day_definition=definition, rounds=behind
        )
    dates = [day.date for day in days if _is_active(day, definition)]
    if field == "current_streak_days":
        dates = _streak([day.date for day in days if day.has_daily_login], as_of)
    elif field == "first_active_date":
        dates = dates[:1]
    elif field == "last_active_date":
        dates = dates[-1:]
    value = next(iter(dates), None) if field.endswith("_date") else len(dates)
    return Explanation(
        field=field, value=value, as_of=as_of, active_day_definition=definition, dates=dates
    )


def _is_active(day: Day, definition: ActiveDayDefinition) -> bool:
    return day.has_daily_login if definition == "daily_login" else day.is_active


def _streak(logins: Sequence[date], as_of: date) -> list[date]:
    """The run of dates that ends at `as_of`, or at the day before while that has none."""
    run: list[date] = []
    for login in reversed(logins):
        if (run[-1] if run else as_of) - login > timedelta(days=1):
            break
        run.append(login)
    return run[::-1]
