{{ config(materialized='view') }}

with
days as (
    select
        user_id,
        date,
        has_daily_login,
        {{ is_active_as_asked() }} as active
    from {{ ref('user_days') }} {{ latest_versions() }}
    where user_id in {{ parameter('user_ids', 'Array(UInt64)') }}
),

game_days as (
    select
        user_id,
        date,
        game_type,
        {{ game_metrics() | join(', ') }}
    from {{ ref('user_game_days') }} {{ latest_versions() }}
    where user_id in {{ parameter('user_ids', 'Array(UInt64)') }}
),

{{ api_stats(parameter('as_of', 'Date')) }}
