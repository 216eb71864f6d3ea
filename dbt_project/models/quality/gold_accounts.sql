-- One row per user with a ledger of gold: the least and the latest balance after a reward.
with
entries as (
    select
        user_id,
        occurred_at,
        event_id,
        {{ context_integer('balance_after') }} as balance_after
    from {{ ref('stg_events') }}
    where action_type = 'REWARD_GRANTED'
)

select
    user_id,
    min(balance_after) as least_balance,
    argMax(balance_after, (occurred_at, toString(event_id))) as balance,
    count() as entries
from entries
group by user_id
