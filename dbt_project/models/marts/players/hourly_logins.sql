{{ config(materialized='view') }}

with
counts as (
    select
        {{ utc_hour('occurred_at') }} as hour,
        countIf(outcome = 'succeeded') as logins,
        countIf(outcome = 'failed') as failed_logins,
        countIf(outcome = 'locked') as lockouts,
        uniqExactIf(user_id, outcome = 'locked') as locked_users
    from {{ ref('int_logins') }}
    group by hour
)

select
    *,
    {{ login_failure_rate('failed_logins', '(logins + failed_logins)') }} as failure_rate
from counts
