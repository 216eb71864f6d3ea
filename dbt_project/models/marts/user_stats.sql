{{ config(materialized='view') }}
{%- set as_of = utc_today() %}

with
days as (
    select
        user_id,
        date,
        is_active,
        has_daily_login
    from {{ ref('user_days') }} {{ latest_versions() }}
),

activity as (
    {{ activity_stats('days', as_of, 'is_active') }}
),

daily_logins as (
    {{ activity_stats('days', as_of, 'has_daily_login') }}
),

games as (
    select
        user_id,
        {{ game_sums() }}
    from {{ ref('user_days') }} {{ latest_versions() }}
    where date <= {{ as_of }}
    group by user_id
)

select
    activity.user_id as user_id,
    {{ as_of }} as as_of,
    games.played as total_games_played,
    games.wins as total_wins,
    games.losses as total_losses,
    games.draws as total_draws,
    games.no_outcome as total_no_outcome,
    if(games.wins + games.losses = 0, null, games.wins / (games.wins + games.losses)) as win_rate,
    games.bet_amount as bet_amount,
    games.payout_amount as payout_amount,
    activity.last_7d_active_days as last_7d_active_days,
    activity.last_30d_active_days as last_30d_active_days,
    activity.last_90d_active_days as last_90d_active_days,
    activity.lifetime_active_days as lifetime_active_days,
    daily_logins.last_7d_active_days as last_7d_daily_login_days,
    daily_logins.last_30d_active_days as last_30d_daily_login_days,
    daily_logins.last_90d_active_days as last_90d_daily_login_days,
    daily_logins.lifetime_active_days as lifetime_daily_login_days,
    activity.current_streak_days as current_streak_days,
    activity.first_active_date as first_active_date,
    activity.last_active_date as last_active_date
from activity
inner join daily_logins on activity.user_id = daily_logins.user_id
inner join games on activity.user_id = games.user_id
