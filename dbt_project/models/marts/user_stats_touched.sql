{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}
{%- set columns %}
    user_id,
    date,
    has_daily_login,
    {{ game_metrics() | join(', ') }},
    {{ is_active_as_asked() }} as is_counted
{%- endset %}

with
days as (
    {{ days_as_asked(columns) }}
)

{{ player_stats('days', parameter('as_of', 'Date'), {'active': 'is_counted'}, 'is_counted') }}
