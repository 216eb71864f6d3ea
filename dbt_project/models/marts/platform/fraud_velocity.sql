{{ config(materialized='view') }}

with
-- Only a few users are ever blocked, and raw is in the order of users.
events as (
    select * from {{ ref('stg_events') }}
    where user_id in (
        select user_id from {{ source('raw', 'events') }}
        where action_type = 'FRAUD_BLOCKED'
    )
),

minutes as (
    select
        user_id,
        toStartOfMinute(occurred_at, 'UTC') as minute,
        countIf(action_type = 'FRAUD_BLOCKED') as blocked,
        groupUniqArrayIf({{ context_text('rule') }}, action_type = 'FRAUD_BLOCKED') as rules,
        countIf(initiator = 'user') as actions,
        countIf(round_state = 'settled') as settled,
        sumIf(bet, round_state = 'settled' and not is_demo) as bet_amount,
        countIf(action_type = 'LOGIN_FAILED') as failed_logins,
        countIf(action_type = 'SHOP_BUY') as purchase_events
    from events
    group by user_id, minute
)

select
    user_id,
    {{ utc_hour('minute') }} as hour,
    sum(minutes.blocked) as blocked,
    arrayStringConcat(arraySort(groupUniqArrayArray(minutes.rules)), ', ') as rules,
    sum(minutes.actions) as actions,
    max(minutes.actions) as most_actions_in_a_minute,
    sum(minutes.settled) as rounds_settled,
    sum(minutes.bet_amount) as bet_amount,
    sum(minutes.failed_logins) as failed_logins,
    sum(minutes.purchase_events) as purchase_events
from minutes
group by user_id, hour
having blocked > 0
