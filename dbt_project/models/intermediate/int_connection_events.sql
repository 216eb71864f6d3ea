with
events as (
    select * from {{ ref('stg_events') }}
)

select
    event_id,
    user_id,
    session_id,
    occurred_at,
    toBool(cast(action_type as String) = 'WS_CONNECTED') as is_connect,
    {{ context_text('path') }} as path,
    {{ context_integer('close_code') }} as close_code
from events
where action_type in ('WS_CONNECTED', 'WS_DISCONNECTED')
