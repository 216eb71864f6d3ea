with
events as (
    select * from {{ ref('stg_events') }}
)

select
    event_id,
    user_id,
    action_type,
    initiator,
    occurred_at as ts,
    occurred_date as date,
    session_id,
    source,
    context,
    round_id,
    round_state,
    game_type,
    bet,
    payout,
    units,
    is_demo,
    received_at
from events
