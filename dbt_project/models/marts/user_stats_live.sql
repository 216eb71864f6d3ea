{{ config(materialized='view') }}
{%- set user_ids = parameter('user_ids', 'Array(UInt64)') -%}
{%- set as_of = parameter('as_of', 'Date') -%}
{%- set active = is_active_as_asked() -%}
{%- set touched = {
    'users': '(select user_id from touched)',
    'days': '(select user_id, date from touched)',
    'first_date': '(select min(date) from touched)',
    'last_date': '(select max(date) from touched)',
} %}

with
arrived as (
    {{ arrivals_past_watermarks(['user_days', 'user_game_days'], user_ids) }}
),

touched as (
    {{ touched_days('arrived') }}
),

days as (
    select
        user_id,
        date,
        is_active,
        has_daily_login
    from {{ ref('user_days') }} {{ latest_versions() }}
    where
        user_id in {{ user_ids }}
        and (user_id, date) not in (
            select
                user_id,
                date
            from touched
        )
    union all
    select
        user_id,
        date,
        is_active,
        has_daily_login
    from ({{ activity_by_day(touched) }})
),

game_days as (
    select
        user_id,
        date,
        game_type,
        played,
        wins,
        losses,
        draws,
        no_outcome,
        bet_amount,
        payout_amount
    from {{ ref('user_game_days') }} {{ latest_versions() }}
    where
        user_id in {{ user_ids }}
        and (user_id, date) not in (
            select
                user_id,
                date
            from touched
        )
    union all
    select
        user_id,
        date,
        game_type,
        played,
        wins,
        losses,
        draws,
        no_outcome,
        bet_amount,
        payout_amount
    from ({{ games_by_day(touched) }})
),

activity as (
    {{ activity_stats('days', as_of, active) }}
),

games_by_type as (
    select
        user_id,
        game_type,
        {{ game_sums() }}
    from game_days
    where date <= {{ as_of }}
    group by user_id, game_type
    having played > 0
),

games as (
    select
        user_id,
        {{ game_sums() }},
        arraySort(groupArray(tuple(
            game_type, games_by_type.played, games_by_type.wins, games_by_type.losses,
            games_by_type.draws, games_by_type.no_outcome, games_by_type.bet_amount,
            games_by_type.payout_amount
        ))) as by_game
    from games_by_type
    group by user_id
)

select
    activity.user_id as user_id,
    toUInt64(coalesce(games.played, 0)) as total_games_played,
    toUInt64(coalesce(games.wins, 0)) as total_wins,
    toUInt64(coalesce(games.losses, 0)) as total_losses,
    toUInt64(coalesce(games.draws, 0)) as total_draws,
    toUInt64(coalesce(games.no_outcome, 0)) as total_no_outcome,
    toInt64(coalesce(games.bet_amount, 0)) as bet_amount,
    toInt64(coalesce(games.payout_amount, 0)) as payout_amount,
    activity.last_7d_active_days as last_7d_active_days,
    activity.last_30d_active_days as last_30d_active_days,
    activity.last_90d_active_days as last_90d_active_days,
    activity.lifetime_active_days as lifetime_active_days,
    activity.current_streak_days as current_streak_days,
    activity.first_active_date as first_active_date,
    activity.last_active_date as last_active_date,
    games.by_game as by_game
from activity
left join games on activity.user_id = games.user_id
