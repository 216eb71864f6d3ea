{{ config(materialized='view') }}

with
events as (
    select * from {{ ref('stg_events') }}
)

select
    event_id,
    user_id,
    occurred_at,
    occurred_date as date,
    {{ context_text('reward_type') }} as reward_type,
    {{ context_integer('amount') }} as amount,
    {{ context_integer('balance_after') }} as balance_after,
    {{ context_text('reference_id') }} as reference_id
from events
where action_type = 'REWARD_GRANTED'
