with
events as (
    {{ stored_events() }}
)

select
    event_id,
    user_id,
    action_type,
    initiator,
    occurred_at,
    {{ utc_date('occurred_at') }} as occurred_date,
    client_ts,
    session_id,
    source,
    schema_version,
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
