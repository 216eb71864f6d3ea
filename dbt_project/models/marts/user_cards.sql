{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}

with
events as (
    select
        user_id,
        action_type,
        context,
        (occurred_at, toString(event_id)) as position
    from {{ source('raw', 'events') }}
    where
        user_id in {{ parameter('user_ids', 'Array(UInt64)') }}
        and action_type in ('LEVEL_UP', 'REWARD_GRANTED')
)

select
    user_id,
    argMaxOrNullIf(
        {{ context_integer('level') }}, position, action_type = 'LEVEL_UP'
    ) as level,
    argMaxOrNullIf(
        {{ context_integer('balance_after') }}, position, action_type = 'REWARD_GRANTED'
    ) as gold_balance
from events
group by user_id
