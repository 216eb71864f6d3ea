{{
    config(
        materialized='incremental',
        incremental_strategy=('append' if target.type == 'clickhouse' else 'delete+insert'),
        unique_key=(none if target.type == 'clickhouse' else ['user_id', 'round_id']),
        on_schema_change='fail',
        engine='ReplacingMergeTree(version)',
        order_by='(user_id, round_id)',
        pre_hook=(
            ['{{ open_window() }}'] if target.type == 'clickhouse'
            else ['{{ open_window() }}', '{{ record_touched_days() }}']
        ),
        post_hook='{{ close_window() }}',
        tags=['minute'],
    )
}}

{%- set touched = touched_in_window() if is_incremental() else none %}

-- {{ read_by_hooks() }}
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
        {{ round_config_version() }} as config_version,
        units,
        bet,
        payout
    from {{ accepted_round_events() }}
    {% if touched %}where {{ is_in_a_round_of_this_run(touched) }}{% endif %}
),

-- Read from the settled event where there is one, else from the latest.
rounds as (
    {{ latest_events(
        'round_events',
        ['user_id', 'round_id'],
        [
            'round_state', 'occurred_at', 'game_type', 'is_demo', 'config_version', 'units', 'bet',
            'payout',
        ],
        preferred="round_state = 'settled'",
        aggregates={
            'state': latest('round_state'),
            'opened_at': 'min(occurred_at)',
            'changed_at': 'max(occurred_at)',
        },
    ) }}
)

select
    user_id,
    round_id,
    cast(state as {{ dbt.type_string() }}) as state,
    cast(game_type as {{ dbt.type_string() }}) as game_type,
    config_version,
    is_demo,
    state = 'settled' and not is_demo as is_played,
    opened_at,
    changed_at,
    case when round_state = 'settled' then occurred_at end as settled_at,
    case when round_state = 'settled' then {{ utc_date('occurred_at') }} end as date,
    units,
    case when round_state = 'settled' then bet end as bet_amount,
    case when round_state = 'settled' then payout end as payout_amount,
    case
        when round_state = 'settled' then {{ outcome('game_type', 'bet', 'payout') }}
    end as outcome,
    {{ window_version() }} as version
from rounds
