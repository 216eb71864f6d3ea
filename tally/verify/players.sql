-- What single players did over time: their sessions and their runs of daily logins.

-- A session ends where the next action of the user is more than 30 minutes away.
create or replace table expected_sessions as
with
action as (
    select
        user_id,
        occurred_at,
        context ->> '$.round_id' as round_id,
        coalesce(
            occurred_at - lag(occurred_at) over (partition by user_id order by occurred_at)
            > interval 30 minute,
            true
        ) as begins
    from event
    where by_user
),

numbered as (
    select
        *,
        count(*) filter (begins) over (
            partition by user_id order by occurred_at, begins desc
            rows between unbounded preceding and current row
        ) as session_number
    from action
)

select
    user_id,
    cast(session_number as bigint) as session_number,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    cast(min(occurred_at) at time zone 'UTC' as date) as date,
    cast(epoch_ms(max(occurred_at)) // 1000 - epoch_ms(min(occurred_at)) // 1000 as bigint)
        as duration_seconds,
    count(*) as actions,
    count(distinct round_id) as rounds
from numbered
group by user_id, session_number;

-- The nth day of a run of consecutive daily login days.
create or replace table expected_streaks as
with
login_day as (
    select
        user_id,
        day,
        day - cast(row_number() over (partition by user_id order by day) as integer) as run
    from active_day
    where definition = 'daily_login'
)

select
    user_id,
    day as date,
    row_number() over (partition by user_id, run order by day) as streak_days
from login_day;
