{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}
{%- set touched = touched_as_asked() %}
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
    select {{ columns }}
    from {{ published('user_days') }} {{ latest_versions() }}
    where
        user_id in {{ parameter('user_ids', 'Array(UInt64)') }}
        and (user_id, date) not in {{ touched.days }}
    union all
    select {{ columns }}
    from ({{ player_days(touched) }})
)

select * from days
where
    date >= {{ parameter('from_date', 'Date') }}
    and date <= {{ parameter('to_date', 'Date') }}
