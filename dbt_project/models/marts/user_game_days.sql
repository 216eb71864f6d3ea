{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        engine='ReplacingMergeTree(version)',
        order_by='(user_id, date, game_type)',
        pre_hook=['{{ open_window() }}', '{{ record_touched_days() }}'],
        post_hook='{{ close_window() }}',
        tags=['minute'],
    )
}}

{%- set touched = touched_in_window() if is_incremental() else none %}

-- depends_on: {{ source('raw', 'arrivals') }}
-- depends_on: {{ source('raw', 'events') }}
-- depends_on: {{ source('raw', 'ingest_ledger') }}
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
    assumeNotNull(toUInt64({{ window_version() }})) as version
from games
