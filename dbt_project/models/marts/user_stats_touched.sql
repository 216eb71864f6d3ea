{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}
{%- set touched = touched_as_asked() %}
{%- set columns %}
    user_id,
    date,
    has_daily_login,
    {{ game_metrics() | join(', ') }},
    {{ is_active_as_asked() }} as is_counted
{%- endset %}

with
days as (
    select {{ columns }}
    from {{ published('user_days') }} {{ latest_versions() }}
    where
        user_id in {{ parameter('user_ids', 'Array(UInt64)') }}
        and (user_id, date) not in {{ touched.days }}
    union all
    select {{ columns }}
    from ({{ player_days(touched) }})
)

{{ player_stats('days', parameter('as_of', 'Date'), {'active': 'is_counted'}, 'is_counted') }}
