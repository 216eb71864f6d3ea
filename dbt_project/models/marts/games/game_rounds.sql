{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        engine='ReplacingMergeTree(version)',
        order_by='(user_id, round_id)',
        pre_hook=['{{ open_window() }}', '{{ record_touched_days() }}'],
        post_hook='{{ close_window() }}',
        tags=['minute'],
    )
}}

{%- set touched = touched_in_window() if is_incremental() else none %}
{#- Read from the settled event where there is one, else from the latest. -#}
{%- set facts = '(occurred_at, game_type, is_demo, config_version, units, bet, payout)' %}

-- depends_on: {{ source('raw', 'arrivals') }}
-- depends_on: {{ source('raw', 'events') }}
-- depends_on: {{ source('raw', 'ingest_ledger') }}
-- depends_on: {{ source('raw', 'round_events') }}
with
round_events as (
    select
        event_id,
        user_id,
        round_id,
        round_state,
        occurred_at,
        game_type,
        is_demo,
        {{ context_text('config_version') }} as config_version,
        units,
        bet,
        payout
    from {{ source('raw', 'events') }}
    where
        round_id != '' {% if touched %}
            and user_id in {{ touched.users }}
            and occurred_at >= toDateTime64({{ touched.first_date }}, 3, 'UTC')
            and occurred_at < toDateTime64({{ touched.last_date }} + 1, 3, 'UTC')
            and (user_id, round_id) in (
                select
                    user_id,
                    round_id
                from ({{ arrivals_in_window() }})
            )
        {% endif %}
),

folded as (
    select
        user_id,
        round_id,
        {{ latest('round_state') }} as state,
        min(occurred_at) as opened_at,
        max(occurred_at) as changed_at,
        countIf(round_state = 'settled') > 0 as has_settled,
        if(
            has_settled,
            {{ latest(facts, "round_state = 'settled'") }},
            {{ latest(facts) }}
        ) as facts
    from round_events
    group by user_id, round_id
),

rounds as (
    select
        *,
        facts.1 as decided_at,
        toString(facts.2) as game_type,
        facts.3 as is_demo,
        facts.4 as config_version,
        facts.5 as units,
        facts.6 as bet,
        facts.7 as payout
    from folded
)

select
    user_id,
    round_id,
    toString(state) as state,
    game_type,
    config_version,
    is_demo,
    state = 'settled' and not is_demo as is_played,
    opened_at,
    changed_at,
    if(has_settled, decided_at, null) as settled_at,
    if(has_settled, {{ utc_date('decided_at') }}, null) as date,
    units,
    if(has_settled, bet, null) as bet_amount,
    if(has_settled, payout, null) as payout_amount,
    if(has_settled, {{ outcome('game_type', 'bet', 'payout') }}, null) as outcome,
    assumeNotNull(toUInt64({{ window_version() }})) as version
from rounds
