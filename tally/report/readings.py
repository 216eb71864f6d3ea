"""What the report shows, read from the models: a query a figure, none of which defines a metric."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from clickhouse_connect.driver import Client

WINDOW_DAYS = 90
COHORTS = 28

Row = dict[str, Any]

# The last day on which anybody came: the marts go on to today, and old data would be an empty plot.
_LAST_ACTIVE = "select maxOrNull(date) as date from analytics.daily_metrics where dau > 0"
_DAYS = """
select date, dau, wau, mau, stickiness, new_users, rounds, rtp
from analytics.daily_metrics
where date > {as_of:Date} - {window:UInt16} and date <= {as_of:Date}
order by date
"""
_COHORTS = """
select cohort_date, day_n, cohort_size, retained
from analytics.retention
where cohort_date > {as_of:Date} - {window:UInt16} and cohort_date + day_n <= {as_of:Date}
order by cohort_date, day_n
"""
_GAMES = """
select
    game_type,
    sum(played) as rounds,
    sum(bet_amount) as bet,
    sum(payout_amount) as payout
from analytics.game_stats
where date > {as_of:Date} - 30 and date <= {as_of:Date}
group by game_type
having rounds > 0
order by rounds desc, game_type
"""
_ACTIVE_DAYS = """
select active_days, count() as users
from (
    select countIf(is_active) as active_days
    from analytics.user_days
    where date > {as_of:Date} - 30 and date <= {as_of:Date}
    group by user_id
)
where active_days > 0
group by active_days
order by active_days
"""
_FRESHNESS = "select watermark, lag_seconds, materialized_at from marts.freshness"
_STORED = """
select
    sum(accepted) as accepted,
    sum(dead_letters) as dead,
    sum(lost) as lost,
    (select sum(messages_behind) from marts.materialization_backlog) as behind
from marts.hourly_ingestion
"""
_STORED_BY_HOUR = """
select hour, accepted, dead_letters as dead
from marts.hourly_ingestion
where hour > (select max(hour) from marts.hourly_ingestion) - interval 2 day
order by hour
"""
_DEAD_LETTERS = """
select reason, sum(letters) as messages
from marts.hourly_dead_letters
group by reason
order by messages desc, reason
"""


@dataclass(frozen=True)
class Readings:
    """The numbers of one report."""

    as_of: date | None
    """The last day of the windows; None where no user was ever active."""
    days: list[Row]
    cohorts: list[Row]
    games: list[Row]
    active_days: list[Row]
    freshness: Row
    stored: Row
    stored_by_hour: list[Row]
    dead_letters: list[Row]
    made_at: datetime


def read(client: Client, as_of: date | None, made_at: datetime) -> Readings:
    """Read everything; without a date, up to the last day with an active user."""
    (last,) = _rows(client, _LAST_ACTIVE)
    as_of = as_of or last["date"]
    window = {"as_of": as_of, "window": WINDOW_DAYS}

    def of_window(query: str) -> list[Row]:
        return [] if as_of is None else _rows(client, query, window)

    (freshness,) = _rows(client, _FRESHNESS)
    (stored,) = _rows(client, _STORED)
    return Readings(
        as_of=as_of,
        days=of_window(_DAYS),
        cohorts=of_window(_COHORTS),
        games=of_window(_GAMES),
        active_days=of_window(_ACTIVE_DAYS),
        freshness=freshness,
        stored=stored,
        stored_by_hour=_rows(client, _STORED_BY_HOUR),
        dead_letters=_rows(client, _DEAD_LETTERS),
        made_at=made_at,
    )


def _rows(client: Client, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
    return list(client.query(query, parameters=dict(parameters or {})).named_results())
