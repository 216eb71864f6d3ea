{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}
{%- set touched = touched_as_asked() %}
{%- set columns %}
    user_id,
    date,
    game_type,
    {{ game_metrics() | join(', ') }}
{%- endset %}

with
game_days as (
    select {{ columns }}
    from {{ published('user_game_days') }} {{ latest_versions() }}
    where
        user_id in {{ parameter('user_ids', 'Array(UInt64)') }}
        and (user_id, date) not in {{ touched.days }}
    union all
    select {{ columns }}
    from ({{ played_games_by_day(touched) }})
)

{{ player_games('game_days', parameter('as_of', 'Date')) }}
