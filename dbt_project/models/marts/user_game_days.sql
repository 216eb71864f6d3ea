{{
    config(
        materialized='incremental',
        incremental_strategy=('append' if target.type == 'clickhouse' else 'delete+insert'),
        unique_key=(none if target.type == 'clickhouse' else ['user_id', 'date', 'game_type']),
        on_schema_change='fail',
        engine='ReplacingMergeTree(version)',
        order_by='(user_id, date, game_type)',
        pre_hook=[
            '{{ open_window() }}',
            '{{ record_touched_days() }}',
            '{{ record_round_events() }}',
            '{{ record_further_days() }}',
            '{{ record_round_events(further=true) }}',
        ],
        post_hook='{{ close_window() }}',
        tags=['minute'],
    )
}}

{%- set touched = touched_in_window() if is_incremental() else none %}

-- {{ read_by_hooks() }}
with
games as (
    {{ games_by_day(touched) }}
)

select
    user_id,
    date,
    game_type,
    played,
    wins,
    losses,
    draws,
    no_outcome,
    bet_amount,
    payout_amount,
    {{ window_version() }} as version
from games
