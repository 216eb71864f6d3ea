with
events as (
    select * from {{ ref('stg_events') }}
)

select
    event_id,
    user_id,
    occurred_at,
    occurred_date,
    transform(
        action_type,
        ['LOGIN', 'LOGIN_FAILED', 'LOGIN_LOCKED'],
        ['succeeded', 'failed', 'locked'],
        ''
    ) as outcome,
    {{ context_text('method') }} as method,
    {{ context_text('reason') }} as reason
from events
where action_type in ('LOGIN', 'LOGIN_FAILED', 'LOGIN_LOCKED')
