-- The journey through the platform, and how the platform itself did: connections, deprecated calls,
-- fraud, batches and dead letters. After players and economy, of whose facts it is made.

create or replace table expected_user_journeys as
with
sign_up as (
    select user_id, min(occurred_at) as at from event where action_type = 'SIGN_UP' group by all
),

login as (
    select user_id, min(occurred_at) as at from event where action_type = 'LOGIN' group by all
),

round as (
    select user_id, min(occurred_at) as at from played_round group by all
),

purchase as (
    select user_id, min(changed_at) as at
    from expected_purchases
    where state = 'success'
    group by all
)

select
    user_id,
    sign_up.at as signed_up_at,
    login.at as first_login_at,
    round.at as first_round_at,
    purchase.at as first_purchase_at
from sign_up
full join login using (user_id)
full join round using (user_id)
full join purchase using (user_id);

create or replace table expected_journey_funnel as
select
    cast(signed_up_at at time zone 'UTC' as date) as date,
    count(*) as signed_up,
    count(first_login_at) as logged_in,
    count(*) filter (first_login_at is not null and first_round_at is not null) as played,
    count(*) filter (
        first_login_at is not null and first_round_at is not null and first_purchase_at is not null
    ) as purchased,
    cast(logged_in as double) / cast(signed_up as double) as login_rate,
    cast(played as double) / cast(signed_up as double) as play_rate,
    cast(purchased as double) / cast(signed_up as double) as purchase_rate
from expected_user_journeys
where signed_up_at is not null
group by all;

create or replace table socket_event as
select
    event_id,
    user_id,
    session_id,
    action_type = 'WS_CONNECTED' as connects,
    occurred_at,
    context ->> '$.path' as path,
    coalesce(cast(context ->> '$.close_code' as bigint), 0) as close_code
from event
where action_type in ('WS_CONNECTED', 'WS_DISCONNECTED');

