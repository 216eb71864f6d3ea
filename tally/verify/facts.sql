-- What happened, from raw as exported: written from the definitions of the metrics and from nothing
-- of the warehouse's own SQL. Fields are read from `context` as it came, not from extracted columns.

create or replace table event as
select
    user_id,
    event_id,
    action_type,
    action_type not in (
        'LOGIN_FAILED', 'LOGIN_LOCKED', 'TOKEN_REFRESHED', 'REWARD_GRANTED', 'FRAUD_BLOCKED',
        'ADMIN_ACTION', 'WS_CONNECTED', 'WS_DISCONNECTED', 'DEPRECATED_ENDPOINT_CALLED', 'API_REQUEST'
    ) as by_user,
    occurred_at,
    cast(occurred_at at time zone 'UTC' as date) as day,
    session_id,
    context
from (
    select
        *,
        row_number() over (partition by event_id order by received_at, stream, "offset") as nth
    from raw_event
)
where nth = 1;

create or replace table active_day as
select distinct 'all_actions' as definition, user_id, day
from event
where by_user
union all
select distinct 'daily_login', user_id, day
from event
where action_type = 'DAILY_LOGIN';

create or replace table round_event as
select
    user_id,
    context ->> '$.round_id' as round_id,
    occurred_at,
    day,
    event_id,
    case action_type
        when 'SLOT_SPIN' then 'slot'
        when 'GACHA_SPIN' then 'gacha'
        when 'RPS_PLAY' then 'rps'
        when 'CRASH_ROUND' then 'crash'
    end as game_type,
    coalesce(context ->> '$.state', 'settled') as state,
    cast(context ->> '$.bet' as bigint) as bet,
    cast(context ->> '$.payout' as bigint) as payout,
    coalesce(cast(context ->> '$.is_demo' as boolean), false) as is_demo,
    coalesce(context ->> '$.config_version', '') as config_version,
    coalesce(cast(context ->> '$.units' as bigint), 1) as units
from event
where action_type in ('SLOT_SPIN', 'GACHA_SPIN', 'RPS_PLAY', 'CRASH_ROUND');

-- A round is in the state of its latest event; it is played when that state is settled.
create or replace table played_round as
select
    user_id,
    occurred_at,
    day,
    game_type,
    config_version,
    units,
    bet,
    payout,
    case
        when game_type = 'gacha' then 'none'
        when bet = 0 then if(payout > 0, 'win', 'loss')
        when payout - bet > 0 then 'win'
        when payout - bet < 0 then 'loss'
        else 'draw'
    end as outcome
from (
    select
        *,
        row_number() over (
            partition by user_id, round_id order by occurred_at desc, event_id desc
        ) as nth_latest
    from round_event
)
where nth_latest = 1 and state = 'settled' and not is_demo;

create or replace table expected_user_game_days as
select
    user_id,
    day as date,
    game_type,
    count(*) as played,
    count(*) filter (outcome = 'win') as wins,
    count(*) filter (outcome = 'loss') as losses,
    count(*) filter (outcome = 'draw') as draws,
    count(*) filter (outcome = 'none') as no_outcome,
    sum(bet) as bet_amount,
    sum(payout) as payout_amount
from played_round
group by all;

create or replace table expected_user_days as
with
seen as (
    select user_id, day, count(*) as events
    from event
    group by all
),

games as (
    select
        user_id, day,
        count(*) as played,
        count(*) filter (outcome = 'win') as wins,
        count(*) filter (outcome = 'loss') as losses,
        count(*) filter (outcome = 'draw') as draws,
        count(*) filter (outcome = 'none') as no_outcome,
        sum(bet) as bet_amount,
        sum(payout) as payout_amount
    from played_round
    group by all
)

select
    seen.user_id,
    seen.day as date,
    (seen.user_id, seen.day) in (
        select (user_id, day) from active_day where definition = 'all_actions'
    ) as is_active,
    (seen.user_id, seen.day) in (
        select (user_id, day) from active_day where definition = 'daily_login'
    ) as has_daily_login,
    seen.events,
    coalesce(games.played, 0) as played,
    coalesce(games.wins, 0) as wins,
    coalesce(games.losses, 0) as losses,
    coalesce(games.draws, 0) as draws,
    coalesce(games.no_outcome, 0) as no_outcome,
    coalesce(games.bet_amount, 0) as bet_amount,
    coalesce(games.payout_amount, 0) as payout_amount
from seen
left join games on games.user_id = seen.user_id and games.day = seen.day;
