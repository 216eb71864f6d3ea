{{ config(materialized='view') }}

with
daily_logins as (
    select
        user_id,
        occurred_date as date,
        {{ latest(context_integer('streak_count')) }} as latest_streak_count,
        {{ latest("JSONHas(context, 'streak_count')") }} as is_reported
    from {{ ref('stg_events') }}
    where action_type = 'DAILY_LOGIN'
    group by user_id, date
),

-- Within a run of consecutive dates, the date less its number is one and the same.
numbered as (
    select
        *,
        date - toUInt32(row_number() over (partition by user_id order by date)) as run
    from daily_logins
),

derived as (
    select
        *,
        row_number() over (partition by user_id, run order by date) as streak_days
    from numbered
)

select
    user_id,
    date,
    streak_days,
    if(is_reported, latest_streak_count, null) as reported_streak_days,
    toBool(reported_streak_days = streak_days) as is_as_reported
from derived
