{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}
{%- set columns %}
    user_id,
    date,
    game_type,
    {{ game_metrics() | join(', ') }}
{%- endset %}

with
game_days as (
    select {{ columns }}
    from {{ untouched_as_asked('user_game_days') }}
    union all
    select {{ columns }}
    from ({{ played_games_by_day(touched_as_asked()) }})
)

{{ player_games('game_days', parameter('as_of', 'Date')) }}
