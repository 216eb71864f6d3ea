{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}
{%- set columns %}
    user_id,
    date,
    is_active,
    has_daily_login,
    events,
    {{ game_metrics() | join(', ') }}
{%- endset %}

with
days as (
    {{ days_as_asked(columns) }}
)

select * from days
where
    date >= {{ parameter('from_date', 'Date') }}
    and date <= {{ parameter('to_date', 'Date') }}
