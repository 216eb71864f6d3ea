{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}

with
game_days as (
    select * from {{ published('user_game_days') }} {{ latest_versions() }}
    where user_id in {{ parameter('user_ids', 'Array(UInt64)') }}
)

{{ player_games('game_days', parameter('as_of', 'Date')) }}
