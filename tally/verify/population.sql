-- All users together, until today: brute force, each date and each hour from all that happened.

-- The dates from the first event until today.
create or replace table date_spine as
select cast(date as date) as date
from generate_series(
    (select min(day) from event), cast(getvariable('today') as timestamp), interval 1 day
) as dates (date);

-- A user of day d is in the window of N days of each date from d to d + N - 1.
create or replace table population as
select
    date_spine.date,
    definition,
    count(distinct user_id) filter (active_day.day = date_spine.date) as dau,
    count(distinct user_id) filter (active_day.day >= date_spine.date - 6) as wau,
    count(distinct user_id) as mau
from date_spine
inner join active_day
    on active_day.day between date_spine.date - 29 and date_spine.date
group by all;

create or replace table first_day as
select user_id, min(day) as day
from active_day
where definition = 'all_actions'
group by user_id;

create or replace table expected_daily_metrics as
with
newcomers as (
    select day, count(*) as users
    from first_day
    group by day
),

seen as (
    select day, count(*) as events
    from event
    group by day
),

games as (
    select
        day,
        count(*) as rounds,
        count(*) filter (outcome = 'win') as wins,
        count(*) filter (outcome = 'loss') as losses,
        count(*) filter (outcome = 'draw') as draws,
        count(*) filter (outcome = 'none') as no_outcome,
        cast(sum(bet) as bigint) as bet_amount,
        cast(sum(payout) as bigint) as payout_amount
    from played_round
    group by day
)

select
    date_spine.date,
    coalesce(actions.dau, 0) as dau,
    coalesce(actions.wau, 0) as wau,
    coalesce(actions.mau, 0) as mau,
    cast(actions.dau as double) / actions.mau as stickiness,
    coalesce(logins.dau, 0) as daily_login_dau,
    coalesce(logins.wau, 0) as daily_login_wau,
    coalesce(logins.mau, 0) as daily_login_mau,
    cast(logins.dau as double) / logins.mau as daily_login_stickiness,
    coalesce(newcomers.users, 0) as new_users,
    coalesce(actions.dau, 0) - coalesce(newcomers.users, 0) as returning_users,
    coalesce(seen.events, 0) as events,
    coalesce(games.rounds, 0) as rounds,
    coalesce(games.wins, 0) as wins,
    coalesce(games.losses, 0) as losses,
    coalesce(games.draws, 0) as draws,
    coalesce(games.no_outcome, 0) as no_outcome,
    coalesce(games.bet_amount, 0) as bet_amount,
    coalesce(games.payout_amount, 0) as payout_amount,
    if(games.bet_amount > 0, cast(games.payout_amount as double) / games.bet_amount, null) as rtp,
    1 - rtp as hold,
    coalesce(games.bet_amount - games.payout_amount, 0) as ggr
from date_spine
left join population as actions
    on actions.date = date_spine.date and actions.definition = 'all_actions'
left join population as logins
    on logins.date = date_spine.date and logins.definition = 'daily_login'
left join newcomers on newcomers.day = date_spine.date
left join seen on seen.day = date_spine.date
left join games on games.day = date_spine.date;

-- Reported only once the day is over.
create or replace table expected_retention as
select
    cohort.day as cohort_date,
    cast(n as bigint) as day_n,
    count(*) as cohort_size,
    count(*) filter (
        (cohort.user_id, cohort.day + cast(n as integer)) in (
            select (user_id, day) from active_day where definition = 'all_actions'
        )
    ) as retained,
    cast(retained as double) / cohort_size as retention
from first_day as cohort
cross join generate_series(1, 30) as numbers (n)
where cohort.day + cast(n as integer) < getvariable('today')
group by all;

-- A round is in the hour of its settled event.
create or replace table expected_hourly_metrics as
with
seen as (
    select
        date_trunc('hour', occurred_at) as hour,
        count(*) as events,
        count(distinct user_id) filter (by_user) as active_users
    from event
    group by all
),

games as (
    select
        date_trunc('hour', occurred_at) as hour,
        count(*) as rounds,
        cast(sum(bet) as bigint) as bet_amount,
        cast(sum(payout) as bigint) as payout_amount
    from played_round
    group by all
)

select
    seen.hour,
    seen.events,
    seen.active_users,
    coalesce(games.rounds, 0) as rounds,
    coalesce(games.bet_amount, 0) as bet_amount,
    coalesce(games.payout_amount, 0) as payout_amount,
    if(games.bet_amount > 0, cast(games.payout_amount as double) / games.bet_amount, null) as rtp,
    1 - rtp as hold,
    coalesce(games.bet_amount - games.payout_amount, 0) as ggr
from seen
left join games on games.hour = seen.hour;

create or replace table expected_hourly_logins as
select
    date_trunc('hour', occurred_at) as hour,
    count(*) filter (action_type = 'LOGIN') as logins,
    count(*) filter (action_type = 'LOGIN_FAILED') as failed_logins,
    count(*) filter (action_type = 'LOGIN_LOCKED') as lockouts,
    count(distinct user_id) filter (action_type = 'LOGIN_LOCKED') as locked_users,
    if(
        logins + failed_logins = 0, null,
        cast(failed_logins as double) / cast(logins + failed_logins as double)
    ) as failure_rate
from event
where action_type in ('LOGIN', 'LOGIN_FAILED', 'LOGIN_LOCKED')
group by all;
