{{
    config(
        materialized='incremental',
        incremental_strategy=('append' if target.type == 'clickhouse' else 'delete+insert'),
        unique_key=(none if target.type == 'clickhouse' else ['user_id', 'date']),
        on_schema_change='fail',
        engine='ReplacingMergeTree(version)',
        order_by='(user_id, date)',
        pre_hook=[
            "{{ open_window('user_game_days') }}",
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
{% if model.resource_type != 'unit_test' %}
-- After it in a run, so that rounds are looked up once: {{ ref('user_game_days') }}
{% endif %}
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
