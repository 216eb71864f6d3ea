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

-- Failed attempts in the ten minutes up to the lock, and the first login after it.
create or replace table expected_lockouts as
with
locked as (
    select event_id, user_id, occurred_at, coalesce(context ->> '$.reason', '') as reason
    from event
    where action_type = 'LOGIN_LOCKED'
),

login as (
    select user_id, action_type, occurred_at
    from event
    where action_type in ('LOGIN', 'LOGIN_FAILED') and user_id in (select user_id from locked)
)

select
    event_id,
    user_id,
    locked.occurred_at as locked_at,
    reason,
    count(*) filter (
        action_type = 'LOGIN_FAILED'
        and login.occurred_at between locked.occurred_at - interval 10 minute and locked.occurred_at
    ) as failed_attempts,
    min(login.occurred_at) filter (
        action_type = 'LOGIN' and login.occurred_at > locked.occurred_at
    ) as next_login_at,
    cast(epoch_ms(next_login_at) // 1000 - epoch_ms(locked_at) // 1000 as bigint)
        as seconds_until_login
from locked
left join login using (user_id)
group by event_id, user_id, locked.occurred_at, reason;

create or replace table expected_achievements as
with
step as (
    select
        user_id,
        context ->> '$.achievement_code' as achievement_code,
        cast(context ->> '$.progress' as double) as progress,
        cast(context ->> '$.unlocked' as boolean) as unlocked,
        occurred_at,
        event_id
    from event
    where action_type = 'ACHIEVEMENT_PROGRESS'
)

select
    user_id,
    achievement_code,
    arg_max(progress, (occurred_at, event_id)) as progress,
    max(progress) as highest_progress,
    bool_or(unlocked) as is_unlocked,
    min(occurred_at) filter (unlocked) as unlocked_at,
    min(occurred_at) as started_at,
    max(occurred_at) as changed_at
from step
group by all;

create or replace table expected_battle_pass as
with
step as (
    select
        user_id,
        context ->> '$.season' as season,
        cast(context ->> '$.tier' as bigint) as tier,
        cast(context ->> '$.xp' as bigint) as xp,
        occurred_at,
        event_id
    from event
    where action_type = 'BATTLE_PASS_PROGRESS'
)

select
    user_id,
    season,
    arg_max(tier, (occurred_at, event_id)) as tier,
    arg_max(xp, (occurred_at, event_id)) as xp,
    max(tier) as highest_tier,
    min(occurred_at) as started_at,
    max(occurred_at) as changed_at
from step
group by all;
