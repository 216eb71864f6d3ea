{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}

with
days as (
    {{ parts_of_days_as_asked() }}
)

{{ player_stats('days', parameter('as_of', 'Date'), {'active': 'is_counted'}, 'is_counted') }}
