{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}

with
days as (
    select
        *,
        {{ is_active_as_asked() }} as is_counted
    from {{ published('user_days') }} {{ latest_versions() }}
    where user_id in {{ parameter('user_ids', 'Array(UInt64)') }}
)

{{ player_stats('days', parameter('as_of', 'Date'), {'active': 'is_counted'}, 'is_counted') }}
