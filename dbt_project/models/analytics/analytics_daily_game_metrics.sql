{{ config(alias='daily_game_metrics') }}

select * from {{ ref('daily_game_metrics') }}
