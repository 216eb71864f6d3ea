{{ config(materialized='view') }}

with
logins as (
    select
        *,
        toUnixTimestamp64Milli(occurred_at) as at
    from {{ ref('int_logins') }}
    where
        user_id in (
            select user_id from {{ ref('int_logins') }}
            where outcome = 'locked'
        )
),

neighbours as (
    select
        *,
        countIf(outcome = 'failed') over (
            partition by user_id order by at range between 600000 preceding and current row
        ) as failed_attempts,
        minOrNullIf(occurred_at, outcome = 'succeeded') over (
            partition by user_id order by at
            range between 1 following and unbounded following
        ) as next_login_at
    from logins
)

select
    event_id,
    user_id,
    occurred_at as locked_at,
    reason,
    failed_attempts,
    next_login_at,
    dateDiff('second', locked_at, next_login_at) as seconds_until_login
from neighbours
where outcome = 'locked'
