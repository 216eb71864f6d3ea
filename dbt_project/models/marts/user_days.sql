{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        engine='ReplacingMergeTree(version)',
        order_by='(user_id, date)',
        pre_hook=['{{ open_window() }}', '{{ record_touched_days() }}'],
        post_hook='{{ close_window() }}',
    )
}}

{%- set touched = touched_in_window() if is_incremental() else none %}

-- depends_on: {{ source('raw', 'arrivals') }}
-- depends_on: {{ source('raw', 'events') }}
-- depends_on: {{ source('raw', 'ingest_ledger') }}
with
activity as (
    {{ activity_by_day(touched) }}
),

games as (
    {{ games_by_day(touched) }}
),

games_of_all_types as (
    select
        user_id,
        date,
        {{ game_sums() }}
    from games
    group by user_id, date
)

select
    activity.user_id as user_id,
    activity.date as date,
    toBool(activity.is_active) as is_active,
    toBool(activity.has_daily_login) as has_daily_login,
    activity.events as events,
    toUInt64(coalesce(games.played, 0)) as played,
    toUInt64(coalesce(games.wins, 0)) as wins,
    toUInt64(coalesce(games.losses, 0)) as losses,
    toUInt64(coalesce(games.draws, 0)) as draws,
    toUInt64(coalesce(games.no_outcome, 0)) as no_outcome,
    toInt64(coalesce(games.bet_amount, 0)) as bet_amount,
    toInt64(coalesce(games.payout_amount, 0)) as payout_amount,
    assumeNotNull(toUInt64({{ window_version() }})) as version
from activity
left join games_of_all_types as games
    on activity.user_id = games.user_id and activity.date = games.date
