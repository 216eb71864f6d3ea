-- The accepted events of the last day of arrivals, each once.
select
    event_id,
    user_id,
    action_type,
    initiator,
    occurred_at,
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
    received_at,
    length(context) as context_bytes,
    round_id = '' and game_type != '' as is_round_without_id,
    toYear(occurred_at, 'UTC') as occurred_in,
    dateDiff('second', occurred_at, received_at) as delay_seconds
from {{ ref('stg_events') }}
where received_at > {{ utc_now() }} - interval 1 day
