{{
    config(
        materialized='incremental',
        incremental_strategy=('append' if target.type == 'clickhouse' else 'delete+insert'),
        unique_key=(none if target.type == 'clickhouse' else ['user_id', 'date']),
        on_schema_change='fail',
        engine='ReplacingMergeTree(version)',
        order_by='(user_id, date)',
        pre_hook=['{{ open_window() }}', '{{ record_touched_days() }}'],
        post_hook='{{ close_window() }}',
        tags=['minute'],
    )
}}

{%- set touched = touched_in_window() if is_incremental() else none %}

-- {{ read_by_hooks() }}
with
days as (
    {{ player_days(touched) }}
)

select
    user_id,
    date,
    is_active,
    has_daily_login,
    events,
    played,
    wins,
    losses,
    draws,
    no_outcome,
    bet_amount,
    payout_amount,
    {{ window_version() }} as version
from days