-- A connection is closed by the next event of its socket, if that is a disconnect.
create or replace table expected_realtime_connections as
select
    event_id,
    user_id,
    session_id,
    path,
    path = '/api/games/ws' as is_legacy,
    occurred_at as connected_at,
    if(next_connects, null, next_at) as disconnected_at,
    if(next_connects, null, next_close_code) as close_code,
    cast(epoch_ms(disconnected_at) // 1000 - epoch_ms(connected_at) // 1000 as bigint)
        as duration_seconds
from (
    select
        *,
        lead(connects, 1, true) over socket as next_connects,
        lead(occurred_at) over socket as next_at,
        lead(close_code) over socket as next_close_code
    from socket_event
    window socket as (partition by user_id, session_id, path order by occurred_at, event_id)
)
where connects;

create or replace table expected_hourly_realtime as
select
    date_trunc('hour', occurred_at) as hour,
    path,
    count(*) filter (connects) as connects,
    count(*) filter (not connects) as disconnects,
    count(*) filter (not connects and close_code not in (1000, 1001)) as abnormal_closes,
    count(distinct user_id) as users
from socket_event
group by all;

create or replace table expected_deprecated_endpoint_calls as
select
    day as date,
    context ->> '$.path' as path,
    context ->> '$.method' as method,
    context ->> '$.successor' as successor,
    count(*) as calls,
    count(distinct user_id) as callers,
    max(occurred_at) as last_called_at
from event
where action_type = 'DEPRECATED_ENDPOINT_CALLED'
group by all;

-- The hours in which a user was blocked, with all that they did then.
create or replace table expected_fraud_velocity as
with
blocked as (
    select distinct user_id, date_trunc('hour', occurred_at) as hour
    from event
    where action_type = 'FRAUD_BLOCKED'
),

-- Events of rounds are found again by their ids.
settled as (
    select event_id, bet, is_demo from round_event where state = 'settled'
),

action as (
    select
        event.*,
        hour,
        settled.event_id is not null as is_settled,
        if(settled.is_demo, 0, settled.bet) as staked,
        count(*) filter (by_user) over (
            partition by event.user_id, date_trunc('minute', occurred_at)
        ) as actions_of_minute
    from event
    inner join blocked
        on blocked.user_id = event.user_id and blocked.hour = date_trunc('hour', occurred_at)
    left join settled using (event_id)
)

select
    user_id,
    hour,
    count(*) filter (action_type = 'FRAUD_BLOCKED') as blocked,
    string_agg(distinct context ->> '$.rule', ', ' order by context ->> '$.rule')
        filter (action_type = 'FRAUD_BLOCKED') as rules,
    count(*) filter (by_user) as actions,
    max(actions_of_minute) as most_actions_in_a_minute,
    count(*) filter (is_settled) as rounds_settled,
    coalesce(cast(sum(staked) as bigint), 0) as bet_amount,
    count(*) filter (action_type = 'LOGIN_FAILED') as failed_logins,
    count(*) filter (action_type = 'SHOP_BUY') as purchase_events
from action
group by user_id, hour;

-- A range that was recorded again counts as it was recorded last; so does a letter.
create or replace table expected_hourly_ingestion as
with
range_of_offsets as (
    select
        stream,
        kind,
        "last_offset" - "first_offset" + 1 as offsets,
        arg_max(accepted, stored_at) as accepted,
        arg_max(dead, stored_at) as dead,
        arg_max(lag_ms, stored_at) as lag_ms,
        max(stored_at) as stored_at
    from (
        select *, epoch_ms(stored_at) - epoch_ms(newest_appended_at) as lag_ms from raw_ledger
    )
    group by stream, kind, "first_offset", "last_offset"
),

total as (
    select
        date_trunc('hour', stored_at) as hour,
        count(*) filter (kind = 'stored') as batches,
        count(distinct stream) as streams,
        coalesce(sum(accepted) filter (kind = 'stored'), 0) as accepted,
        coalesce(sum(dead) filter (kind = 'stored'), 0) as dead_letters,
        coalesce(sum(offsets) filter (kind = 'lost'), 0) as lost,
        list_sort(coalesce(list(lag_ms) filter (lag_ms is not null), [])) as lags_ms
    from range_of_offsets
    group by all
)

-- Quantiles are exact: of two middle ones the higher.
select
    hour,
    batches,
    streams,
    cast(accepted as bigint) as accepted,
    cast(dead_letters as bigint) as dead_letters,
    cast(lost as bigint) as lost,
    lags_ms[len(lags_ms) * 50 // 100 + 1] / 1000 as median_lag_seconds,
    lags_ms[len(lags_ms) * 95 // 100 + 1] / 1000 as p95_lag_seconds,
    lags_ms[-1] / 1000 as max_lag_seconds,
    cast(dead_letters as double) / nullif(accepted + dead_letters, 0) as dead_letter_ratio,
    cast(lost as double) / nullif(accepted + dead_letters + lost, 0) as loss_ratio
from total;

-- An hour that was compared again counts as it was compared last.
create or replace table expected_hourly_record as
with
latest as (
    select
        hour,
        arg_max(recorded, compared_at) as recorded,
        arg_max(arrived, compared_at) as arrived,
        max(compared_at) as compared_at
    from raw_recorded_hour
    group by hour
)

select
    hour,
    recorded,
    arrived,
    recorded - arrived as lost,
    compared_at,
    cast(recorded - arrived as double) / recorded as loss_ratio
from latest;

create or replace table expected_hourly_dead_letters as
with
letter as (
    select
        stream,
        "offset",
        arg_max(reason, received_at) as reason,
        arg_max(bytes, received_at) as bytes,
        arg_max(replay_of, received_at) as replay_of,
        max(received_at) as received_at
    from raw_dead_letter
    group by all
)

select
    date_trunc('hour', received_at) as hour,
    reason,
    count(*) as letters,
    count(*) filter ((stream, "offset") in (select (stream, "offset") from raw_replay)) as replayed,
    count(*) filter (replay_of <> '') as refused_again,
    cast(sum(bytes) as bigint) as bytes,
    max(received_at) as newest_received_at
from letter
group by all;
