{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        engine='ReplacingMergeTree(version)',
        order_by='(user_id, date, game_type)',
        pre_hook='{{ open_window() }}',
        post_hook='{{ close_window() }}',
    )
}}

-- depends_on: {{ source('raw', 'arrivals') }}
-- depends_on: {{ source('raw', 'events') }}
-- depends_on: {{ source('raw', 'ingest_ledger') }}
with
{% if is_incremental() %}
arrived as (
    {{ arrivals_in_window() }}
),

touched as (
    {{ touched_days('arrived') }}
),
{% endif %}

games as (
    {{ games_by_day('touched' if is_incremental() else none) }}
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
